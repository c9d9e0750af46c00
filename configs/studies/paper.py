"""The study of arXiv 2603.17541 on Qwen2.5-VL-7B, with the controls that it lacks.

    C=configs/studies/paper.py:path=/models/Qwen2.5-VL-7B-Instruct,benchmark_root=/data/bench,\\
    annotations=/data/llava_video_20k.json,media_root=/data/videos
    vsft --config=$C --workdir=runs/paper --job=plan      # a step on config.plan.topology
    vsft --config=$C --workdir=runs/paper --job=study

Four fixed counts, the hybrid rule and its two controls, three seeds, each model asked under its own
policy and at every count; four image and four video benchmarks. Not known of the paper, and chosen
here: full tuning, learning rates, batch size, epochs, seeds (docs/study.md). Arguments: path=,
annotations=, media_root=, benchmark_root= as in configs/qwen2_5_vl.py; size= 3b, 32b or 72b.
"""

from ml_collections import ConfigDict

from configs import common, qwen2_5_vl

COUNTS = (8, 16, 32, 64)
BENCHMARKS = "mme+mmstar+mmbench+pope+videomme+mvbench+tempcompass+videommmu"


def get_config(arg: str | None = None) -> ConfigDict:
    """The paper's study; see the module's docstring for the arguments."""
    args = common.parse_arg(arg, path="", size="", annotations="", media_root="", benchmark_root="")
    given = ",".join(f"{key}={value}" for key, value in args.items() if value)
    config = qwen2_5_vl.get_config(",".join(filter(None, [given, f"benchmarks={BENCHMARKS}"])))

    # A clip of 64 frames takes a row of its own; see docs/tpu.md for rows that do not fit a chip.
    config.layout.row_tokens = 16384
    config.layout.row_patches = 4 * 14336
    config.train.epochs = 1.0
    config.train.batch_rows = 0
    config.train.batch_examples = 128  # as many in a step under every policy
    config.optimizer.learning_rate = ConfigDict({"tower": 2e-6, "projector": 1e-5, "llm": 1e-5})

    words = (*map(str, COUNTS), "hybrid", "random", "typed")
    config.study.frames = ConfigDict(
        {f"frames_{word:0>2}": common.frame_spec(word, COUNTS) for word in words}
    )
    config.study.infer_frames = COUNTS
    config.study.seeds = (0, 1, 2)
    return config
