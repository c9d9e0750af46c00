"""What an MP4's header says about its samples.

Two facts FFmpeg reads but does not hand on before the packets are read: each sample's composition
offset, and whether the track is encrypted or goes on in fragments. The others it hands on one
sample at a time, which for a long clip takes longer than decoding a few frames.

With them, an MP4's frame times follow from its header. A pass over the packets would read the
whole file, which on network storage is most of the cost of preparing a corpus.
Follows ISO/IEC 14496-12, §8.
"""

import contextlib
import dataclasses
import struct
from collections.abc import Iterator

import numpy as np

from input_pipeline.media.sources import SeekableFile

MAX_HEADER_BYTES = 256 * 2**20
MAX_BOXES = 4096  # at any one level; a file has a dozen
MAX_SAMPLES = 2**22


@dataclasses.dataclass(frozen=True)
class Samples:
    """Of a track whose edit list leaves out nothing inside, in decoding order.

    times: int64[n], decoding time in ticks, the first 0. keys: bool[n]. ends: int64[n], where each
    ends in the file, bytes.
    """

    times: np.ndarray
    keys: np.ndarray
    ends: np.ndarray


@dataclasses.dataclass(frozen=True)
class Mp4Track:
    """One track.

    offsets: int64[samples], presentation time minus decoding time in ticks, decoding order; None
        where the header does not tell all of them (fragments follow).
    samples: None where they are stored in a way that is not understood here.
    """

    encrypted: bool
    offsets: np.ndarray | None
    samples: Samples | None = None


def read_tracks(file: SeekableFile) -> dict[int, Mp4Track]:
    """Tracks by their id; none for what is not an MP4 or not understood. Raises OSError."""
    header = _movie_header(file)
    if header is None:
        return {}
    tracks = {}
    try:
        fragmented = any(kind == b"mvex" for kind, _ in _boxes(header))
        for kind, body in _boxes(header):
            if kind == b"trak":
                number, track = _track(body, fragmented)
                tracks[number] = track
    except (struct.error, ValueError, KeyError):
        return {}
    return tracks


def _movie_header(file: SeekableFile) -> memoryview | None:
    """The content of the moov box, looked for among the boxes of the file."""
    place = 0
    for _ in range(MAX_BOXES):
        file.seek(place)
        start = file.read(16)
        if len(start) < 8 or (
            place == 0 and start[4:8] not in (b"ftyp", b"moov", b"wide", b"free")
        ):
            return None
        size, kind = struct.unpack_from(">I4s", start)
        head = 8
        if size == 1 and len(start) == 16:
            size, head = struct.unpack_from(">Q", start, 8)[0], 16
        if kind == b"moov":
            if not head <= size <= MAX_HEADER_BYTES:
                return None
            file.seek(place + head)
            return memoryview(file.read(size - head))
        if size < head:  # 0: this box, which is not the header, takes the rest of the file
            return None
        place += size
    return None


