"""Members of zip and tar archives, read where they lie: "<archive>::<member>".

Nothing is unpacked. What is stored as it is becomes a window of the archive's file; what is
deflated is inflated block by block, with the state at every block kept, so that a decoder may jump
about in it. A tar that was split ("videos.tar.part.aa", "….ab", …) is read over its parts, and is
named by the first one.
"""

import contextlib
import functools
import io
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from input_pipeline.media import bounds
from input_pipeline.media.errors import MediaError
from input_pipeline.paths import in_archive

# A compressed tar ("x.tar.gz") is no part of one.
_PART = re.compile(
    r"(?P<before>.+\.(?:zip|tar)\.(?:part[._-]?)?)"
    r"(?P<number>(?!(?:gz|xz|lz|bz|zst)$)[a-z]{2,3}|\d{2,4})",
    re.IGNORECASE,
)
_ZIP = re.compile(r".+\.zip(?:\.[\w.]+)?", re.IGNORECASE)
_KEPT_ARCHIVES = 256  # whose members are known, in one process
_BLOCK_BYTES = 4 * 2**20  # of inflated bytes
_DEFLATED_BYTES = 2**16  # read at a time
_KEPT_BLOCKS = 4
_LOCAL_HEADER_BYTES = 30  # of a zip's member, before its name


class _Member(NamedTuple):
    """offset: of the data in the archive, of a zip's the header before it. stored: bytes there.
    size: bytes of the member."""

    offset: int
    stored: int
    size: int
    problem: str = ""  # a reason of `MediaError`, "" for none


class _Archive(NamedTuple):
    members: Mapping[str, _Member]
    folders: Mapping[str, tuple[str, ...]]  # folder → names of the files in it


@contextlib.contextmanager
def open_member(path: str, max_bytes: int) -> Iterator["_View"]:
    """A member as a seekable file, at its beginning. Raises MediaError."""
    archive, name = _split(path)
    member = _read(path, archive).members.get(name)
    if member is None:
        raise MediaError(path, "missing", f"{os.path.basename(archive)} has no such member")
    if member.problem:
        raise MediaError(path, member.problem, "cannot be read inside its archive")
    bounds.check_bytes(path, member.size, max_bytes)
    with contextlib.closing(_Joined(_parts(path, archive))) as whole:
        offset, deflated = member.offset, False
        if _is_zip(archive):
            header = whole.read_at(offset, _LOCAL_HEADER_BYTES)
            offset += _LOCAL_HEADER_BYTES + sum(
                int.from_bytes(header[i : i + 2], "little") for i in (26, 28)
            )
            deflated = int.from_bytes(header[8:10], "little") == zipfile.ZIP_DEFLATED
        window = _Window(whole, offset, member.stored)
        yield _Inflated(window, member.size) if deflated else window


def archive_members(archive: str) -> Mapping[str, int]:
    """The files in an archive and their bytes. Raises MediaError for what cannot be read whole."""
    found = _read(archive, archive).members
    return {name: member.size for name, member in found.items()}


def folder_in_archive(path: str) -> tuple[str, ...]:
    """Names of the files right in a folder of an archive; none where there is no such folder.

    Raises MediaError for an archive that cannot be read.
    """
    archive, name = _split(path)
    return _read(path, archive).folders.get(name.rstrip("/"), ())


def archive_stamp(path: str) -> str:
    """Changes when the archive that a path leads into does. Raises MediaError."""
    return _stamp(path, _parts(path, _split(path)[0]))


def is_archive(name: str) -> bool:
    """Whether a file's name is that of an archive that can be read here; of a split one, of its
    first part."""
    part = _PART.fullmatch(name)
    if part:
        return re.fullmatch(r"a+|0*[01]", part["number"], re.I) is not None
    return name.lower().endswith((".zip", ".tar"))


def _split(path: str) -> tuple[str, str]:
    found = in_archive(path)
    if found is None:
        raise MediaError(path, "bad_source", 'expected "<archive>::<member>"')
    return found


def _is_zip(archive: str) -> bool:
    return _ZIP.fullmatch(os.path.basename(archive)) is not None


# ── What is in an archive. ──────────────────────────────────────────────────────────────────────


def _read(path: str, archive: str) -> _Archive:
    """path: for errors."""
    parts = _parts(path, archive)
    try:
        return _contents(archive, parts, _stamp(path, parts))
    except MediaError as error:
        raise MediaError(path, error.reason, error.detail) from error


def _parts(path: str, archive: str) -> tuple[str, ...]:
    """The files that an archive is made of. Raises MediaError where one is missing between two."""
    part = _PART.fullmatch(os.path.basename(archive))
    if not part:
        return (archive,)
    folder = os.path.dirname(archive)
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(part["before"]))
    except OSError as error:
        raise MediaError(path, "missing", str(error)) from error
    numbered = {_number(name[len(part["before"]) :]): name for name in names if _PART.match(name)}
    first = _number(part["number"])
    missing = [n for n in range(first, max(numbered, default=first)) if n not in numbered]
    if missing:
        known = numbered.get(missing[0] - 1, archive)
        raise MediaError(path, "truncated", f"the part behind {known} is missing")
    return tuple(os.path.join(folder, numbered[n]) for n in sorted(numbered) if n >= first)


def _number(suffix: str) -> int:
    if suffix.isdigit():
        return int(suffix)
    return functools.reduce(lambda n, letter: 26 * n + ord(letter) - 97, suffix.lower(), 0)


def _stamp(path: str, parts: tuple[str, ...]) -> str:
    try:
        found = [os.stat(part) for part in parts]
    except OSError as error:
        raise MediaError(path, "missing", f"no such archive: {error}") from error
    return " ".join(f"{status.st_size} {status.st_mtime_ns}" for status in found)


