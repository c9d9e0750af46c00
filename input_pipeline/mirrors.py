"""Folders at an address, such as gs://bucket/run, each worked in through a copy on this machine.

A job maps, appends to and replaces files of the copy as it does in any folder. `fetch` makes the
copy what the address holds, `publish` brings there what changed here: each file as an object that
appears whole, in the order in which the files were written. `publishing` does so every
`PUBLISH_SECONDS`, and a job where somebody else looks next. Where both sides changed a file, the
address has the last word.

What is large or of one machine alone does not go this way: see `_ELSEWHERE`.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from input_pipeline.errors import UserError
from input_pipeline.files import replacing, write_atomically
from input_pipeline.paths import is_remote, user_cache

if TYPE_CHECKING:
    import fsspec

PUBLISH_SECONDS = 20.0
# Orbax writes checkpoints to the address itself, from all hosts, and JAX its compiled programs.
_ELSEWHERE = frozenset({"checkpoints", ".compilation_cache"})
_WRITE_ONLY = frozenset({"tensorboard", "hf"})  # no job reads these again
_UNFINISHED = re.compile(r"\..*|.*\.(partial|old|lock)|.*-journal")  # names that only jobs use
_THREADS = 8


class StorageError(UserError):
    """What lies at an address cannot be read or written."""


class _Known(NamedTuple):
    """A file that was the same on both sides. version: of the object. size in bytes, changed in ns:
    of the copy's file."""

    version: str
    size: int
    changed: int


