"""Who is kept for evaluation, and who is no character of this world."""

import pytest

from emoji_world.cast import _RANGES, KIND_OF, KINDS, Cast, base_of, is_kept, name_of


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("1f436.webp", 0x1F436),
        ("2764-fe0f.webp", 0x2764),
        ("1f44b-1f3fb.webp", None),  # a skin tone
        ("1f9d4-200d-2642-fe0f.webp", None),
        ("0023-fe0f-20e3.webp", None),  # a keycap
        ("1f1e7-1f1f7.webp", None),  # a flag
        (".gitkeep", None),
        ("README.md", None),
    ],
)
def test_a_file_is_of_a_base_character_or_of_none(file, code):
    assert base_of(file) == code


def test_every_character_has_one_kind_and_a_name():
    assert len(KIND_OF) == sum(b - a + 1 for r in _RANGES.values() for a, b in r), "none twice"
    names = {code: name_of(code) for code in KIND_OF}
    assert len(set(names.values())) == len(names)
    assert names[0x1F436] == "dog face" and KIND_OF[0x1F436] == "animal"


def test_every_kind_has_characters_on_both_sides_and_none_on_both():
    everyone = {kind: tuple(c for c, k in KIND_OF.items() if k == kind) for kind in KINDS}
    cast = Cast(everyone, everyone, tuple(KIND_OF))
    train, test = cast.split("train"), cast.split("test")
    for kind in KINDS:
        kept, trained = set(test.stills[kind]), set(train.stills[kind])
        assert not kept & trained and kept | trained == set(everyone[kind])
        assert len(kept) >= 3 and len(trained) >= 10
        assert test.movers[kind] == test.stills[kind]
    assert set(test.lively) == {code for code in KIND_OF if is_kept(code)}
    assert 0.15 < len(test.lively) / len(KIND_OF) < 0.35
    assert [is_kept(code) for code in (0x1F436, 0x1F405, 0x2764, 0x1F493)] == _AS_EVER


_AS_EVER = [False, True, False, True]  # a model trained before must not meet its characters
