"""What a run that goes on must have in common with its beginning.

Step k's rows follow from these values and k. With others the rest of the run would repeat some
examples and leave others out, and its checkpoints would claim a frame budget that they were only
partly trained with.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from input_pipeline.frame_budget import spec_hash, spec_label
from vsft_jax import experiment

_FIXED = ("seed", "layout", "data.mixture", "data.epoch", "data.replay", "data.replay_unit")
_FIXED += ("train.batch_rows", "train.pack_window")


def schedule_of(config: ConfigDict, saved: Mapping[str, Any]) -> ConfigDict:
    """The config with the `train.batch_rows` and `train.steps` that the run began with where they
    are 0, so that they do not depend on the number of devices it goes on with.

    saved: the checkpoint's config, as JSON values.
    """
    config = config.copy_and_resolve_references()
    before = saved["train"]
    for key, source in (("batch_rows", "batch_examples"), ("steps", "epochs")):
        if config.train[key] <= 0 and config.train[source] == before[source]:
            config.train[key] = before[key]
    return config


def check_unchanged(
    config: ConfigDict, frames: Mapping[str, Any], meta: Mapping[str, Any], workdir: Any
) -> None:
    """Raises ConfigError naming the keys that a run must not change half-way.

    config, frames: of the run that goes on, its schedule worked out and its frame-budget spec
    resolved. meta: what the checkpoint says of them.
    """
    saved, now = meta["config"], experiment.as_json(config)
    fixed = [(key, _at(saved, key), _at(now, key)) for key in _FIXED]
    fixed.append(("data.train", _weights(saved), _weights(now)))
    changed = [
        f"config.{key} was {before!r} and is {after!r}"
        for item in fixed
        for key, before, after in _differences(*item)
    ]
    if spec_hash(meta["frames"]) != spec_hash(frames):
        before, after = spec_label(meta["frames"]), spec_label(frames)
        changed.append(f"config.frames was {before} and is {after}, or one with other settings")
    if changed:
        raise experiment.ConfigError(
            f"{workdir} was trained with other settings up to here: {'; '.join(changed)}. Go on "
            "with those, or start from its parameters in another workdir (config.train.init_from)"
        )


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
