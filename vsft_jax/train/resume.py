"""What a run that goes on must have in common with its beginning.

Step k's rows follow from these values and k. With others the rest of the run would repeat some
examples and leave others out, and its checkpoints would claim a frame budget that they were only
partly trained with.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from input_pipeline.frame_budget import spec_hash, spec_label
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.lora import Lora

_FIXED = (
    *("seed", "layout", "data.mixture", "data.epoch", "data.replay", "data.replay_unit"),
    *("train.batch_rows", "train.pack_window"),
)


def schedule_of(run: Run, saved: Mapping[str, Any]) -> Run:
    """The run with the `train.batch_rows` and `train.steps` that it began with where they are 0,
    so that they do not depend on the number of devices it goes on with.

    saved: the checkpoint's config, as JSON values.
    """
    now, before = run.config.train, saved["train"]
    begun = {
        key: before[key]
        for key, source in (("batch_rows", "batch_examples"), ("steps", "epochs"))
        if now[key] <= 0 and now[source] == before[source]
    }
    return run.with_settings(train=begun)


def check_unchanged(run: Run, frame_policy: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Raises ConfigError naming the keys that a run must not change half-way.

    run: goes on, its schedule worked out. frame_policy: its resolved frame-budget spec. meta: what
    the checkpoint says of them.
    """
    saved, now = meta["config"], run.as_json
    fixed = [(key, _at(saved, key), _at(now, key)) for key in _FIXED]
    fixed.append(("data.train", _weights(saved), _weights(now)))
    # It decides what rows have room for. Runs begun before it was there had one.
    context = [config["mesh"].get("context", 1) for config in (saved, now)]
    fixed.append(("mesh.context", *context))
    changed = [
        f"config.{key} was {before!r} and is {after!r}"
        for item in fixed
        for key, before, after in _differences(*item)
    ]
    if spec_hash(meta["frames"]) != spec_hash(frame_policy):
        before, after = spec_label(meta["frames"]), spec_label(frame_policy)
        changed.append(f"config.frames was {before} and is {after}, or one with other settings")
    if changed:
        raise ConfigError(
            f"{run.workdir} was trained with other settings up to here: {'; '.join(changed)}. Go "
            "on with those, or start from its parameters in another workdir "
            "(config.train.init_from)"
        )
    if (adapters := Lora.of_checkpoint(meta)) != run.lora:
        raise ConfigError(
            f"config.lora gives {run.lora}, but {run.workdir} was trained with {adapters}: take "
            "another workdir"
        )


def changes(run: Run, meta: Mapping[str, Any]) -> list[str]:
    """How the run's config differs from that of a checkpoint, where that has the key: "config.seed
    was 0 and is 1"."""
    saved, now = meta["config"], run.as_json
    return [
        f"config.{key} was {before!r} and is {after!r}"
        for name in now
        if name in saved
        for key, before, after in _differences(name, saved[name], now[name])
        if before is not None
    ]


def saved_losses(recent: jax.Array) -> list[float | None]:
    """`TrainState.recent_losses` as JSON values of a checkpoint's meta."""
    return [float(loss) if np.isfinite(loss) else None for loss in jax.device_get(recent)]


def recent_losses(meta: Mapping[str, Any], like: jax.Array) -> jax.Array:
    """The losses that a checkpoint's meta holds, where `like` says; NaN for those it has not."""
    losses = np.array(meta.get("recent_losses", [None] * like.shape[0]), like.dtype)
    # Not device_put, which compares the processes' values: NaN is not NaN.
    return jax.make_array_from_callback(losses.shape, like.sharding, losses.__getitem__)


def _weights(config: Mapping[str, Any]) -> dict[str, float]:
    """How much is taken of each training set; where its files are may change."""
    return {name: entry.get("weight", 1.0) for name, entry in config["data"]["train"].items()}


def _at(values: Mapping[str, Any], key: str) -> Any:
    for name in key.split("."):
        values = values[name]
    return values


def _differences(key: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """(key, value before, value after) of what differs, None for what is not there."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _differences(f"{key}.{name}", before.get(name), after.get(name))
    elif before != after:
        yield key, before, after
