"""The likelihood of held texts, a text and all of them together.

A model's probability of a text is that of its tokens one after the other. Over so many bytes of
UTF-8 it makes bits a byte, which models with other tokenizers share; over so many tokens the
perplexity that is usually told. The score of a text, which has to lie in 0..1 and be higher where
the model is better, is the probability of a byte (the geometric mean): 2 to the power of minus the
bits a byte.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from evaluation import provenance
from evaluation.asked import subset
from evaluation.held_texts.texts import Text, read_texts
from evaluation.results import BenchmarkResult, Prediction, Provenance, summarise
from evaluation.statistics import Interval, bootstrap_aggregate
from input_pipeline.text import ChatError, ChatTokenizer
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.inference import LoadedModel, log_likelihoods

FORMAT = "held_text"
_CHANCE = 1 / 256  # a byte that may be any
_SHOWN = 200  # characters of a text in its prediction


@dataclasses.dataclass(frozen=True)
class _Found:
    """A text's part in the numbers of all, a row of `bootstrap_aggregate`. nats: minus the natural
    logarithm of its probability."""

    cluster: str
    nats: float
    tokens: int
    bytes: int
    times: float | np.ndarray = 1.0


def evaluate_texts(
    run: Run, model: LoadedModel, name: str, made_with: Provenance
) -> tuple[BenchmarkResult, list[Prediction]]:
    """How likely a model finds the texts of a benchmark, `config.eval.limit` of them.

    made_with: what holds for all benchmarks of the evaluation. Raises ConfigError for a file or a
    text that cannot be used.
    """
    held, limit = run.held_texts[name], run.config.eval.limit
    texts = read_texts(held.file, f"config.data.benchmarks.{name}.annotations")
    if limit:
        texts = [texts[i] for i in subset([text.id for text in texts], limit)]
    logging.info("evaluate %s: the likelihood of %d texts", name, len(texts))
    rows = run.config.eval.batch_rows
    found = measured(model, texts, benchmark=name, window=held.window, batch_rows=rows)
    said = [(text.id, text.text) for text in texts]
    settings = provenance.settings_of_texts(run, said, held.window)
    result = summarise(
        found,
        benchmark=name,
        modality="held_text",
        masked=0,
        provenance=dataclasses.replace(made_with, generation={}, settings=settings),
        metrics=perplexities(found),
    )
    return result, found


def measured(
    model: LoadedModel,
    texts: Sequence[Text],
    *,
    benchmark: str,
    window: int,
    batch_rows: int,
) -> list[Prediction]:
    """A prediction for each text; what it says is the likelihood: {"nats", "tokens", "bytes"}.

    window, batch_rows: see `log_likelihoods`. Raises ConfigError naming a text that cannot be read
    as text, because it contains a control token.
    """
    ids = [_tokens(model.tokenizer, each, benchmark) for each in texts]
    found = log_likelihoods(model, ids, window=window, batch_rows=batch_rows)
    return [
        _prediction(benchmark, text, logprobs) for text, logprobs in zip(texts, found, strict=True)
    ]


def perplexities(predictions: Sequence[Prediction]) -> dict[str, Interval]:
    """Numbers over all texts, each token or byte counting the same, with intervals over texts:
    perplexity (a token), byte_perplexity and bits_per_byte, and how many tokens and bytes."""
    rows = [_Found(each.cluster, **json.loads(each.prediction)) for each in predictions]
    found = bootstrap_aggregate(rows, _numbers)
    for name in ("tokens", "bytes"):
        total = float(sum(getattr(row, name) for row in rows))
        found[name] = Interval(total, math.nan, math.nan, len(rows))
    return found


def _numbers(rows: Sequence[_Found]) -> Mapping[str, Any]:
    nats, tokens, size = (
        sum(getattr(row, name) * row.times for row in rows) for name in ("nats", "tokens", "bytes")
    )
    return {
        "perplexity": np.exp(nats / tokens),
        "byte_perplexity": np.exp(nats / size),
        "bits_per_byte": nats / size / math.log(2),
    }


def _tokens(chat: ChatTokenizer, text: Text, benchmark: str) -> np.ndarray:
    try:
        return chat.encode_text(text.text)
    except ChatError as error:
        raise ConfigError(f"config.data.benchmarks.{benchmark}: {text.id!r}: {error}") from error


def _prediction(benchmark: str, text: Text, logprobs: np.ndarray) -> Prediction:
    # Of many tokens, in the wide type.
    nats, size = -float(logprobs.astype(np.float64).sum()), len(text.text.encode())
    said = {"nats": nats, "tokens": len(logprobs), "bytes": size}
    return Prediction(
        id=text.id,
        benchmark=benchmark,
        task=text.task,
        format=FORMAT,
        frames=None,
        why="",
        prediction=json.dumps(said),
        answer="",
        score=math.exp(-nats / size),
        parsed=True,
        visual_tokens=0,
        chance=_CHANCE,
        cluster=text.id,
        question=text.text[:_SHOWN],
        media=[],
    )
