"""Questions with options, answered by the likeliest of their letters."""

import pytest

from evaluation import evaluate
from evaluation.evaluate import _answers
from input_pipeline.examples import Example, Turn
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.inference import Answer, generation_settings, option_tokens


def _item(name, format, choices=None):
    meta = {"format": format, **({"choices": choices} if choices else {})}
    return Example(name, "mine", (Turn("user", ("?",)),), meta), None


ITEMS = [
    _item("a", "choice", {"A": "red", "B": "blue"}),
    _item("b", "yes_no"),
    _item("c", "choice", {"A": "red", "B": "blue", "C": "green"}),
    _item("d", "choice"),
]


def _asked(run, monkeypatch, done=()):
    """Calls of `answer`: ids, options, places that are answered; and the places it all gave."""
    calls = []

    def say(run, model, items, *, answered=(), many=False, options=()):
        calls.append(([example.id for example, _ in items], options, list(answered)))
        return (Answer(i, "A", [], [], None) for i in range(len(items)) if i not in answered)

    monkeypatch.setattr(evaluate, "answer", say)
    model = type("Model", (), {"tokenizer": run.tokenizer})
    return calls, [said.index for said in _answers(run, model, ITEMS, done)]


def test_those_with_options_are_asked_apart(shared_config, monkeypatch, tmp_path):
    config = shared_config.copy_and_resolve_references()
    run = Run(config, tmp_path)
    calls, places = _asked(run, monkeypatch)
    assert calls == [(["a", "b", "c", "d"], (), [])] and places == [0, 1, 2, 3]
    assert "choices" not in generation_settings(config)
    config.eval.choices = "likeliest"
    run = Run(config, tmp_path)
    a, b, c = (option_tokens("ABC", run.tokenizer)[letter] for letter in "ABC")
    calls, places = _asked(run, monkeypatch, done=[2, 3])
    assert calls == [(["a", "c"], [[a, b], [a, b, c]], [1]), (["b", "d"], [], [1])]
    assert places == [0, 1]
    assert generation_settings(config)["choices"] == "likeliest"


def test_an_option_is_a_token_of_its_own(shared_config, tmp_path):
    chat = Run(shared_config, tmp_path).tokenizer
    found = option_tokens("ABCD", chat)
    assert [chat.decode([token]).strip() for token in found.values()] == list("ABCD")
    with pytest.raises(ConfigError, match="the answer 'zq xv' does not begin with a token of its"):
        option_tokens(["A", "zq xv"], chat)
