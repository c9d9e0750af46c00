"""One process of the pool: `python -m … <descriptor of its channel> <seconds for a call, or 0>`.

A module of its own that nothing imports, so that the process has it once, as its main module. What
decodes comes with the package, before the first deadline runs.
"""

import contextlib
import os
import pickle
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import cv2

from input_pipeline.media.workers.channel import Channel
from input_pipeline.media.workers.pool import TO_ALL

_GRACE_S = 5.0  # after the deadline, until a worker whose parent is gone ends itself
_MAX_BYTES = 8 * 2**30  # memory of a worker; a 134 megapixel image of 16 bits takes about 3 GiB


def serve(channel: Channel, deadline_s: float) -> None:
    """Answers requests until the channel is closed. deadline_s: 0 for none."""
    for number in TO_ALL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_ALL)  # ignored, no matter when they came
    _limit_memory()
    cv2.setNumThreads(1)  # there are many workers
    start = channel.receive()
    channel.send(_outcome(start) if start else (True, None))
    while True:
        function, *args = channel.receive()
        if deadline_s:
            # Not handled, so it ends the process, even inside a library's loop.
            signal.setitimer(signal.ITIMER_REAL, deadline_s + _GRACE_S)
        channel.send(_outcome(function, *args))
        signal.setitimer(signal.ITIMER_REAL, 0)
        del function, args  # not kept until the next request


def _outcome(function: Callable[..., Any], *args: Any) -> tuple[bool, Any]:
    """(True, result) or (False, the exception that the function raised)."""
    try:
        return True, function(*args)
    except Exception as error:
        return False, _sendable(error)


def _end_with_parent(descriptor: int) -> None:
    """Ends the process when the other end of its channel is closed, also amidst work: nobody waits
    for what would come of it."""
    hung_up = select.poll()
    hung_up.register(descriptor, 0)  # which wakes for nothing but that
    hung_up.poll()
    os._exit(0)


def _limit_memory() -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = _MAX_BYTES if hard == resource.RLIM_INFINITY else min(_MAX_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    descriptor = int(sys.argv[1])
    threading.Thread(target=_end_with_parent, args=[descriptor], daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is gone
        serve(Channel.from_descriptor(descriptor), float(sys.argv[2]))
