"""The one error for media that cannot be used."""


class MediaError(Exception):
    """A medium cannot be used.

    path: the medium, as its `MediaRef` says. detail: for people.
    reason: one word for counting; one of
        missing, directory, not_a_file, unreadable, empty, too_large   (where it is)
        bad_source, missing_package, bad_record
        unsupported_format, not_video, corrupt, truncated, encrypted   (what is in it)
        no_frames, no_times, empty_clip, too_many_pixels, too_long
        timeout, crashed, out_of_memory                                (what became of decoding it)
    """

    def __init__(self, path: str, reason: str, detail: str):
        super().__init__(path, reason, detail)  # as args, so that it survives pickling
        self.path, self.reason, self.detail = path, reason, detail

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}: {self.detail}"


# Reasons that may be gone another time: a file still on its way, a server, a lack of memory.
PASSING = frozenset(
    {"missing", "unreadable", "timeout", "crashed", "out_of_memory", "missing_package"}
)
