"""Entry point: `python main.py --config=configs/demo.py --workdir=runs/demo --job=study`."""

import json
import tempfile
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from evaluation.evaluate import during_training, evaluate_checkpoint
from evaluation.report import build_report, print_summary
from evaluation.run_study import run_study
from vsft_jax.config import Run
from vsft_jax.export import export
from vsft_jax.plan import plan
from vsft_jax.predict import predict
from vsft_jax.prepare import prepare_benchmarks, prepare_training
from vsft_jax.train import train

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, with optional :arguments.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory for everything the job leaves behind.")
_JOBS = ("prepare", "train", "evaluate", "predict", "study", "report", "export", "plan")
_JOB = flags.DEFINE_enum("job", "train", _JOBS, "What to do; README.md has the table.")
_MEDIA = flags.DEFINE_multi_string("media", [], "predict: an image or video file; repeatable.")
_PROMPT = flags.DEFINE_string("prompt", None, "predict: the question.")
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Join a multi-host run (Cloud TPU pods).")


def main(argv: list[str]) -> None:
    """Checks the flags and runs the job."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    if _JOB.value != "predict" and (_MEDIA.value or _PROMPT.value):
        raise app.UsageError(f"--media and --prompt have no effect with --job={_JOB.value}")
    logging.set_verbosity(logging.INFO)
    _quieten_orbax()
    config = _CONFIG.value
    if not _WORKDIR.value and not (_JOB.value == "predict" and config.model.path):
        raise app.UsageError(f"--job={_JOB.value} needs --workdir")
    if "://" in (_WORKDIR.value or ""):
        raise app.UsageError(
            f"--workdir={_WORKDIR.value} is an address: mount the bucket and name the folder"
        )
    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    with tempfile.TemporaryDirectory() as nowhere:  # an imported model answers without a workdir
        _do(Run(config, Path(_WORKDIR.value or nowhere)))


def _do(run: Run) -> None:
    # Shared by all cells of a study and by later runs: the same step is compiled once.
    jax.config.update("jax_compilation_cache_dir", str(run.workdir / ".compilation_cache"))

    match _JOB.value:
        case "prepare":
            prepared = prepare_training(run, retry=True)
            prepare_benchmarks(run, prepared.frame_policy, retry=True)
        case "train":
            train(run, during_training(run))
        case "evaluate":
            evaluate_checkpoint(run)
        case "predict":
            if not _PROMPT.value:
                raise app.UsageError("--job=predict needs --prompt")
            print(json.dumps(predict(run, _PROMPT.value, _MEDIA.value), ensure_ascii=False))
        case "study":
            run_study(run)
        case "export":
            export(run)
        case "plan":
            plan(run)
        case "report":
            build_report(run.workdir, run.workdir)
            print_summary(run.workdir)


def _quieten_orbax() -> None:
    """Orbax logs dozens of internal lines a checkpoint; its warnings stay."""
    logging.get_absl_handler().addFilter(
        lambda record: record.levelno > 20 or "orbax" not in record.pathname
    )


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
