"""Which questions of a benchmark are asked: all or a fixed subset, plain or under a control."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from evaluation.controls import controlled
from evaluation.subtitles import with_lines_of_frames
from input_pipeline.batches.rows import Item
from input_pipeline.examples import Example
from input_pipeline.index import ExampleStore
from vsft_jax.config import Run


class Asked(NamedTuple):
    """Questions with their layouts, in the benchmark's order, and why each has its frame budget."""

    items: list[Item]
    why: list[str]


def asked_of(run: Run, store: ExampleStore) -> Asked:
    """The prepared questions that `config.eval.limit` and `config.eval.control` leave, the latter
    applied to them; with the subtitles of their frames, where these are asked for."""
    settings = run.config.eval
    everything = [store[i] for i in range(len(store))]
    names = [cluster_of(example) for example, _ in everything]
    found, rules = Asked([], []), (run.tokenizer, run.layout)
    for i in subset(names, settings.limit) if settings.limit else range(len(store)):
        item: Item | None = with_lines_of_frames(
            everything[i], *rules, run.config.layout.row_tokens
        )
        if settings.control and item:
            item = controlled(item, settings.control, *rules)
        if item is not None:
            found.items.append(item)
            found.why.append(store.why(i))
    return found


def subset(clusters: Sequence[str], count: int) -> list[int]:
    """The same `count` questions for every model, or a few more: all about some clips and pictures,
    so that numbers over pairs and groups stay what they are. Drawn by the clusters' names."""
    members = defaultdict(list)
    for i, name in enumerate(clusters):
        members[name].append(i)
    taken: list[int] = []
    for name in sorted(members, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if len(taken) >= count:
            break
        taken += members[name]
    return sorted(taken)


def cluster_of(example: Example) -> str:
    """The clip or picture that a question is about, or what its record calls that. Clips of one
    video are one; a question about none is one by itself."""
    shown = "\n".join(ref.path for ref in example.media)
    return str(example.meta.get("cluster") or shown or example.id)
