"""Probes, previews and decodes media for the pipeline: where it happens, for how long at most, and
whether decoded frames are kept."""

import collections
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from input_pipeline.examples import MediaRef
from input_pipeline.media.errors import MediaError
from input_pipeline.media.frame_cache import CacheSettings, read_frames_cached
from input_pipeline.media.frames import preview_frames, read_frames
from input_pipeline.media.probing import MediaInfo, probe
from input_pipeline.media.remote import REDIRECT_HOSTS, allow_redirects
from input_pipeline.media.resizing import Size
from input_pipeline.media.workers.pool import WorkerCrash, WorkerPool

Result = TypeVar("Result")


class Decoder:
    """Access to media. To be shared by threads.

    processes: how many processes decode at a time; 0: the calling threads do it themselves, which
        needs no start-up but cannot be ended when a file makes it hang or crash.
    timeout_s: seconds for one call, in processes. cache: None keeps no frames. threads: of one call
        for frames, see `frames.decode_frames`. redirect_hosts: see `remote.allow_redirects`.
    counts: of calls by what became of them: "timeout", "crashed", "killed", "cache_hit",
        "cache_miss", "cache_error".

    All methods raise MediaError for a medium that cannot be used.
    """

    def __init__(
        self,
        processes: int = 0,
        timeout_s: float = 60.0,
        cache: CacheSettings | None = None,
        threads: int = 1,
        redirect_hosts: tuple[str, ...] = REDIRECT_HOSTS,
    ):
        allow = functools.partial(allow_redirects, redirect_hosts)
        allow()  # here, too: threads of this process may decode
        self._pool = WorkerPool(processes, timeout_s, allow) if processes else None
        self._redirect_hosts = redirect_hosts
        self._timeout_s = timeout_s
        self._threads = threads
        self._cache = cache if cache and cache.max_bytes > 0 else None
        self._lock = threading.Lock()
        self.counts: collections.Counter[str] = collections.Counter()

    def probe(self, ref: MediaRef) -> MediaInfo:
        """See `probing.probe`."""
        return self._run(ref, probe, ref)

    def preview(self, ref: MediaRef, count: int, side: int) -> np.ndarray:
        """See `frames.preview_frames`."""
        return self._run(ref, preview_frames, ref, count, side)

    def frames(
        self, ref: MediaRef, frame_indices: Sequence[int], size: Size | None = None
    ) -> np.ndarray:
        """See `frames.read_frames`. Only frames of a given size are kept."""
        cache = self._cache
        if cache is None or size is None:
            return self._run(ref, read_frames, ref, frame_indices, size, self._threads)
        arguments = (cache, ref, frame_indices, size, self._threads)
        found = self._run(ref, read_frames_cached, *arguments)
        self._count("cache_hit" if found.hit else "cache_miss")
        if found.error:
            self._without_cache(found.error)
        return found.frames

    def __reduce__(self) -> tuple[type["Decoder"], tuple[Any, ...]]:
        """A copy in another process gets one decoder process of its own."""
        processes = 1 if self._pool else 0
        options = (self._cache, self._threads, self._redirect_hosts)
        return Decoder, (processes, self._timeout_s, *options)

    def close(self) -> None:
        """Ends the processes; a later call starts new ones."""
        if self._pool:
            self._pool.close()

    def _run(self, ref: MediaRef, function: Callable[..., Result], *args: Any) -> Result:
        try:
            return self._pool.run(function, *args) if self._pool else function(*args)
        except TimeoutError as error:
            self._count("timeout")
            raise MediaError(ref.path, "timeout", f"{function.__name__}: {error}") from error
        except WorkerCrash as error:
            self._count("killed" if error.killed else "crashed")
            detail = f"{function.__name__}: {error}"
            if error.killed:
                raise MediaError(ref.path, "killed", detail) from error
            raise MediaError(ref.path, "crashed", detail) from error
        except MemoryError as error:
            raise MediaError(ref.path, "out_of_memory", str(error)) from error

    def _without_cache(self, error: str) -> None:
        self._count("cache_error")
        with self._lock:
            cache, self._cache = self._cache, None
        if cache:
            from absl import logging  # not at the top: a decoder process starts without it

            logging.warning(
                "config.data.cache_dir = %r: frames are no longer kept: %s", cache.directory, error
            )

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1
