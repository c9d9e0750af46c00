"""One process of the pool: `python -m … <descriptor of its channel> <seconds for a call>`.

A module of its own that nothing imports, so that the process has it once, as its main module. What
decodes comes with the package, before the first deadline runs.
"""

import pickle
import resource
import signal
import sys

import cv2

from input_pipeline.media.workers.channel import Channel

_GRACE_S = 5.0  # after the deadline, until a worker whose parent is gone ends itself
_MAX_BYTES = 8 * 2**30  # memory of a worker; a 134 megapixel image of 16 bits takes about 3 GiB


def serve(channel: Channel, deadline_s: float) -> None:
    """Answers requests until the channel is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all of a job: the parent decides
        signal.signal(number, signal.SIG_IGN)
    _limit_memory()
    cv2.setNumThreads(1)  # there are many workers
    channel.send((True, None))
    while True:
        try:
            function, args = channel.receive()
        except EOFError:
            return
        # Not handled, so it ends the process, even inside a library's loop.
        signal.setitimer(signal.ITIMER_REAL, deadline_s + _GRACE_S)
        try:
            reply = (True, function(*args))
        except Exception as error:
            reply = (False, _sendable(error))
        channel.send(reply)
        signal.setitimer(signal.ITIMER_REAL, 0)
        del function, args, reply  # not kept until the next request


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
    serve(Channel.from_descriptor(int(sys.argv[1])), float(sys.argv[2]))
