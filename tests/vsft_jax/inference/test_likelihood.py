"""Texts in windows; what the model makes of them, tests/parity compares with transformers."""

import numpy as np
import pytest

from vsft_jax.inference.likelihood import windows_of


@pytest.mark.parametrize("length", [1, 4, 5, 100])
def test_every_token_is_told_once_after_the_one_before_it(length):
    texts = [np.arange(10, 10 + n) for n in (1, 4, 5, 13)]
    windows = windows_of(texts, 7, length)
    for place, text in enumerate(texts):
        mine = [each for each in windows if each.text == place]
        assert [each.first for each in mine] == list(range(0, len(text), length))
        assert max(len(each.told) for each in mine) <= length
        assert np.concatenate([each.told for each in mine]).tolist() == text.tolist()
        seen = np.concatenate([each.seen for each in mine]).tolist()
        assert seen == [7, *text[:-1].tolist()]