def _boxes(body: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(kind, content) of the boxes inside a box. Raises ValueError for one that is cut off."""
    place = 0
    for _ in range(MAX_BOXES):
        if place + 8 > len(body):
            return
        size, kind = struct.unpack_from(">I4s", body, place)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", body, place + 8)[0], 16
        if size == 0:
            size = len(body) - place
        if size < head or place + size > len(body):
            raise ValueError(f"box {kind!r} of {size} bytes does not fit")
        yield kind, body[place + head : place + size]
        place += size


def _track(body: memoryview, fragmented: bool) -> tuple[int, Mp4Track]:
    boxes = dict(_boxes(body))
    header = boxes[b"tkhd"]
    number = struct.unpack_from(">I", header, 20 if header[0] == 1 else 12)[0]
    table = dict(_boxes(dict(_boxes(dict(_boxes(boxes[b"mdia"]))[b"minf"]))[b"stbl"]))
    # stsd: version, flags and count, then one box for each description of samples.
    encrypted = any(kind in (b"encv", b"drmi") for kind, _ in _boxes(table[b"stsd"][8:]))
    sizes = table.get(b"stsz", table.get(b"stz2"))
    if fragmented or sizes is None:
        return number, Mp4Track(encrypted, None)
    samples = struct.unpack_from(">I", sizes, 8)[0]
    offsets = _composition_offsets(table.get(b"ctts"), samples)
    known = None
    with contextlib.suppress(struct.error, ValueError, KeyError, IndexError):
        edits = dict(_boxes(boxes[b"edts"])) if b"edts" in boxes else {}
        known = _samples(table, samples) if offsets is not None and _is_whole(edits) else None
    return number, Mp4Track(encrypted, offsets, known)


def _is_whole(edits: dict[bytes, memoryview]) -> bool:
    """Whether an edit list cuts nothing out of the middle: it has one entry, or there is none."""
    return b"elst" not in edits or struct.unpack_from(">I", edits[b"elst"], 4)[0] == 1


def _samples(table: dict[bytes, memoryview], count: int) -> Samples | None:
    """From the sample tables; None where they do not agree or are of a rarer kind."""
    if b"stsz" not in table or not count:
        return None
    deltas = _numbers(table[b"stts"], 4, 2)
    sizes = _numbers(table[b"stsz"], 8, 1)[:, 0]
    same = struct.unpack_from(">I", table[b"stsz"], 4)[0]
    sizes = np.full(count, same, np.int64) if same else sizes
    wide = b"co64" in table
    chunks = _numbers(table[b"co64" if wide else b"stco"], 4, 1, ">u8" if wide else ">u4")[:, 0]
    runs = _numbers(table[b"stsc"], 4, 3)
    firsts = np.append(runs[:, 0], len(chunks) + 1)
    if (np.diff(firsts) < 0).any() or firsts[0] != 1:
        return None
    in_chunk = np.repeat(runs[:, 1], np.diff(firsts))
    if not (deltas[:, 0].sum() == in_chunk.sum() == len(sizes) == count):
        return None
    keys = np.ones(count, bool)
    if b"stss" in table:
        keys[:] = False
        keys[_numbers(table[b"stss"], 4, 1)[:, 0] - 1] = True
    steps = np.repeat(deltas[:, 1], deltas[:, 0])
    ends = np.cumsum(sizes)
    before = np.concatenate([[0], ends])[np.cumsum(in_chunk) - in_chunk]  # bytes before each chunk
    return Samples(np.cumsum(steps) - steps, keys, ends + np.repeat(chunks - before, in_chunk))


def _numbers(box: memoryview, place: int, columns: int, kind: str = ">u4") -> np.ndarray:
    """int64[n, columns]: the count at `place` and what follows it. Raises ValueError."""
    count = struct.unpack_from(">I", box, place)[0]
    # The count of stsz is that of its samples, also where one size stands for all.
    there = (len(box) - place - 4) // (np.dtype(kind).itemsize * columns)
    if count > MAX_SAMPLES:
        raise ValueError(f"{count} entries")
    numbers = np.frombuffer(box, kind, min(count, there) * columns, offset=place + 4)
    return numbers.astype(np.int64).reshape(-1, columns)


def _composition_offsets(ctts: memoryview | None, samples: int) -> np.ndarray | None:
    """int64[samples] from runs of (count, offset); None where the two do not agree."""
    if samples > MAX_SAMPLES:
        return None
    if ctts is None:
        return np.zeros(samples, np.int64)
    runs = struct.unpack_from(">I", ctts, 4)[0]
    if 8 + 8 * runs > len(ctts):
        raise ValueError("ctts is cut off")
    table = np.frombuffer(ctts, ">i4", 2 * runs, offset=8).reshape(runs, 2).astype(np.int64)
    # Offsets of version 0 are unsigned by the standard, but writers store negative ones there too.
    if (table[:, 0] < 0).any() or table[:, 0].sum() != samples:
        return None
    return np.repeat(table[:, 1], table[:, 0])
