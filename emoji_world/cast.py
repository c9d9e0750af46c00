"""The characters: which there are, what kind of thing each shows, what it is called, and which are
kept for evaluation."""

import dataclasses
import unicodedata
import zlib
from collections.abc import Mapping

# Code points by what their pictures show, along the code charts, without those that show two kinds
# (cats' faces, faces beside hands), a part, or two things that would be counted (two hearts). All
# stand in Unicode 14, which Python 3.11 names.
_RANGES: dict[str, tuple[tuple[int, int], ...]] = {
    "animal": (
        *((0x1F400, 0x1F419), (0x1F41B, 0x1F43C), (0x1F43F, 0x1F43F), (0x1F54A, 0x1F54A)),
        *((0x1F577, 0x1F577), (0x1F980, 0x1F99F), (0x1F9A1, 0x1F9A9), (0x1F9AB, 0x1F9AE)),
        (0x1FAB0, 0x1FAB3),
    ),
    "building": (
        *((0x1F3D7, 0x1F3D8), (0x1F3DA, 0x1F3DB), (0x1F3DF, 0x1F3E6), (0x1F3E8, 0x1F3ED)),
        *((0x1F3EF, 0x1F3F0), (0x1F492, 0x1F492), (0x1F54C, 0x1F54D), (0x1F6D5, 0x1F6D6)),
        (0x26EA, 0x26EA),
    ),
    "clothing": (
        *((0x1F392, 0x1F393), (0x1F3A9, 0x1F3A9), (0x1F3BD, 0x1F3BD), (0x1F451, 0x1F462)),
        *((0x1F94B, 0x1F94B), (0x1F97B, 0x1F97F), (0x1F9BA, 0x1F9BA), (0x1F9E2, 0x1F9E6)),
        (0x1FA70, 0x1FA74),
    ),
    "face": (
        *((0x1F600, 0x1F637), (0x1F641, 0x1F644), (0x1F910, 0x1F915), (0x1F920, 0x1F925)),
        *((0x1F927, 0x1F92A), (0x1F92C, 0x1F92C), (0x1F92E, 0x1F92F), (0x1F970, 0x1F976)),
        *((0x1F978, 0x1F97A), (0x1F9D0, 0x1F9D0), (0x1FAE0, 0x1FAE0), (0x1FAE4, 0x1FAE4)),
        (0x2639, 0x263A),
    ),
    "food": (
        *((0x1F32D, 0x1F32F), (0x1F33D, 0x1F33D), (0x1F345, 0x1F373), (0x1F37F, 0x1F37F)),
        *((0x1F382, 0x1F382), (0x1F950, 0x1F961), (0x1F965, 0x1F96F), (0x1F9C0, 0x1F9C1)),
        *((0x1F9C4, 0x1F9C8), (0x1FAD0, 0x1FAD4)),
    ),
    "hand": (
        *((0x1F446, 0x1F44E), (0x1F590, 0x1F590), (0x1F596, 0x1F596), (0x1F90C, 0x1F90C)),
        *((0x1F90F, 0x1F90F), (0x1F918, 0x1F91C), (0x1F91E, 0x1F91F), (0x1FAF0, 0x1FAF5)),
        *((0x261D, 0x261D), (0x270A, 0x270C)),
    ),
    "heart": (
        *((0x1F493, 0x1F494), (0x1F496, 0x1F49D), (0x1F49F, 0x1F49F), (0x1F5A4, 0x1F5A4)),
        *((0x1F90D, 0x1F90E), (0x1F9E1, 0x1F9E1), (0x2763, 0x2764)),
    ),
    "vehicle": (
        *((0x1F3CD, 0x1F3CE), (0x1F680, 0x1F688), (0x1F68A, 0x1F68E), (0x1F690, 0x1F69B)),
        *((0x1F69C, 0x1F69D), (0x1F69F, 0x1F6A2), (0x1F6A4, 0x1F6A4), (0x1F6B2, 0x1F6B2)),
        *((0x1F6E5, 0x1F6E5), (0x1F6E9, 0x1F6E9), (0x1F6F3, 0x1F6F6), (0x1F6FA, 0x1F6FB)),
        *((0x26F4, 0x26F5), (0x2708, 0x2708)),
    ),
}
KINDS = tuple(_RANGES)
_ONE_IN = 4  # characters that are kept for evaluation

KIND_OF = {
    code: kind
    for kind, ranges in _RANGES.items()
    for first, last in ranges
    for code in range(first, last + 1)
}


def base_of(file_name: str) -> int | None:
    """The code point of a file such as 1f436.webp or 2764-fe0f.webp; None for sequences: flags,
    keycaps, and what a skin tone, hair or another character changes."""
    points = file_name.removesuffix(".webp").split("-")
    if len(points) > 1 and points[1:] != ["fe0f"]:
        return None
    try:
        return int(points[0], 16)
    except ValueError:
        return None


def is_kept(code: int) -> bool:
    """Whether a character is kept for evaluation; it depends on the code point alone, so no seed,
    size or package puts one on the other side."""
    return zlib.crc32(f"{code:x}".encode()) % _ONE_IN == 0


def name_of(code: int) -> str:
    """The character's name in Unicode, in small letters. Names never change."""
    return unicodedata.name(chr(code)).lower()


@dataclasses.dataclass(frozen=True)
class Cast:
    """The characters of a split.

    stills: kind → those with a picture. movers: kind → those whose clip shows them all the time.
    lively: of the movers those that are seen to move at any time.
    """

    stills: Mapping[str, tuple[int, ...]]
    movers: Mapping[str, tuple[int, ...]]
    lively: tuple[int, ...]

    def split(self, split: str) -> "Cast":
        """Those of "train" or "test"."""
        kept = split == "test"

        def part(codes: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(code for code in codes if is_kept(code) is kept)

        return Cast(
            {kind: part(codes) for kind, codes in self.stills.items()},
            {kind: part(codes) for kind, codes in self.movers.items()},
            part(self.lively),
        )