@functools.lru_cache(_KEPT_ARCHIVES)
def _contents(archive: str, parts: tuple[str, ...], stamp: str) -> _Archive:
    """stamp: part of the cache's key alone."""
    with contextlib.closing(_Joined(parts)) as whole:
        try:
            found = dict(_zip_members(whole) if _is_zip(archive) else _tar_members(archive, whole))
        except (zipfile.BadZipFile, tarfile.TarError, OSError, ValueError) as error:
            detail = f"the archive is not whole ({error}): fetch it again"
            raise MediaError(archive, "corrupt", detail) from error
    folders: dict[str, list[str]] = {}
    for name in found:
        folder, _, last = name.rpartition("/")
        folders.setdefault(folder, []).append(last)
    return _Archive(found, {folder: tuple(names) for folder, names in folders.items()})


def _zip_members(whole: "_Joined") -> Iterator[tuple[str, _Member]]:
    with zipfile.ZipFile(whole) as file:
        for info in file.infolist():
            if info.is_dir():
                continue
            known = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            problem = "encrypted" if info.flag_bits & 1 else "" if known else "unsupported_format"
            place = info.header_offset, info.compress_size, info.file_size
            yield _plain(info.filename), _Member(*place, problem)


def _tar_members(archive: str, whole: "_Joined") -> Iterator[tuple[str, _Member]]:
    with tarfile.open(fileobj=whole, mode="r:") as file:
        for info in file:
            if info.isreg():
                if info.offset_data + info.size > whole.size:
                    raise MediaError(
                        archive, "truncated", f"it ends inside {info.name}: fetch all of it again"
                    )
                yield _plain(info.name), _Member(info.offset_data, info.size, info.size)


def _plain(name: str) -> str:
    return name.removeprefix("./")


# ── Seekable views. ─────────────────────────────────────────────────────────────────────────────


class _View(io.RawIOBase):
    """A seekable file over `read_at`. size: its bytes."""

    size: int

    def __init__(self, size: int):
        self.size, self._place = size, 0

    def read_at(self, place: int, size: int) -> bytes:
        """At most so many bytes from there, fewer only at the end."""
        raise NotImplementedError

    def read(self, size: int = -1, /) -> bytes:
        left = max(self.size - self._place, 0)
        data = self.read_at(self._place, left if size is None or size < 0 else min(size, left))
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise OSError(f"seek to {start + offset}")
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class _Joined(_View):
    """Files end to end, each opened when it is first read."""

    def __init__(self, files: tuple[str, ...]):
        self._files = files
        self._starts = [0]
        for file in files:
            self._starts.append(self._starts[-1] + os.stat(file).st_size)
        self._open: dict[int, io.BufferedReader] = {}
        super().__init__(self._starts[-1])

    def read_at(self, place: int, size: int) -> bytes:
        pieces = []
        for i, start in enumerate(self._starts[:-1]):
            stop = self._starts[i + 1]
            if size > 0 and start <= place < stop:
                if i not in self._open:
                    self._open[i] = open(self._files[i], "rb")  # noqa: SIM115 (closed in `close`)
                self._open[i].seek(place - start)
                pieces.append(self._open[i].read(min(size, stop - place)))
                place, size = place + len(pieces[-1]), size - len(pieces[-1])
        return b"".join(pieces)

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        super().close()


class _Window(_View):
    """Part of a file."""

    def __init__(self, whole: _View, offset: int, size: int):
        self._whole, self._offset = whole, offset
        super().__init__(size)

    def read_at(self, place: int, size: int) -> bytes:
        left = max(self.size - place, 0)
        return self._whole.read_at(self._offset + place, min(size, left))


class _Inflated(_View):
    """Deflated bytes, inflated in blocks. Before each block that was reached, the state of the
    decompressor is kept (about 100 kB for 4 MB), so that any byte behind it is at most one block
    away, and no member is held whole."""

    def __init__(self, deflated: _View, size: int):
        self._deflated = deflated
        # Before block i, with the place of the deflated bytes that come next.
        self._states = [(zlib.decompressobj(-zlib.MAX_WBITS), 0)]
        self._blocks: dict[int, bytes] = {}
        super().__init__(size)

    def read_at(self, place: int, size: int) -> bytes:
        pieces = []
        while size > 0 and place < self.size:
            block = self._block(place // _BLOCK_BYTES)
            start = place % _BLOCK_BYTES
            piece = block[start : start + size]
            if not piece:
                raise OSError("the deflated data end before the size that the archive announces")
            pieces.append(piece)
            place, size = place + len(piece), size - len(piece)
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            return self._blocks[number]
        for i in range(min(number, len(self._states) - 1), number + 1):
            block = self._inflate(i)
        self._blocks[number] = block
        while len(self._blocks) > _KEPT_BLOCKS:
            del self._blocks[next(iter(self._blocks))]
        return block

    def _inflate(self, number: int) -> bytes:
        state, place = self._states[number]
        state, pieces, missing = state.copy(), [], _BLOCK_BYTES
        try:
            while missing and not state.eof:
                deflated = self._deflated.read_at(place, _DEFLATED_BYTES)
                pieces.append(state.decompress(deflated, missing))
                place += len(deflated) - len(state.unconsumed_tail)
                missing -= len(pieces[-1])
                if not deflated and not pieces[-1]:
                    break  # cut off
        except zlib.error as error:
            raise OSError(f"the deflated data are damaged: {error}") from error
        if number + 1 == len(self._states):
            self._states.append((state, place))
        return b"".join(pieces)