class Mirror:
    """The copy `folder` of what lies at `address`. Safe to share by threads."""

    def __init__(self, address: str, folder: Path):
        self.address, self.folder = address.rstrip("/"), folder
        self._lock = threading.Lock()
        self._record = folder.with_name(f"{folder.name}.json")
        self._known = self._read_record()
        with _named(self.address, "cannot be reached"):
            self._system, self._root = _storage(self.address)

    def fetch(self) -> None:
        """Makes the copy what the address holds, but for what was never there. Raises StorageError.

        A file that only changed here stays, to be published.
        """
        with self._lock, _named(self.address, "cannot be read"):
            there = self._listed()
            wanted = [name for name, version in there.items() if self._is_news(name, version)]
            with ThreadPoolExecutor(_THREADS) as pool:
                self._known |= pool.map(lambda name: (name, self._get(name, there[name])), wanted)
            for name in self._known.keys() - there.keys():
                (self.folder / name).unlink(missing_ok=True)
                del self._known[name]
            self._write_record()

    def publish(self) -> None:
        """Brings to the address what changed here since. Raises StorageError."""
        with self._lock, _named(self.address, "cannot be written"):
            here = dict(self._here())
            changed = [name for name, facts in here.items() if facts != self._known_facts(name)]
            for name in sorted(changed, key=lambda name: here[name][1]):
                try:
                    self._system.put_file(str(self.folder / name), f"{self._root}/{name}")
                    self._known[name] = _Known(self._version(name), *here[name])
                except FileNotFoundError:
                    if (self.folder / name).exists():  # so it is the bucket that is not there
                        raise
            gone = [name for name in self._known if not (self.folder / name).exists()]
            for name in gone:
                with contextlib.suppress(FileNotFoundError):
                    self._system.rm_file(f"{self._root}/{name}")
                del self._known[name]
            if changed or gone:
                self._write_record()

    def _listed(self) -> dict[str, str]:
        """Versions of the objects that belong into the copy, by name."""
        there = _objects(self._system, self._root)
        return {name: _version_of(facts) for name, facts in there if not _is_elsewhere(name)}

    def _is_news(self, name: str, version: str) -> bool:
        if name.split("/")[0] in _WRITE_ONLY or "/tensorboard/" in name:
            return False
        known = self._known.get(name)
        return known is None or known.version != version or not (self.folder / name).exists()

    def _get(self, name: str, version: str) -> _Known:
        path = self.folder / name
        with replacing(path, sync=False) as partial:
            self._system.get_file(f"{self._root}/{name}", str(partial))
        return _Known(version, *_facts(path))

    def _here(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """(name, (size, changed)) of the copy's files that are to be published."""
        for folder, below, files in os.walk(self.folder):
            below[:] = [n for n in below if n not in _ELSEWHERE and not _UNFINISHED.fullmatch(n)]
            busy = {name.removesuffix("-journal") for name in files if name.endswith("-journal")}
            for file in files:
                if not _UNFINISHED.fullmatch(file) and file not in busy:
                    path = Path(folder, file)
                    with contextlib.suppress(FileNotFoundError):
                        yield str(path.relative_to(self.folder)), _facts(path)

    def _known_facts(self, name: str) -> tuple[int, ...]:
        return tuple(self._known[name][1:]) if name in self._known else ()

    def _version(self, name: str) -> str:
        self._system.invalidate_cache()
        return _version_of(self._system.info(f"{self._root}/{name}"))

    def _read_record(self) -> dict[str, _Known]:
        try:
            return {
                name: _Known(*facts) for name, facts in json.loads(self._record.read_text()).items()
            }
        except (OSError, ValueError, TypeError, AttributeError):  # a new copy, or a damaged one
            return {}

    def _write_record(self) -> None:
        write_atomically(self._record, json.dumps(self._known))


def _is_elsewhere(name: str) -> bool:
    return any(part in _ELSEWHERE or _UNFINISHED.fullmatch(part) for part in name.split("/"))


def _facts(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _version_of(facts: Mapping[str, Any]) -> str:
    """Changes with the object: each storage has its own word for it."""
    words = ("generation", "ETag", "etag", "LastModified", "mtime", "created")
    said = next((facts[word] for word in words if facts.get(word)), "")
    return f"{facts['size']} {said.timestamp() if isinstance(said, datetime) else said}"


@contextlib.contextmanager
def _named(address: str, what: str) -> Iterator[None]:
    """What a storage library raises becomes a StorageError; what this machine's disk does, not."""
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise StorageError(f"{address} needs a package that is not installed: {error}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            raise
        said = " ".join(str(error).split())[:300]
        raise StorageError(f"{address} {what}: {type(error).__name__}: {said}") from error


def read_object(address: str) -> bytes:
    """What an object holds, nothing where there is none. Raises StorageError."""
    with _named(address, "cannot be read"):
        system, place = _storage(address)
        system.invalidate_cache()
        try:
            return system.cat_file(place)
        except FileNotFoundError:
            return b""


def write_object(address: str, content: bytes) -> None:
    """Replaces an object. Raises StorageError."""
    with _named(address, "cannot be written"):
        system, place = _storage(address)
        system.pipe_file(place, content)


def names_below(address: str) -> list[str]:
    """Names of the objects and folders right below an address. Raises StorageError."""
    with _named(address, "cannot be read"):
        system, root = _storage(address)
        system.invalidate_cache()
        found = system.ls(root, detail=False) if system.exists(root) else []
        return [path.rstrip("/").rpartition("/")[2] for path in found]


def sizes(address: str) -> dict[str, int]:
    """The bytes of each object below an address, by its name from there. Raises StorageError."""
    with _named(address, "cannot be read"):
        return {name: facts["size"] for name, facts in _objects(*_storage(address))}


def _objects(
    system: "fsspec.AbstractFileSystem", root: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name from `root`, and facts, of each object below it."""
    system.invalidate_cache()
    for path, facts in system.find(root, detail=True).items():
        if facts["type"] == "file" and (name := path[len(root) :].strip("/")):
            yield name, facts


def _storage(address: str) -> tuple["fsspec.AbstractFileSystem", str]:
    """What reaches an address, and its path there."""
    import fsspec  # not at the top: most work is in folders

    return fsspec.core.url_to_fs(address)


# ── The mirrors of this process. ────────────────────────────────────────────────────────────────

_open: dict[str, Mirror] = {}
_locks: list[int] = []  # of their folders, held until the process ends


def copy_of(address: str) -> Path:
    """The folder of this process that mirrors an address; the first time it is fetched.

    Raises StorageError.
    """
    address = address.rstrip("/")
    if address not in _open:
        mirror = Mirror(address, _free_folder(address))
        mirror.fetch()
        _open[address] = mirror
    return _open[address].folder


def address_of(path: str | os.PathLike[str]) -> str | None:
    """The address that a path of a mirror stands for, or an address as it is; None of any other."""
    if is_remote(named := os.fspath(path)):
        return named
    for mirror in _open.values():
        if (path := Path(named)).is_relative_to(mirror.folder):
            below = path.relative_to(mirror.folder).as_posix()
            return mirror.address if below == "." else f"{mirror.address}/{below}"
    return None


def shown(path: str | os.PathLike[str]) -> str:
    """A path as its user knows it: the address where it is in a mirror."""
    return address_of(path) or os.fspath(path)


def publish() -> None:
    """Brings what changed in all mirrors to their addresses. Raises StorageError."""
    for mirror in list(_open.values()):
        mirror.publish()


def fetch() -> None:
    """Makes all mirrors what their addresses hold. Raises StorageError."""
    for mirror in list(_open.values()):
        mirror.fetch()


@contextlib.contextmanager
def publishing() -> Iterator[None]:
    """Inside, all mirrors are published every `PUBLISH_SECONDS`, and at the end.

    What fails is tried again the next time. Raises StorageError for the last one.
    """
    from absl import logging  # not above: --help reads this module and needs none

    ended = threading.Event()

    def keep_on() -> None:
        while not ended.wait(PUBLISH_SECONDS):
            try:
                publish()
            except (UserError, OSError) as error:
                logging.warning("%s; it is tried again", error)

    thread = threading.Thread(target=keep_on, name="mirrors", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        ended.set()
        try:
            publish()
        except (UserError, OSError) as error:  # what happened first is to be told
            logging.warning("%s", error)
        raise
    finally:
        ended.set()
        thread.join()
    publish()


def _free_folder(address: str) -> Path:
    """A folder of the user's cache that no other process works in, by preference one that has
    mirrored this address before."""
    digest = hashlib.sha256(address.encode()).hexdigest()[:12]
    base = user_cache() / "mirrors" / f"{re.sub(r'[^A-Za-z0-9]+', '-', address)[-60:]}-{digest}"
    base.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        lock = os.open(base / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        _locks.append(lock)
        folder = base / str(number)
        folder.mkdir(exist_ok=True)
        return folder
    raise AssertionError("there is always another number")
