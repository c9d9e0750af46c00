"""What bench.evaluate reports, with both sides stood in for."""

from types import SimpleNamespace

import pytest

pytest.importorskip("qwen_vl_utils", reason="of bench/requirements.txt")

from bench import evaluate  # noqa: E402
from bench.evaluate import CHOICE, KINDS, Kind, Took  # noqa: E402
from input_pipeline.examples import Example, Turn  # noqa: E402


def test_rates_ratios_and_equal_answers(monkeypatch, capsys):
    examples = [Example(f"c{i // 3}/{i % 3}", "bench", (Turn("user", ("?",)),)) for i in range(6)]

    class Prompts(list):
        tokens = SimpleNamespace(mean=lambda: 350.4)

    monkeypatch.setattr(evaluate, "laid_out", lambda *_: Prompts((e, None) for e in examples))
    monkeypatch.setattr(evaluate, "ours", lambda *_: {e.id: [1, 2] for e in examples})
    clock = iter(
        [(9.0, 9.0), (2.0, 3.0), (8.0, 6.0), (1.0, 2.0), (2.0, 8.0), (4.0, 1.0), (4.0, 3.0)]
    )
    monkeypatch.setattr(evaluate, "timed", lambda work: Took(*next(clock), work()))
    run = SimpleNamespace(with_settings=lambda eval: eval["max_new_tokens"] == 2 and run)
    theirs = lambda example, _, tokens: [1, tokens if example.id != "c1/2" else 5]  # noqa: E731
    evaluate.compare(run, None, theirs, examples, Kind("a letter", CHOICE, 2), rounds=3)
    out = capsys.readouterr().out
    assert "6 questions about 2 clips, 350 tokens of prompt; compiling took 9 s" in out
    assert (
        "this repository 3.00 answers/s and 0.50 s of CPU each, transformers 0.75 and 1.00" in out
    )
    assert "4.00 times as many, 2.00 by CPU time; 5 of 6 answers the same" in out
    assert "median of 3 rounds: 2.00 times as many, 3.00 by CPU time" in out


def test_all_kinds_of_questions_are_asked():
    assert [(kind.name, len(kind.questions), kind.tokens, kind.likeliest) for kind in KINDS] == [
        ("a letter", 3, 2, False),
        ("a letter, here the likeliest", 3, 2, True),
        ("64 tokens", 1, 64, False),
    ]
