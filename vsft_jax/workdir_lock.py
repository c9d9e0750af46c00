"""One job at a time writes into a workdir.

The job locks <workdir>/.job.lock as the system locks files: when its process ends, however it does,
the lock is gone. The file says whose it is, for the line that refuses another job. Where hosts
mount a folder whose locks they do not share, the file has to tell: the owner counts up in it every
`BEAT_SECONDS`, and another host's job waits `DEAD_SECONDS` to see whether it does. No clocks are
compared.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from input_pipeline.errors import UserError
from vsft_jax.processes import first_finds

LOCK_FILE = ".job.lock"
BEAT_SECONDS = 20.0
DEAD_SECONDS = 120.0  # some beats, and the time for which network file systems keep what they read


class WorkdirInUse(UserError):
    """Another job works in the folder."""


@dataclasses.dataclass(frozen=True)
class _Owner:
    job: str
    host: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"--job={self.job} of process {self.pid} on {self.host}, begun {self.started},"


@contextlib.contextmanager
def working_in(workdir: Path, job: str) -> Iterator[None]:
    """A context in which no other job that writes can begin to work in the folder, which is made
    where it is missing. Process 0 holds the lock for all; to be called by all of them.

    Raises WorkdirInUse naming the job, the host and the process that work there.
    """
    with contextlib.ExitStack() as stack:
        first_finds(lambda: stack.enter_context(_locked(workdir / LOCK_FILE, job)))
        yield


@contextlib.contextmanager
def _locked(path: Path, job: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    here = _Owner(job, socket.gethostname(), os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"))
    ended = threading.Event()
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(file, path, here)
        try:
            _write(file, here, 0)
        except OSError as error:  # a full disk
            raise UserError(f"{path} cannot be written: {error.strerror}") from error
        beats = threading.Thread(target=_beat, args=[file, here, ended], daemon=True)
        beats.start()
        try:
            yield
        finally:
            ended.set()
            beats.join()
            with contextlib.suppress(OSError):
                os.ftruncate(file, 0)
    finally:
        os.close(file)


def _take(file: int, path: Path, here: _Owner) -> None:
    alone = True  # whether this host's processes are known to have let go of it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(path, _owner(_read(file))) from None
    except OSError as error:
        logging.info("%s: no locks on this file system (%s)", path, error.strerror)
        alone = False
    before = _read(file)
    if not before:
        return
    owner = _owner(before)
    if not (alone and owner and owner.host == here.host):
        logging.info("%s is of %s looking for %.0f s if it lives", path, owner, DEAD_SECONDS)
        until = time.monotonic() + DEAD_SECONDS
        while time.monotonic() < until:
            time.sleep(min(1.0, DEAD_SECONDS / 10))
            if (now := _read(file)) != before:
                if not now:  # it has ended meanwhile
                    return
                raise _in_use(path, owner)
    logging.warning("%s: %s ended without letting go of the folder: taking it over", path, owner)


def _in_use(path: Path, owner: _Owner | None) -> WorkdirInUse:
    return WorkdirInUse(
        f"{path.parent} is in use: {owner or 'another job'} works there.\n"
        "Wait for it or end it, or take another --workdir; evaluate, predict and export may be "
        "done beside it"
    )


def _beat(file: int, here: _Owner, ended: threading.Event) -> None:
    count = 0
    while not ended.wait(BEAT_SECONDS):
        count += 1
        with contextlib.suppress(OSError):  # a full disk; the system's lock holds
            _write(file, here, count)


def _write(file: int, owner: _Owner, count: int) -> None:
    """In place, and as long for every count: a reader never finds a part of it."""
    written = json.dumps({**vars(owner), "beats": f"{count:9d}"}).encode()
    os.pwrite(file, written, 0)
    os.ftruncate(file, len(written))
    os.fsync(file)


def _read(file: int) -> bytes:
    return os.pread(file, 4096, 0)


def _owner(written: bytes) -> _Owner | None:
    try:
        facts = json.loads(written)
        return _Owner(*(facts[field.name] for field in dataclasses.fields(_Owner)))
    except (ValueError, KeyError, TypeError):
        return None
