"""Pictures at their own times, and who of them can play what."""

import numpy as np
import pytest

from emoji_world import PackageError
from emoji_world.assets import RATE, Assets, read_assets
from emoji_world.cast import KIND_OF, is_kept
from tests.emoji_world.small_packages import (
    MOVING,
    PICTURE_MS,
    PICTURES,
    characters,
    webp,
    write_npm,
)


def _read(tmp_path, stills, clips, side=24):
    write_npm(tmp_path / "a" / "stills.tgz", {f"assets/{c:x}.webp": d for c, d in stills.items()})
    write_npm(tmp_path / "b" / "clips.tgz", {f"assets/{c:x}.webp": d for c, d in clips.items()})
    return read_assets(tmp_path / "a" / "stills.tgz", [tmp_path / "b" / "clips.tgz"], side)


def test_a_clip_shows_at_every_twelfth_what_its_own_times_say(tmp_path):
    code = 0x1F436
    times = [40, 200, 40, 500, 70, 150]
    assets = _read(tmp_path, {code: webp(code, 1)}, {code: webp(code, 6, 0, times)})
    loop = assets.loops[code]
    assert len(loop) == round(sum(times) / 1000 * RATE) == 12
    ends = np.cumsum(times) / 1000
    shown = [int(np.argmax(ends > (n + 0.5) / RATE)) for n in range(12)]
    lefts = [int(np.argmax(picture[12, :, 3] > 0)) for picture in loop]
    assert lefts == shown


def test_colours_are_multiplied_by_alpha_before_they_are_made_smaller(tmp_path):
    code = 0x1F436
    assets = _read(tmp_path, {code: webp(code, 1)}, {code: webp(code)}, side=5)
    still = assets.stills[code]
    assert still.shape == (5, 5, 4)
    assert (still[..., :3] <= still[..., 3:]).all(), "no colour without alpha"


def test_a_clip_that_is_empty_for_a_while_is_no_mover(tmp_path):
    more = next(c for c, kind in KIND_OF.items() if kind == "face" and c not in characters("face"))
    codes = [*(code for kind in MOVING for code in characters(kind)), more]
    assets = _read(
        tmp_path,
        {code: webp(code, 1) for code in codes},
        {code: webp(code, empty=4 if code == more else 0) for code in codes},
    )
    cast = assets.cast()
    assert cast.movers == {kind: tuple(sorted(characters(kind))) for kind in MOVING}
    assert sorted(cast.lively) == sorted(codes[:-1])
    assert sorted(code for codes in cast.stills.values() for code in codes) == sorted(codes)


def test_one_that_stands_still_for_a_while_is_not_lively():
    calm = np.zeros((36, 8, 8, 4), np.uint8)
    calm[:, 2:6, 2:6] = 255
    calm[20:24, 2:6, 2:4] = 0
    code = next(c for c in characters("animal") if not is_kept(c))
    with pytest.raises(PackageError, match="hold 1 pictures and 1 clips of known characters"):
        Assets({code: calm[0]}, {code: calm}).cast()


def test_damaged_files_are_named(tmp_path):
    code = 0x1F436
    with pytest.raises(PackageError, match="1f436.webp is damaged"):
        _read(tmp_path / "picture", {code: webp(code, 1)[:-20]}, {})
    (tmp_path / "x.tgz").write_bytes(b"no archive")
    with pytest.raises(PackageError, match="x.tgz cannot be read"):
        read_assets(tmp_path / "x.tgz", [], 8)


def test_the_small_packages_are_like_the_real_ones(registry, tmp_path):
    npm = registry.root / "npm"
    assets = read_assets(
        npm / registry.pins.stills.path,
        [npm / package.path for package in registry.pins.clips],
        24,
    )
    assert set(assets.cast().movers) == set(MOVING)
    assert {len(loop) for loop in assets.loops.values()} == {
        round(PICTURES * PICTURE_MS / 1000 * RATE)
    }
    assert len(assets.stills) == 8 * (len(MOVING) + 1)
