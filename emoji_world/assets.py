"""What the packages hold, decoded: a picture and a clip of each character, small and ready to be
drawn."""

import dataclasses
import io
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from emoji_world.cast import KIND_OF, KINDS, Cast, base_of
from emoji_world.packages import PackageError
from input_pipeline.progress import Progress

RATE = 12  # pictures a second of what is drawn; the packages' clips have about 24
_UNTOLD_S = 0.1  # how long a picture is shown that says 0, as by browsers
# Some clips begin or end empty. A mover never covers less than half of what it covers on average.
_STEADY = 0.5
# A lively one changes a quarter of a second later, at any time, by this much of its own area.
_LIVELY = 0.012
_LATER = RATE // 4
_KINDS = 3  # at least: a clip shows three
_FEWEST = 4  # characters of a kind on either side: as many as a clip shows or a question offers


@dataclasses.dataclass(frozen=True)
class Assets:
    """Characters by code point, their colours multiplied by their alpha.

    stills: uint8[S, S, 4]. loops: uint8[F, S, S, 4] at `RATE` pictures a second, which go round.
    """

    stills: Mapping[int, np.ndarray]
    loops: Mapping[int, np.ndarray]

    def cast(self) -> Cast:
        """Who can play what. Raises PackageError where too few kinds have enough characters for
        training and for evaluation."""
        steady = {code: loop for code, loop in self.loops.items() if _is_steady(loop)}
        everyone = Cast(
            _by_kind(self.stills),
            _by_kind(steady),
            tuple(sorted(code for code, loop in steady.items() if _is_lively(loop))),
        )
        sides = [everyone.split(split) for split in ("train", "test")]
        found = Cast(
            _enough(everyone.stills, [side.stills for side in sides]),
            _enough(everyone.movers, [side.movers for side in sides]),
            everyone.lively,
        )
        few = any(len(side.lively) < _FEWEST for side in sides)
        if few or min(len(found.stills), len(found.movers)) < _KINDS:
            raise PackageError(
                f"the packages hold {len(self.stills)} pictures and {len(self.loops)} clips of "
                f"known characters: fewer than {_KINDS} kinds with {_FEWEST} for training and "
                f"{_FEWEST} for evaluation"
            )
        return found


def read_assets(stills: Path, clips: Sequence[Path], side: int) -> Assets:
    """Decodes every known character of the packages' files to `side` pixels.

    Raises PackageError for a file that is no such package, or holds a picture that cannot be read.
    """
    pictures = dict(_members([stills]))
    animations = {code: data for code, data in _members(clips) if code in pictures}

    def still(item: tuple[int, bytes]) -> np.ndarray:
        return _decoded(*item, side)[0]

    def loop(item: tuple[int, bytes]) -> np.ndarray:
        found = _decoded(*item, side)
        progress.advance()
        return found

    with (
        Progress("decode emoji", total=len(animations), unit="clips") as progress,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        loops = zip(sorted(animations), threads.map(loop, sorted(animations.items())), strict=True)
        return Assets(
            dict(zip(sorted(pictures), threads.map(still, sorted(pictures.items())), strict=True)),
            {code: frames for code, frames in loops if len(frames) > 1},
        )


def _members(files: Sequence[Path]) -> Iterator[tuple[int, bytes]]:
    """Code point and WebP of every known character."""
    for path in files:
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    code = base_of(Path(member.name).name)
                    if code in KIND_OF and member.isfile():
                        content = archive.extractfile(member)
                        assert content is not None, "it is a file"
                        yield code, content.read()
        except (tarfile.TarError, EOFError, OSError) as error:
            raise PackageError(f"{path} cannot be read: {error}; remove it") from error


def _decoded(code: int, data: bytes, side: int) -> np.ndarray:
    """uint8[F, S, S, 4]: what is to be seen at each twelfth of a second, alpha multiplied in."""
    found, ends, now = [], [], 0.0
    try:
        with Image.open(io.BytesIO(data)) as image:
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                image.load()  # WebP tells its times when it is decoded
                now += image.info.get("duration", 0) / 1000 or _UNTOLD_S
                ends.append(now)
                found.append(_small(np.asarray(image.convert("RGBA")), side))
    except (OSError, ValueError, EOFError) as error:
        raise PackageError(f"the picture {code:x}.webp is damaged: {error}") from error
    count = max(1, round(now * RATE)) if len(found) > 1 else 1
    shown = np.searchsorted(ends, (np.arange(count) + 0.5) / RATE)
    return np.stack([found[min(index, len(found) - 1)] for index in shown])


def _small(rgba: np.ndarray, side: int) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.float32) / 255
    ready = np.concatenate([rgba[..., :3] * alpha, rgba[..., 3:]], axis=-1)
    small = cv2.resize(ready, (side, side), interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(small), 0, 255).astype(np.uint8)


def _is_steady(loop: np.ndarray) -> bool:
    covered = loop[..., 3].mean(axis=(1, 2))
    return bool(covered.min() >= _STEADY * covered.mean())


def _is_lively(loop: np.ndarray) -> bool:
    later = np.roll(loop, -_LATER, axis=0)
    changed = np.abs(loop.astype(np.int16) - later).mean(axis=(1, 2, 3)) / 255
    return bool(changed.min() >= _LIVELY * (loop[..., 3].mean() / 255))


def _by_kind(codes: Mapping[int, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {kind: tuple(sorted(code for code in codes if KIND_OF[code] == kind)) for kind in KINDS}


def _enough(
    everyone: Mapping[str, tuple[int, ...]], sides: Sequence[Mapping[str, tuple[int, ...]]]
) -> dict[str, tuple[int, ...]]:
    return {
        kind: codes
        for kind, codes in everyone.items()
        if all(len(side[kind]) >= _FEWEST for side in sides)
    }
