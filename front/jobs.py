"""What each job does, what it leaves where, and what to type next. Jobs are imported here, late."""

import dataclasses
import functools
import hashlib
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from front.arguments import Arguments
from input_pipeline.mirrors import copy_of, shown
from input_pipeline.paths import is_remote

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from vsft_jax.config import Run


@dataclasses.dataclass(frozen=True)
class Request:
    """A job to do. config: None where the job needs none. workdir: where it works."""

    typed: Arguments
    config: "ConfigDict | None"
    workdir: Path

    @functools.cached_property
    def run(self) -> "Run":
        """What jobs are given."""
        from vsft_jax.config import Run

        assert self.config is not None, "this job works with a config"
        return Run(self.config, self.workdir)

    def again(self, job: str) -> str:
        """Flags that ask for another job with this config and folder."""
        config = [f"--config={self.typed.config}"] if self.typed.config else []
        folder = [f"--workdir={self.typed.workdir}"]
        return shlex.join([*config, *self.typed.overrides, *folder, f"--job={job}"])

    def of_folder(self, job: str) -> str:
        """Flags that ask for a job with what the folder holds."""
        return shlex.join([f"--workdir={self.typed.workdir}", f"--job={job}"])


class Done(NamedTuple):
    """What a job left where, and the flags of a command to go on with ("" where there is none)."""

    left: str
    then: str = ""


def _prepare(request: Request) -> Done:
    from evaluation.benchmarks import write_official
    from evaluation.evaluate import check_questions
    from vsft_jax.prepare import prepare_all

    write_official(request.run)
    prepare_all(request.run, functools.partial(check_questions, request.run))
    then = request.again("train" if request.run.config.data.train else "evaluate")
    return Done(f"indexes and what was left out: {shown(request.run.index_dir)}", then)


def _train(request: Request) -> Done:
    from evaluation.evaluate import during_training
    from vsft_jax.train import train

    train(request.run, during_training(request.run))
    left = f"checkpoints and train.jsonl: {shown(request.workdir)}"
    if request.run.config.data.benchmarks:
        return Done(left, request.of_folder("evaluate"))
    return Done(left, f'{request.of_folder("predict")} --media=clip.mp4 --prompt="What happens?"')


def _evaluate(request: Request) -> Done:
    from evaluation.evaluate import evaluate_policies

    evaluate_policies(request.run)
    return Done(f"scores and answers: {shown(request.workdir)}/eval", request.again("export"))


def _budget(request: Request) -> Done:
    from evaluation.budget import fit_budget

    path = fit_budget(request.run)
    return Done(f'the predictor, for {{"kind": "learned", "path": …}}: {shown(path)}')


def _predict(request: Request) -> None:
    from vsft_jax.predict import Question, predict, read_questions

    typed = request.typed
    if typed.prompts:
        questions = read_questions(typed.prompts)
    else:
        questions = [Question(typed.prompt or "", typed.media)]
    for said in predict(request.run, questions):
        print(json.dumps(said, ensure_ascii=False), flush=True)


def _chat(request: Request) -> None:
    from front.chat import talk
    from vsft_jax.predict import Chat

    talk(Chat(request.run, request.typed.media))


def _serve(request: Request) -> None:
    from vsft_jax.serve import serve

    serve(request.run)


def _export(request: Request) -> Done:
    from vsft_jax.export import export

    folder = export(request.run)
    config = f"configs/{request.run.config.model.family}.py:path={folder}"
    then = f'--config={config} --job=predict --media=clip.mp4 --prompt="What happens?"'
    return Done(f"a Hugging Face directory: {shown(folder)}", then)


def _plan(request: Request) -> Done:
    from vsft_jax.plan import plan

    plan(request.run)
    return Done(f"the plan: {shown(request.workdir)}/plan.json", request.again("train"))


def _study(request: Request) -> Done:
    from evaluation.run_study import run_study, what_is_left

    typed = request.typed
    if typed.launch is None:
        report = run_study(request.run, typed.cell)
        return Done(f"the report: {shown(report)}", request.of_folder("report"))
    lots = what_is_left(request.run)
    for lot in lots:
        cells = shlex.join(f"--cell={name}" for name in lot.cells)
        note = f"  # when {lot.waits_for} is done" if lot.waits_for else ""
        command = typed.launch.replace("{cell}", _resource_name(lot.cells[0]))
        print(f"{command} {request.again('study')} {cells}{note}", flush=True)
    return Done(f"{len(lots)} lines, a model each; when they are done", request.again("study"))


def _resource_name(cell: str) -> str:
    """A cell's name as `python -m launch` takes one: at most 40 of a-z, 0-9 and -."""
    plain = re.sub(r"[^a-z0-9]+", "-", cell.lower()).strip("-")
    if plain == cell and len(cell) <= 40 and cell[:1].isalpha():
        return cell
    return f"cell-{plain[:26].rstrip('-')}-{hashlib.sha256(cell.encode()).hexdigest()[:8]}"


def _report(request: Request) -> Done:
    from evaluation.report import compare_runs, print_summary, read_folder, write_report
    from front.workdirs import existing

    runs = [existing(folder, "run") for folder in request.typed.run]
    study = compare_runs(runs) if runs else read_folder(request.workdir)
    report = write_report(study, request.workdir)
    print_summary(study)
    return Done(f"the report: {shown(report)}")


def _compare(request: Request) -> Done:
    from evaluation.compare import COMPARISON_FILE, compare_folders, print_comparisons, save

    typed = request.typed
    assert typed.against, "a comparison has two sides"
    against = copy_of(typed.against) if is_remote(typed.against) else typed.against
    found = compare_folders(request.workdir, against, even_unlike=typed.even_unlike)
    save(found, request.workdir / COMPARISON_FILE)
    print_comparisons(found)
    return Done(f"the numbers: {shown(request.workdir / COMPARISON_FILE)}")


DO: dict[str, Callable[[Request], Done | None]] = {
    "prepare": _prepare,
    "train": _train,
    "evaluate": _evaluate,
    "budget": _budget,
    "predict": _predict,
    "chat": _chat,
    "serve": _serve,
    "export": _export,
    "plan": _plan,
    "study": _study,
    "report": _report,
    "compare": _compare,
}


def keep_compiled(request: Request) -> None:
    """Compiled functions stay in the workdir for later jobs, and for all cells of a study."""
    import jax

    from front.compiled import remove_damaged

    place = shown(request.workdir / ".compilation_cache")  # JAX reads and writes addresses itself
    jax.config.update("jax_compilation_cache_dir", place)
    # XLA's own caches, of GPUs, would put the folder's path into the name of every function: a
    # folder that is moved, or shared under another name, would compile everything anew.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    if is_remote(place):  # where it cannot bound what it keeps
        jax.config.update("jax_compilation_cache_max_size", -1)
    else:
        remove_damaged(Path(place))
    if request.typed.job in ("predict", "chat", "serve"):
        # An answer is many small functions, most of them below the second that JAX asks for.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
