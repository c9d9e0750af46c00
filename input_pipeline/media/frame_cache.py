"""Decoded frames kept on disk between epochs and runs, up to a number of bytes.

One file an entry, named after everything that its pixels depend on, so processes and runs share a
directory without talking to each other. What was not used for longest goes first.
"""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from input_pipeline.examples import MediaRef
from input_pipeline.files import replacing
from input_pipeline.media import bounds
from input_pipeline.media.frames import DECODE_VERSION, read_frames
from input_pipeline.media.resizing import Size
from input_pipeline.media.sources import fingerprint
from input_pipeline.media.video.folder import frame_folder, is_frame_folder

_SCAN_EVERY = 0.02  # of the limit: how much one process writes before it looks at the whole
_KEPT_AFTER_EVICTION = 0.9  # of the limit


@dataclasses.dataclass(frozen=True)
class CacheSettings:
    """directory: made where it is missing. max_bytes: passed only by a few percent."""

    directory: str
    max_bytes: int


class CachedFrames(NamedTuple):
    """frames: uint8[F, H, W, 3]. hit: whether they were found. error: why they were not kept."""

    frames: np.ndarray
    hit: bool
    error: str


def read_frames_cached(
    settings: CacheSettings,
    ref: MediaRef,
    frame_indices: Sequence[int],
    size: Size,
    threads: int = 1,
) -> CachedFrames:
    """`read_frames` through the cache. What goes wrong with the cache is told, never raised.

    Raises MediaError for the medium itself.
    """
    cache = _open(settings)
    key = entry_key(ref, frame_indices, size)
    frames = cache.get(key)
    if frames is not None and frames.shape == (len(frame_indices), *size, 3):
        return CachedFrames(frames, True, "")
    frames = read_frames(ref, frame_indices, size, threads)
    try:
        cache.put(key, frames)
    except OSError as error:
        return CachedFrames(frames, False, f"{type(error).__name__}: {error}")
    return CachedFrames(frames, False, "")


def entry_key(ref: MediaRef, frame_indices: Sequence[int], size: Size) -> str:
    """A name for the pixels: what the medium is, which frames at which size, decoded how."""
    if is_frame_folder(ref.path):
        folder = frame_folder(ref.path)
        files = folder.files
        shown = [files[i] for i in sorted(set(frame_indices)) if i < len(files)]
        prints = [fingerprint(file, bounds.MAX_IMAGE_BYTES) for file in [*shown, files[0]]]
        content: str | list[Any] = [*prints, folder.times]  # which tell what a cut leaves
    else:
        content = fingerprint(ref.path, bounds.MAX_VIDEO_BYTES)
    indices = [int(index) for index in frame_indices]
    facts = [DECODE_VERSION, ref.kind, content, ref.start_s, ref.end_s, indices, list(size)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


class FrameCache:
    """Arrays by name in a directory of at most about `max_bytes`. Raises OSError.

    Old entries are removed in the background: looking through a large directory may take longer
    than a decode is given.
    """

    def __init__(self, settings: CacheSettings):
        self._root = settings.directory
        self._max_bytes = settings.max_bytes
        self._written = float("inf")  # since the last scan: the first entry makes one
        self._evicting: threading.Thread | None = None

    def get(self, key: str) -> np.ndarray | None:
        """The array, None where there is none that can be used. Counts as use of the entry."""
        path = self._path(key)
        try:
            array = np.load(path, allow_pickle=False)
            os.utime(path)
            return array
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            with contextlib.suppress(OSError):
                os.unlink(path)
            return None

    def put(self, key: str, array: np.ndarray) -> None:
        """Keeps an array; whole or not at all."""
        # Not waiting for the disk: a power failure costs entries, which `get` removes.
        with replacing(self._path(key), sync=False) as partial, open(partial, "wb") as file:
            np.save(file, array)
        self._written += array.nbytes
        busy = self._evicting is not None and self._evicting.is_alive()
        if self._written > _SCAN_EVERY * self._max_bytes and not busy:
            self._written = 0
            self._evicting = threading.Thread(target=self._evict, daemon=True)
            self._evicting.start()

    def settle(self) -> None:
        """Returns when no old entries are being removed by this object."""
        if self._evicting:
            self._evicting.join()

    def _path(self, key: str) -> str:
        return os.path.join(self._root, key[:2], f"{key}.npy")

    def _evict(self) -> None:
        """Removes the entries used longest ago, if there are too many bytes."""
        with contextlib.suppress(OSError), open(os.path.join(self._root, ".lock"), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process is at it
            except OSError:  # a file system without locks: removing twice does no harm
                pass
            entries = sorted(self._entries())
            total = sum(size for _, size, _ in entries)
            if total <= self._max_bytes:
                return
            for _, size, path in entries:
                if total <= _KEPT_AFTER_EVICTION * self._max_bytes:
                    return
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                total -= size

    def _entries(self) -> list[tuple[int, int, str]]:
        """(time of last use in ns, bytes, path) of all files, those left half written included."""
        found = []
        for folder in os.scandir(self._root):
            if not folder.is_dir():
                continue
            for entry in os.scandir(folder.path):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    found.append((status.st_mtime_ns, status.st_size, entry.path))
        return found


_open = functools.lru_cache(maxsize=4)(FrameCache)
