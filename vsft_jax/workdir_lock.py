"""One job at a time writes into a workdir.

The job locks <workdir>/.job.lock as the system locks files: when its process ends, however it does,
the lock is gone. The file says whose it is, for the line that refuses another job. Where hosts
mount a folder whose locks they do not share, and at an address, the file has to tell: the owner
counts up in it every `BEAT_SECONDS`, and another host's job waits `DEAD_SECONDS` to see whether it
does. No clocks are compared.
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
from input_pipeline.mirrors import address_of, read_object, write_object
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
    address = address_of(path)
    file: _File | _Object = _Object(address) if address else _File(path)
    try:
        _take(file, here)
        try:
            _write(file, here, 0)
        except OSError as error:  # a full disk
            raise UserError(f"{file.place} cannot be written: {error.strerror}") from error
        beats = threading.Thread(target=_beat, args=[file, here, ended], daemon=True)
        beats.start()
        try:
            yield
        finally:
            ended.set()
            beats.join()
            with contextlib.suppress(OSError, UserError):
                file.write(b"")
    finally:
        file.close()


class _File:
    """A lock in a folder."""

    def __init__(self, path: Path):
        self.place = str(path)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def lock(self) -> bool:
        """Whether no other process of this host has it. Raises BlockingIOError where one has."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            raise
        except OSError as error:
            logging.info("%s: no locks on this file system (%s)", self.place, error.strerror)
            return False

    def read(self) -> bytes:
        return os.pread(self._file, 4096, 0)

    def write(self, content: bytes) -> None:
        """In place: a reader never finds a part of what is as long as what was there."""
        os.pwrite(self._file, content, 0)
        os.ftruncate(self._file, len(content))
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


class _Object:
    """A lock at an address, where nothing locks."""

    def __init__(self, address: str):
        self.place = address

    def lock(self) -> bool:
        return False

    def read(self) -> bytes:
        return read_object(self.place)

    def write(self, content: bytes) -> None:
        write_object(self.place, content)

    def close(self) -> None:
        pass


def _take(file: _File | _Object, here: _Owner) -> None:
    path = file.place
    try:
        alone = file.lock()
    except BlockingIOError:
        raise _in_use(path, _owner(file.read())) from None
    before = file.read()
    if not before:
        return
    owner = _owner(before)
    if not (alone and owner and owner.host == here.host):
        logging.info("%s is of %s looking for %.0f s if it lives", path, owner, DEAD_SECONDS)
        until = time.monotonic() + DEAD_SECONDS
        while time.monotonic() < until:
            time.sleep(min(1.0, DEAD_SECONDS / 10))
            if (now := file.read()) != before:
                if not now:  # it has ended meanwhile
                    return
                raise _in_use(path, owner)
    logging.warning("%s: %s ended without letting go of the folder: taking it over", path, owner)


def _in_use(path: str, owner: _Owner | None) -> WorkdirInUse:
    return WorkdirInUse(
        f"{path.rpartition('/')[0]} is in use: {owner or 'another job'} works there.\n"
        "Wait for it or end it, or take another --workdir; evaluate, predict and export may be "
        "done beside it"
    )


def _beat(file: _File | _Object, here: _Owner, ended: threading.Event) -> None:
    count = 0
    while not ended.wait(BEAT_SECONDS):
        count += 1
        with contextlib.suppress(OSError, UserError):  # a full disk; the system's lock holds
            _write(file, here, count)


def _write(file: _File | _Object, owner: _Owner, count: int) -> None:
    """As long for every count."""
    file.write(json.dumps({**vars(owner), "beats": f"{count:9d}"}).encode())


def _owner(written: bytes) -> _Owner | None:
    try:
        facts = json.loads(written)
        return _Owner(*(facts[field.name] for field in dataclasses.fields(_Owner)))
    except (ValueError, KeyError, TypeError):
        return None
