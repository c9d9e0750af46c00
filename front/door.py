"""From a command line to a job, and from whatever goes wrong to an exit code.

0    done
1    a fault of the program: its traceback, and how to report it
2    something that the user can put right: one to five lines (--debug: with the traceback)
130  stopped by Ctrl-C
A job may end with a code of its own (SystemExit), such as a training that was preempted.
"""

import contextlib
import errno
import importlib
import os
import re
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from front.arguments import Arguments, parse
from front.jobs import DO, Request, keep_compiled
from input_pipeline import mirrors
from input_pipeline.errors import UserError

_READ = (
    "evaluate",
    "budget",
    "predict",
    "chat",
    "serve",
    "export",
    "report",
    "compare",
)  # what a run's folder holds, unless they import
_PRINT = ("predict", "chat")  # their answers
_FOLDERS = ("report", "compare")  # need no config, and compute nothing
_LINES = 5  # of an error
_AGAIN_SECONDS = 0.05  # until a Ctrl-C comes again that came where nothing can be raised
# Of the system, what its user can put right.
_FILE_ERRORS = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG)
_STOPPED = "stopped; the same command goes on from what is finished"
_FAULT = "this is a fault of vsft-jax: please report the command and the lines above as an issue"
_FULL = (
    "a device's memory is full: take fewer config.train.batch_rows or config.eval.batch_rows, more "
    "config.train.accumulate, or more devices for fsdp in config.mesh; --job=plan tells what fits"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the arguments say (by default the process's) and returns the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in words
    with _second_interrupt_ends_at_once() as interrupted:
        try:
            _do(parse(words, _program()))
        except KeyboardInterrupt:
            _tell(_STOPPED, debug)
            return 130
        except Exception as error:
            if interrupted.is_set():  # a library made another error of it, as imports of JAX do
                _tell(_STOPPED, debug)
                return 130
            if (message := _for_user(error)) is not None:
                _tell(f"error: {message}", debug)
                if isinstance(error, OSError):
                    _drop_unwritten()
                return 2
            _tell(f"error: {_FAULT}", debug=True)
            return 1
    return 0


def _program() -> str:
    """How this was started, to say how to go on."""
    return "python main.py" if Path(sys.argv[0]).name == "main.py" else "vsft"


def _do(typed: Arguments) -> None:
    _open_closed_streams()
    _import_whole("numpy")
    from front.console import prepare_console

    if typed.job in _PRINT and sys.stdout is None:
        raise UserError(f"--job={typed.job} prints its answers, but stdout is closed")
    prepare_console()
    request = _request(typed)
    if typed.job not in _FOLDERS:
        _import_whole("jax")
        if typed.distributed:
            _join(typed)
        keep_compiled(request)
    with mirrors.publishing():
        done = DO[typed.job](request)
    if sys.stdout is not None:
        sys.stdout.flush()  # where its error can be told
    if done and _is_first(typed):
        then = f"; next: {_program()} {done.then}" if done.then else ""
        print(f"{done.left}{then}", file=sys.stderr)


def _join(typed: Arguments) -> None:
    """Joins the other processes of the job. Raises UserError where they cannot be found."""
    import jax

    try:
        jax.distributed.initialize(typed.coordinator, typed.processes, typed.process)
    except ValueError as error:  # nobody tells
        raise UserError(
            f"--distributed: neither a TPU nor a cluster manager tells of the other processes "
            f"({error}): give --coordinator=HOST:PORT, --processes=N and --process=I"
        ) from error
    except RuntimeError as error:
        raise UserError(f"--distributed: {' '.join(str(error).split())[:300]}") from error


def _open_closed_streams() -> None:
    """Gives the numbers of streams that were closed to nothing: the next file that is opened would
    get them, and what a library prints would be written into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _import_whole(name: str) -> None:
    """Imports a module; a Ctrl-C comes when that is done. In the middle of an extension module it
    prints a traceback, is lost or, seldom, ends in a segmentation fault."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        importlib.import_module(name)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_first(typed: Arguments) -> bool:
    """Whether this process speaks for all of a job."""
    if not typed.distributed:
        return True
    from vsft_jax.processes import is_first

    return is_first()


def _request(typed: Arguments) -> Request:
    """The job with its config and its folder. Raises UserError for what is wrong with them."""
    from front import configs

    if not (typed.config or typed.workdir):
        raise UserError(f"--job={typed.job} needs --config=FILE, or the --workdir of a run")
    if typed.config:
        config = configs.load(typed.config)
        configs.override(config, typed.overrides)
        return Request(
            typed, config, _workdir(typed, imports=bool(config.get("model", {}).get("path")))
        )
    workdir = _workdir(typed, imports=False)
    if typed.job in _FOLDERS:
        if typed.overrides:
            raise UserError(f"{typed.overrides[0]} has no effect with --job={typed.job}")
        return Request(typed, None, workdir)
    config = configs.saved(workdir)
    changes = configs.override(config, typed.overrides)
    changes += configs.work_out_again(config, typed.overrides)
    print(
        *[f"config: {mirrors.shown(workdir / configs.SAVED)}", *changes], sep="\n", file=sys.stderr
    )
    return Request(typed, config, workdir)


def _workdir(typed: Arguments, imports: bool) -> Path:
    """imports: whether the config names a model to use where the folder has none."""
    from front import workdirs

    if not typed.workdir:
        if typed.job in ("predict", "chat", "serve") and imports:
            return workdirs.of_user()
        raise UserError(f"--job={typed.job} needs --workdir=FOLDER")
    if typed.run:  # whose report is left in a folder of its own
        return workdirs.writable(typed.workdir)
    if not typed.config or (typed.job in _READ and not imports):
        return workdirs.existing(typed.workdir)
    return workdirs.writable(typed.workdir)


# ── What goes wrong. ────────────────────────────────────────────────────────────────────────────


def _for_user(error: Exception) -> str | None:
    """What to tell of an error that the user can put right; None of a fault of the program."""
    if isinstance(error, UserError):
        # What a config key names may have a key of its own to blame: the inner one is to change.
        return re.sub(r"^(config[\w.]*: )+(?=config\.)", "", str(error))
    if isinstance(error, BrokenPipeError) and _reader_is_gone():
        return "whoever read the output has closed it"
    if isinstance(error, _FILE_ERRORS) or (
        isinstance(error, OSError) and error.errno in _DISK_ERRORS
    ):
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        full = ": make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return f"{where}{full} (--debug shows what needed it)"
    return _FULL if "RESOURCE_EXHAUSTED" in str(error) else None


def _reader_is_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more, as after `| head`."""
    try:
        events = select.poll()
        events.register(sys.stdout.fileno(), 0)
        return any(found & select.POLLERR for _, found in events.poll(0))
    except (OSError, ValueError, AttributeError):  # no file behind it
        return False


def _drop_unwritten() -> None:
    """Drops what stdout could not write: Python would try again at the end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(message: str, debug: bool) -> None:
    """debug: with the traceback, and all lines."""
    if debug:
        traceback.print_exc()
    lines = message.splitlines()
    if len(lines) > _LINES and not debug:
        lines = [*lines[: _LINES - 1], f"… {len(lines) - _LINES + 1} more lines with --debug"]
    print("\n".join(lines), file=sys.stderr)


@contextlib.contextmanager
def _second_interrupt_ends_at_once() -> Iterator[threading.Event]:
    """The first Ctrl-C unwinds what is under way, the second ends the process as it is.

    One that a callback swallows comes again. Yields whether there was one.
    """
    there_was = threading.Event()

    def interrupted(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        there_was.set()
        raise KeyboardInterrupt

    def again(ignored: Any) -> None:
        # Python ignores what is raised in callbacks, as JAX has one at each garbage collection.
        if not isinstance(ignored.exc_value, KeyboardInterrupt):
            hook(ignored)
            return
        signal.signal(signal.SIGINT, interrupted)
        main_thread = threading.main_thread().ident
        threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, (main_thread, signal.SIGINT)).start()

    if threading.current_thread() is not threading.main_thread():
        yield there_was
        return
    before = signal.signal(signal.SIGINT, interrupted)
    hook, sys.unraisablehook = sys.unraisablehook, again
    try:
        yield there_was
    finally:
        sys.unraisablehook = hook
        if signal.getsignal(signal.SIGINT) is interrupted:  # else it may still end threads
            signal.signal(signal.SIGINT, before)
