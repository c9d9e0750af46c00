"""Entry point: `python main.py --config=configs/demo.py --workdir=runs/demo --job=study`."""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, with optional :arguments.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory for everything the job leaves behind.")
_JOB = flags.DEFINE_enum(
    "job",
    "train",
    ["prepare", "train", "evaluate", "predict", "study", "report"],
    "What to do; README.md has the table.",
)
_MEDIA = flags.DEFINE_multi_string("media", [], "predict: an image or video file; repeatable.")
_PROMPT = flags.DEFINE_string("prompt", None, "predict: the question.")
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Join a multi-host run (Cloud TPU pods).")


def _run(config, workdir: str, job: str) -> None:
    import jax

    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    # Shared by all cells of a study and by reruns: the same step is compiled once.
    jax.config.update("jax_compilation_cache_dir", f"{workdir}/.compilation_cache")
    from evaluation import jobs

    if job == "predict":
        if not _PROMPT.value:
            raise app.UsageError("--job=predict needs --prompt")
        jobs.predict(config, workdir, prompt=_PROMPT.value, media=_MEDIA.value)
    else:
        getattr(jobs, job)(config, workdir)


def main(argv: list[str]) -> None:
    """Checks the flags and runs the job."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    logging.set_verbosity(logging.INFO)
    _run(_CONFIG.value, _WORKDIR.value, _JOB.value)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    sys.exit(app.run(main))
