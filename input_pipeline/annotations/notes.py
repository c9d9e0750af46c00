"""What stood out while a data set was read, though its examples can be used."""

import dataclasses
import re
from collections.abc import Iterable, Iterator

from input_pipeline.annotations.unread import Unread
from input_pipeline.examples import Example

# Speaks of a clip or picture that is in front of the reader.
_MENTION = re.compile(
    r"<(?:video|image)>"
    r"|\b(?:the|this|these|given|following) (?:\w+ )?"
    r"(?:video|clip|footage|image|picture|photo)s?\b",
    re.IGNORECASE,
)
_OFTEN = 0.01  # of the examples; a few in a set of pure text are chance


@dataclasses.dataclass
class _Count:
    first: str
    count: int = 0


def speaks_of_media(text: str) -> bool:
    """Whether a text speaks of a clip or picture as being there."""
    return _MENTION.search(text) is not None


class Notes:
    """Counts what stood out; `lines` tells it when the data set has been read."""

    def __init__(self) -> None:
        self._unread: dict[str, _Count] = {}  # by key
        self._mentions, self._asking = _Count(""), _Count("")
        self._unheeded: dict[str, _Count] = {}  # by key
        self._examples = self._with_media = 0

    def add_unread(self, field: Unread, where: str) -> None:
        """A key that nothing reads and that looks like one that is read. where: file and place."""
        known = self._unread.setdefault(field.key, _Count(f"{where}: {field}"))
        known.count += 1

    def add_unheeded(self, keys: Iterable[str], where: str) -> None:
        """What a record says of how to show its media, and nothing heeds."""
        for key in keys:
            self._unheeded.setdefault(key, _Count(where)).count += 1

    def add_example(self, example: Example, where: str) -> None:
        """An example that can be used."""
        self._examples += 1
        media = example.media
        if any(medium.asks for medium in media):
            self._asking.first = self._asking.first or where
            self._asking.count += 1
        if media:
            self._with_media += 1
        elif not self._with_media and speaks_of_media(example.words):
            self._mentions.first = self._mentions.first or f"{where}: {example.words!r:.80}"
            self._mentions.count += 1

    def lines(self) -> Iterator[str]:
        """What to tell a person, a line each."""
        for known in self._unread.values():
            more = f" (and in {known.count - 1} more records)" if known.count > 1 else ""
            yield known.first + more
        for key in sorted(self._unheeded):
            known = self._unheeded[key]
            yield (
                f'{known.count} of {self._examples} examples have "{key}", which is not heeded: '
                "sizes and frames are set by min_pixels, max_pixels, nframes and fps, or by "
                f"config.layout and config.frames; the first is {known.first}"
            )
        if self._asking.count:
            yield (
                f"{self._asking.count} of {self._examples} examples have fps, nframes, min_pixels "
                "or max_pixels of their own, which beat config.frames and config.layout (an fps "
                f"that is the file's own asks for nothing); the first is {self._asking.first}"
            )
        mentions = self._mentions.count
        if not self._with_media and mentions and mentions >= _OFTEN * self._examples:
            yield (
                f"{mentions} of {self._examples} examples speak of a video or image, but none of "
                f"the set has one; the first is {self._mentions.first}"
            )
