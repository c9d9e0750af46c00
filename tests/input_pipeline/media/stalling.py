"""What a decoder process is made to run in tests: it can import this module."""

import os
import signal
import sys
import threading
import time

from input_pipeline.media import MediaError
from input_pipeline.media import frames as decode
from input_pipeline.media import probing as media


def _misbehave(ref):
    if "stall" in os.path.basename(ref.path):
        time.sleep(600)
    if "crash" in os.path.basename(ref.path):
        os.abort()
    if "kill" in os.path.basename(ref.path):
        os.kill(os.getpid(), signal.SIGKILL)
    if "once" in os.path.basename(ref.path):
        kill_once(f"{ref.path}.mark")


def read_frames(ref, *arguments):
    """`decode.read_frames`, but for paths with "stall", "crash", "kill" and "once" in their
    names."""
    _misbehave(ref)
    return decode.read_frames(ref, *arguments)


def probe(ref):
    """`media.probe`, likewise."""
    _misbehave(ref)
    return media.probe(ref)


def kill_once(mark):
    """Is killed, as by the kernel when memory runs out, unless the file `mark` is there."""
    if not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def busy_loop():
    """A loop that only a signal ends."""
    while True:
        pass


def loaded(name):
    return name in sys.modules


def raise_media_error():
    raise MediaError("/a.mp4", "truncated", "3 of 4")


def raise_unpicklable():
    error = ValueError("no lock leaves its process")
    error.lock = threading.Lock()
    raise error
