"""The command line: its flags, and what is wrong with them.

Nothing heavy is imported here, so that --help and mistakes answer at once.
"""

import argparse
import dataclasses
import re
from collections.abc import Sequence
from typing import NoReturn

from input_pipeline.errors import UserError, did_you_mean

JOBS = {
    "prepare": "read annotations, probe media, decide frame budgets, lay out tokens",
    "train": "fine-tune; goes on with what an interrupted run has saved",
    "evaluate": "score the newest checkpoint on the config's benchmarks",
    "budget": "learn how many frames questions need from what the model said at fixed counts",
    "predict": "answer one --prompt about any --media",
    "chat": "talk about any --media: a question a line, an empty line ends it",
    "serve": "answer over HTTP as OpenAI's servers do, until Ctrl-C",
    "export": "write the model as a Hugging Face directory",
    "plan": "what a training step takes on TPUs, with none at hand",
    "study": "a base model, a fine-tuned one for each frame policy × seed, and the report",
    "report": "build the report of a study again, or one of any runs",
    "compare": "a run's answers with those of the run --against, question by question",
}
_JOBS_OF = {
    "prompt": ("predict",),
    "prompts": ("predict",),
    "run": ("report",),
    "cell": ("study",),
    "launch": ("study",),
    "media": ("predict", "chat"),
    "against": ("compare",),
    "even_unlike": ("compare",),
}
_OVERRIDE = re.compile(r"--?(?:no)?config\.")
_CONFIG = (
    "config file, such as configs/smolvlm.py:frames=8; --config.KEY=VALUE sets any of its values"
)
_WORKDIR = (
    "where the job leaves everything, a folder or an address such as gs://bucket/run; without "
    "--config the config saved there is used"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """What was typed. config: path with optional :arguments. overrides: `--config.key=value`, each
    as typed, a value behind a space as an item of its own."""

    job: str
    config: str | None
    overrides: tuple[str, ...]
    workdir: str | None
    prompt: str | None
    prompts: str | None
    media: tuple[str, ...]
    run: tuple[str, ...]
    cell: tuple[str, ...]
    launch: str | None
    against: str | None
    even_unlike: bool
    distributed: bool
    coordinator: str | None
    processes: int | None
    process: int | None
    debug: bool


def parse(argv: Sequence[str], program: str) -> Arguments:
    """The arguments after the program's name. --help prints and raises SystemExit.

    program: what to call it in the help. Raises UserError naming the flag.
    """
    if not argv:
        raise UserError(f"nothing to do: give --config or --workdir; {program} --help says more")
    typed, rest = _parser(program).parse_known_args(argv)
    found = Arguments(
        job=typed.job,
        config=typed.config,
        overrides=tuple(rest),
        workdir=typed.workdir,
        prompt=typed.prompt,
        prompts=typed.prompts,
        media=tuple(typed.media),
        run=tuple(typed.run),
        cell=tuple(typed.cell),
        launch=typed.launch,
        against=typed.against,
        even_unlike=typed.even_unlike,
        distributed=typed.distributed,
        coordinator=typed.coordinator,
        processes=typed.processes,
        process=typed.process,
        debug=typed.debug,
    )
    _check(found)
    return found


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument "))


def _parser(program: str) -> _Parser:
    parser = _Parser(
        prog=program,
        description="Fine-tune multimodal LLMs on video, with a frame budget for each example.",
        usage="%(prog)s [--config=FILE] [--config.KEY=VALUE …] --workdir=FOLDER [--job=JOB]",
        epilog="jobs:\n" + "\n".join(f"  {name:<10}{does}" for name, does in JOBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--job", default="train", metavar="JOB", help="what to do, of those below; train")
    add("--config", metavar="FILE[:ARGS]", help=_CONFIG)
    add("--workdir", metavar="FOLDER", help=_WORKDIR)
    add("--prompt", metavar="TEXT", help="predict: the question")
    add("--prompts", metavar="JSONL", help="predict: many questions, answered as JSON lines")
    add(
        "--media",
        metavar="FILE",
        action="append",
        default=[],
        help="predict, chat: image or video; repeatable",
    )
    add("--against", metavar="FOLDER", help="compare: the base, a run or one of its eval folders")
    add("--even-unlike", action="store_true", help="compare: also what was not asked alike")
    add(
        "--run",
        metavar="FOLDER",
        action="append",
        default=[],
        help="report: a run to compare; repeatable; the base is called base, or the first",
    )
    add(
        "--cell",
        metavar="NAME",
        action="append",
        default=[],
        help="study: this model alone, beside others elsewhere; repeatable",
    )
    add(
        "--launch",
        metavar="COMMAND",
        nargs="?",
        const="vsft",
        help="study: train nothing, print what it costs and a line for each model that is left, "
        "COMMAND (vsft) before it, {cell} in it its name",
    )
    add("--distributed", action="store_true", help="join a run of several processes (TPU pods)")
    add(
        "--coordinator", metavar="HOST:PORT", help="distributed, where no TPU or cluster tells: 0's"
    )
    add("--processes", metavar="N", type=int, help="and how many there are")
    add("--process", metavar="I", type=int, help="and which of them this is, from 0")
    add("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _check(typed: Arguments) -> None:
    if typed.job not in JOBS:
        raise UserError(
            f"--job={typed.job}: no such job{did_you_mean(typed.job, JOBS)} "
            f"(jobs: {', '.join(JOBS)})"
        )
    for item in typed.overrides:
        if item.startswith("-") and not _OVERRIDE.match(item) and not _is_number(item):
            raise UserError(f"{_flag(item)}: no such flag{_nearest_flag(_flag(item))}")
    if typed.overrides and not typed.overrides[0].startswith("-"):
        word = typed.overrides[0]
        hint = did_you_mean(word, JOBS, "--job=")
        raise UserError(f"{word!r} belongs to no flag{hint}")
    for flag, jobs in _JOBS_OF.items():
        if getattr(typed, flag) and typed.job not in jobs:
            raise UserError(
                f"--{flag.replace('_', '-')} has no effect with --job={typed.job}: "
                f"it is for {' and '.join(jobs)}"
            )
    _check_processes(typed)
    if typed.job == "compare" and not typed.against:
        raise UserError("--job=compare needs --against=FOLDER, the run to compare with")
    if typed.job != "predict":
        return
    if typed.prompt and typed.prompts:
        raise UserError("--prompt and --prompts: give one of them, a question or a file of many")
    if not (typed.prompt or typed.prompts):
        raise UserError('--job=predict needs --prompt="a question", or --prompts=questions.jsonl')
    if typed.prompts and typed.media:
        raise UserError("--media goes with --prompt; the lines of --prompts name their own media")


def _flag(item: str) -> str:
    return item.partition("=")[0]


def _nearest_flag(flag: str) -> str:
    name = flag.lstrip("-")
    if "." in name:
        return f"; values of the config are set with --config.{name.removeprefix('config.')}=…"
    fields = [field.name for field in dataclasses.fields(Arguments) if field.name != "overrides"]
    return did_you_mean(name, [field.replace("_", "-") for field in fields], "--")


def _check_processes(typed: Arguments) -> None:
    given = {name: getattr(typed, name) for name in ("coordinator", "processes", "process")}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return
    if missing:
        raise UserError(f"{' and '.join(missing)} missing: the three of --distributed go together")
    if not typed.distributed:
        raise UserError("--coordinator, --processes and --process need --distributed")
    if not re.fullmatch(r".+:\d+", typed.coordinator or ""):
        raise UserError(f"--coordinator={typed.coordinator}: expected HOST:PORT of process 0")
    if not 0 <= (typed.process or 0) < (typed.processes or 0):
        raise UserError(
            f"--process={typed.process}: expected one of 0 to --processes - 1 = "
            f"{(typed.processes or 0) - 1}"
        )


def _is_number(item: str) -> bool:
    return re.fullmatch(r"-\.?\d.*", item) is not None
