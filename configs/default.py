"""Every knob, its default and what it means. Other configs start from `get_config()` here.

Any value can be overridden on the command line: `--config.optimizer.learning_rate.llm=1e-5`.
An unknown key is an error. Paths are absolute, or relative to `data.root`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The full config with defaults for a Qwen2.5-VL-shaped model; data sets are left empty."""
    config = ConfigDict()
    config.seed = 0  # parameters, data order, everything that is drawn

    # --- Model: which architecture, with which weights to begin. -------------------------------
    config.model = ConfigDict()
    config.model.family = "qwen2_5_vl"  # a folder of vsft_jax/models
    config.model.path = ""  # Hugging Face directory: architecture, weights, tokenizer
    config.model.size = ""  # without a path, a published size, such as "7b"; without either:
    config.model.vision = ConfigDict()  # fields of VisionConfig in vsft_jax/models/<family>/config
    config.model.text = ConfigDict()  # fields of TextConfig
    config.model.dtype = "bfloat16"  # compute
    config.model.param_dtype = "float32"  # parameters and optimiser state
    config.model.remat = "full"  # what the backward pass keeps of each layer: a key of layers.REMAT
    config.model.attention = "xla"  # implementation, one of attention.IMPLEMENTATIONS
    config.tokenizer = ""  # directory with tokenizer.json and a chat template

    # --- Data ----------------------------------------------------------------------------------
    config.data = ConfigDict()
    config.data.root = ""  # relative paths below start here; "" is the workdir
    # Training sets by name: {"annotations": path, "media_root": path, "weight": float}.
    # weight 0.5 takes half of the set each epoch (all of it over two), 2.0 takes it twice.
    config.data.train = ConfigDict()
    # Benchmarks by name: {"annotations": path, "media_root": path, "modality": "image" | "video"}.
    config.data.benchmarks = ConfigDict()
    config.data.demo_world = ConfigDict()  # sizes of the built-in data set; empty: not used
    config.data.workers = 4  # threads that probe and decode
    config.data.index_dir = ""  # where prepared indexes live; "" is <workdir>/index

    # --- Frame budget: how many frames each video gets. See docs/frame_budget.md. --------------
    config.frames = ConfigDict({"kind": "hybrid", "candidates": (8, 16, 32, 64)})

    # --- Layout: pixels to patches to tokens. --------------------------------------------------
    config.layout = ConfigDict()
    config.layout.image_min_pixels = 4 * 28 * 28
    config.layout.image_max_pixels = 1280 * 28 * 28
    config.layout.video_min_pixels = 128 * 28 * 28  # per frame
    config.layout.video_max_pixels = 768 * 28 * 28  # per frame
    config.layout.video_total_pixels = 24576 * 28 * 28
    config.layout.time_mode = "float"  # temporal positions; "hf_int" for bit parity, see docs
    config.layout.row_tokens = 8192  # L: text positions in a packed row
    config.layout.row_patches = 16384  # N: patches in a packed row

    # --- Training ------------------------------------------------------------------------------
    config.train = ConfigDict()
    config.train.steps = 0  # 0: as many as `epochs` take
    config.train.epochs = 1.0
    config.train.batch_rows = 64  # packed rows in a global step; 0: to hold `batch_examples`
    config.train.batch_examples = 0  # about so many examples in a step, however long they are
    config.train.accumulate = 1  # microbatches a step; must divide batch_rows
    config.train.init_from = ""  # workdir whose last checkpoint gives the starting parameters
    config.train.log_every = 10  # steps
    config.train.checkpoint_every = 500  # steps; the last step is always saved
    config.train.keep_checkpoints = 2
    config.train.evaluate_every = 0  # steps; 0: only when asked by --job=evaluate
    config.train.loss_chunk = 1024  # positions whose logits exist at one time
    config.train.pack_window = 2048  # examples among which packing may choose

    config.optimizer = ConfigDict()
    # Peak learning rates by part. A part with rate 0 is frozen: no gradient, no optimiser state.
    config.optimizer.learning_rate = ConfigDict({"tower": 2e-6, "projector": 1e-5, "llm": 1e-5})
    config.optimizer.warmup_steps = 30
    config.optimizer.final_fraction = 0.1  # of the peak, at the end of the cosine
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.98
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 0.0  # matrices only
    config.optimizer.clip_norm = 1.0

    # Devices along each mesh axis; -1 takes what is left.
    config.mesh = ConfigDict({"data": 1, "fsdp": -1, "tensor": 1})

    # --- Evaluation ----------------------------------------------------------------------------
    config.eval = ConfigDict()
    config.eval.batch_rows = 32
    config.eval.max_new_tokens = 32
    # "checkpoint" applies the frame policy the checkpoint was trained with. "config" applies
    # `config.frames` instead, and the result files say so.
    config.eval.frames = "checkpoint"

    # --- Study: one base model, then a fine-tuned model for each frame policy × seed. ----------
    config.study = ConfigDict()
    config.study.base = ConfigDict()  # overrides of this config for training the base model
    config.study.frames = ConfigDict()  # frame-budget specs by label
    config.study.seeds = (0,)  # of fine-tuning; the base model is trained with config.seed
    return config
