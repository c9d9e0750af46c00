import pytest

from demo_world.decks import Decks


def test_decks_deal_every_option_before_any_twice():
    decks = Decks(0, "x")
    dealt = [decks.draw("colour", "RGBY") for _ in range(40)]
    assert all(set(dealt[i : i + 4]) == set("RGBY") for i in range(0, 40, 4))
    assert len({tuple(dealt[i : i + 4]) for i in range(0, 40, 4)}) > 3
    assert dealt == [Decks.draw(d, "colour", "RGBY") for d in [Decks(0, "x")] for _ in range(40)]
    with pytest.raises(ValueError, match="'colour' holds 4 options, was asked for 2"):
        decks.draw("colour", "RG")
