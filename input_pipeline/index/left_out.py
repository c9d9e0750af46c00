"""What was left out of an index, by reason: in words, with the first case and what to do."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from input_pipeline.annotations import REASONS as READ_REASONS
from input_pipeline.index.quarantine import QuarantineEntry, quarantine_of, read_quarantine
from input_pipeline.media import REASONS as MEDIA_REASONS

_LAYOUT_REASONS = {  # (meaning, remedy)
    "too_long": (
        "does not fit into a row, even at the fewest pixels and frames",
        "more config.layout.row_tokens or config.layout.row_patches",
    ),
    "aspect_ratio": ("a picture too narrow to be laid out", "crop it"),
    "chat_template": (
        "the chat template cannot render it",
        "the detail says why; the template is beside the tokenizer",
    ),
}
_OTHER_FILE = "another file in its place, or take the record away"
_MEDIA_REMEDIES = {
    "missing": "a media_root that the paths start from; fetch what is not there",
    "unreadable": "permissions and the disk or server; then --job=prepare again",
    "redirected": "the host that the detail names in config.data.redirect_hosts, if it is right",
    "missing_package": "install the package that the detail names",
    "directory": "the path of a file, or pictures in the folder",
    "bad_source": "the path of a file below media_root",
    "bad_record": "write the Parquet or TFDS file anew",
    "empty_clip": "start and end in seconds, within the clip's length",
    "no_times": "put it into a container, as with ffmpeg -i FILE -c copy FILE.mp4",
    "too_long": "cut it into shorter files",
    "too_many_pixels": "scale it down",
    "timeout": "more config.data.decode_timeout_s; then --job=prepare again",
    "killed": "more memory, or fewer config.data.workers; then --job=prepare again",
    "out_of_memory": "scale it down, or fewer config.data.workers; then --job=prepare again",
}
_MOST = 3  # reasons that an error names


@dataclasses.dataclass
class LeftOut:
    """Examples that were left out for one reason. first: in the order of the annotations."""

    first: QuarantineEntry
    count: int = 0

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return self._words()[0]

    @property
    def remedy(self) -> str:
        """What can be done about it."""
        return self._words()[1]

    @property
    def example(self) -> str:
        """The first case: file and place, medium or id, and what was found there."""
        entry = self.first
        if entry.stage == "read":  # the detail begins with the place
            return entry.detail
        about = entry.id if entry.path == entry.record.rpartition(",")[0] else entry.path
        return ": ".join(part for part in (entry.record, about, entry.detail) if part)

    def _words(self) -> tuple[str, str]:
        stage, reason = self.first.stage, self.first.reason
        if stage == "read" and reason in READ_REASONS:
            return READ_REASONS[reason]
        if stage == "layout" and reason in _LAYOUT_REASONS:
            return _LAYOUT_REASONS[reason]
        meaning = MEDIA_REASONS[reason].meaning if reason in MEDIA_REASONS else reason
        return meaning, _MEDIA_REMEDIES.get(reason, _OTHER_FILE)


def left_out(index: Path) -> list[LeftOut]:
    """What was left out of an index by stage and reason, most frequent first."""
    found: dict[tuple[str, str], LeftOut] = {}
    for entry in read_quarantine(quarantine_of(index)):
        found.setdefault((entry.stage, entry.reason), LeftOut(entry)).count += 1
    return sorted(found.values(), key=lambda each: -each.count)


def main_reasons(index: Path) -> Iterator[str]:
    """The most frequent reasons, a line each, for an error."""
    for each in left_out(index)[:_MOST]:
        yield f"  {each.count} × {each.first.reason}, {each.meaning}; first {each.example}"
