"""The one error for media that cannot be used, and the vocabulary of its reasons."""

from typing import NamedTuple

from input_pipeline.errors import UserError


class Reason(NamedTuple):
    """meaning: for people. passes: it may be gone another time (a file still on its way, a server,
    a lack of memory); else it lasts as long as the file is the same."""

    meaning: str
    passes: bool


_PASSES, _LASTS = True, False

REASONS = {
    # Where it is.
    "missing": Reason("there is no such file or object", _PASSES),
    "unreadable": Reason("it is there and cannot be read", _PASSES),
    "redirected": Reason("its server sends on to a host that is not allowed", _PASSES),
    "missing_package": Reason("a package that reads this kind of source is missing", _PASSES),
    "directory": Reason("a directory stands where a file was expected", _LASTS),
    "not_a_file": Reason("a device, pipe or socket, which could hang", _LASTS),
    "empty": Reason("there are no bytes", _LASTS),
    "too_large": Reason("more bytes than the bound", _LASTS),
    "bad_source": Reason("its address is not of a known form", _LASTS),
    "bad_record": Reason("its record holds no such field or row", _LASTS),
    # What is in it.
    "unsupported_format": Reason("not a format that is read here", _LASTS),
    "not_video": Reason("no video stream", _LASTS),
    "corrupt": Reason("its data cannot be decoded", _LASTS),
    "truncated": Reason("it ends before what it announces", _LASTS),
    "encrypted": Reason("its pictures are encrypted", _LASTS),
    "no_frames": Reason("no frame that can be shown", _LASTS),
    "no_times": Reason("its frames carry no rising times", _LASTS),
    "empty_clip": Reason("no frame between the times asked for", _LASTS),
    "too_many_pixels": Reason("larger pictures than the bound", _LASTS),
    "too_long": Reason("more frames or seconds than the bound", _LASTS),
    # What became of decoding it.
    "timeout": Reason("decoding took longer than it may", _PASSES),
    "crashed": Reason("decoding ended its process, twice", _PASSES),
    "killed": Reason("its process was killed from outside, twice", _PASSES),
    "out_of_memory": Reason("there was not enough memory to decode it", _PASSES),
}
PASSING = frozenset(name for name, reason in REASONS.items() if reason.passes)
LASTING = frozenset(REASONS) - PASSING


class MediaError(UserError):
    """A medium cannot be used.

    path: the medium, as its `MediaRef` says. reason: one of `REASONS`. detail: for people.

    Raises ValueError for a reason that is not in the table.
    """

    def __init__(self, path: str, reason: str, detail: str):
        if reason not in REASONS:
            raise ValueError(f"reason {reason!r} of {path}: one of {', '.join(REASONS)} was wanted")
        super().__init__(path, reason, detail)  # as args, so that it survives pickling
        self.path, self.reason, self.detail = path, reason, detail

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}: {self.detail}"
