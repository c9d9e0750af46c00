"""What of a config makes a cell of a study what it is.

A cell is what its resolved config hashes to. Numbers under a cell's name are only then the config's
numbers when nothing has changed that decides them; where files are, how fast they are read, how
often is logged and which kernels compute does not.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.study_files import Cell
from input_pipeline.frame_budget import canonical_spec, spec_hash

# Decides neither the model nor its answers.
_NO_PART = (
    *("study", "plan", "export", "budget"),  # `study` says which cells there are, not what they are
    # Not the axis context: rows that devices share hold other examples.
    *("mesh.data", "mesh.fsdp", "mesh.tensor"),
    *("data.root", "data.benchmark_root", "data.index_dir", "data.cache_dir", "data.cache_gb"),
    *("data.emoji_world.packages", "data.emoji_world.npm", "data.emoji_world.pypi"),
    *("data.workers", "data.decoder", "data.decode_threads", "data.decode_timeout_s"),
    *("data.prepare_processes", "data.max_bad_fraction", "data.redirect_hosts"),
    *("model.remat", "model.attention"),
    *("train.log_every", "train.checkpoint_every", "train.keep_checkpoints"),
    *("train.evaluate_every", "train.evaluate_limit", "train.loss_chunk", "train.tpu_options"),
    *("eval.batch_rows", "eval.frames"),
)
# Decides what a model answers, and not what it learns.
_ANSWERS = ("eval", "lora.eval_scale", "remedy.interpolate", "data.benchmarks")


def deciding(config: Mapping[str, Any], frame_policy: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a cell's scores, as {"train.epochs": 1.0, …}.

    config: the cell's, as JSON values. frame_policy: its spec, of which the hash stands for
    `config.frames`: labels, and where a judge is asked, decide nothing.
    """
    values = flat({**config, "frames": spec_hash(frame_policy)})
    return {key: value for key, value in values.items() if not _under(key, _NO_PART)}


def config_hash(decides: Mapping[str, Any]) -> str:
    """12 hex digits of what decides the model. decides: of `deciding`."""
    model = {key: value for key, value in decides.items() if not _under(key, _ANSWERS)}
    text = json.dumps(model, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def strategy(config: Mapping[str, Any]) -> str:
    """What of the model is tuned: "full", "lora-16", "only attention", "full, frozen tower".

    config: as JSON values.
    """
    lora, only = config["lora"], config["train"]["only"]
    words = []
    if lora["rank"]:
        on = "" if lora["targets"] == "linear" else f" on {lora['targets']}"
        words.append(f"lora-{lora['rank']}{on}")
    if only:
        words.append(f"only {only}")
    rates = config["optimizer"]["learning_rate"]
    if frozen := [part for part, rate in rates.items() if not rate]:
        words.append(f"frozen {' and '.join(sorted(frozen))}")
    return ", ".join(words) or "full"


def model_changes(before: Cell, now: Cell) -> list[str]:
    """What decides the model and differs, in words; empty where it is the same model."""
    if before.config_hash == now.config_hash:
        return []
    return [text for key, text in _changes(before, now) if not _under(key, _ANSWERS)]


def answer_changes(before: Cell, now: Cell) -> list[str]:
    """What differs of how the model is asked. Benchmarks may come and go: each has its own file."""
    both = [_benchmarks(cell) for cell in (before, now)]
    shared = tuple(f"data.benchmarks.{name}" for name in set.intersection(*both))
    return [
        text
        for key, text in _changes(before, now)
        if _under(key, _ANSWERS) and (not _under(key, ("data.benchmarks",)) or _under(key, shared))
    ]


def policy_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two frame policies, in words; empty for two spellings of one."""
    if spec_hash(before) == spec_hash(now):
        return []
    old, new = ({"frames": canonical_spec(spec)} for spec in (before, now))
    return [text for _, text in _differences(flat(old), flat(new))]


def _changes(before: Cell, now: Cell) -> Iterator[tuple[str, str]]:
    """(key, what became of it) of everything that differs."""
    for key, text in _differences(before.config, now.config):
        if key == "frames" and before.frame_policy and now.frame_policy:
            yield from (
                (key, each) for each in policy_changes(before.frame_policy, now.frame_policy)
            )
        else:
            yield key, text


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in sorted(before.keys() | now.keys()):
        old, new = (repr(c[key]) if key in c else "not set" for c in (before, now))
        if old != new:
            yield key, f"config.{key} was {old} and is {new}"


def _benchmarks(cell: Cell) -> set[str]:
    return {key.split(".")[2] for key in cell.config if _under(key, ("data.benchmarks",))}


def _under(key: str, prefixes: tuple[str, ...]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dots between the names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
