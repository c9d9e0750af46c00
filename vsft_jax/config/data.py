"""The data that a config names: data sets, what an epoch takes of them, and who decodes them."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from ml_collections import ConfigDict

from input_pipeline.annotations import columns_of
from input_pipeline.batches import Mixture, parse_mixture, parse_shares
from input_pipeline.index import DatasetSpec
from input_pipeline.media import CacheSettings, Decoder
from input_pipeline.paths import located
from vsft_jax.config.base import as_json
from vsft_jax.errors import ConfigError

WINDOW = 2048  # tokens of a held text at a time, where its entry does not say

# Key of config.data → folder in config.data.root, of data sets that are made when first needed.
MADE_SETS = {"demo_world": "world", "emoji_world": "emoji_world"}


def mixture_of(data: ConfigDict) -> Mixture:
    """What an epoch takes of each training set, by `config.data`.

    Raises ConfigError naming the key.
    """
    known = list(data.train)
    try:
        replay = parse_shares(data.replay)
        amounts = parse_mixture(data.mixture) or {
            name: entry.get("weight", 1.0)
            for name, entry in data.train.items()
            if name not in replay and entry.get("weight", 1.0) > 0
        }
        if amounts or replay:
            found = Mixture(amounts, data.epoch, replay, data.replay_unit)
    except ValueError as error:
        raise ConfigError(f"config.data.train, .mixture, .epoch or .replay: {error}") from error
    if not (amounts or replay):
        raise ConfigError(_nothing(known))
    if unknown := sorted(set(found.names) - set(known)):
        raise ConfigError(
            f"config.data.mixture or .replay names {unknown}; config.data.train has {known}"
        )
    return found


def _nothing(known: list[str]) -> str:
    """Why an epoch would take nothing of the training sets, and what to change."""
    if known:
        keys = ", ".join(f"config.data.train.{name}.weight" for name in known)
        return f"{keys}: no weight is above 0, so there is nothing to train on"
    return (
        "config.data.train is empty: there is nothing to train on; name a data set, or give the "
        "config of a model family annotations=FILE,media_root=FOLDER (docs/data.md)"
    )


def datasets_of(entries: Mapping[str, ConfigDict], root: str, mode: str) -> list[DatasetSpec]:
    """Entries of `config.data.train` (mode "train"), or of benchmarks ("prompt").

    root: where relative paths start, an absolute path or an address.
    """
    return [
        DatasetSpec(
            name,
            annotations=located(entry.annotations, root),
            media_root=located(entry.get("media_root", ""), root),
            mode=mode,
            format=entry.get("format", ""),
            columns=columns_of(entry.to_dict()),
        )
        for name, entry in entries.items()
    ]


def benchmarks_of(
    entries: Mapping[str, ConfigDict], root: str, official_root: str, index_dir: Path
) -> list[DatasetSpec]:
    """Entries of `config.data.benchmarks`. The annotations of an official one are written by
    `evaluation.benchmarks` into the index folder, under a name of all that they are made by, and
    have absolute paths.

    official_root: where official files lie, an absolute path or "".
    """
    found = []
    for name, entry in entries.items():
        if not entry.get("official"):
            found += datasets_of({name: entry}, root, "prompt")
            continue
        made_by = json.dumps([official_root, as_json(entry)], sort_keys=True)
        digest = hashlib.sha256(made_by.encode()).hexdigest()[:8]
        path = index_dir / "official" / f"{name}-{digest}.jsonl"
        found.append(DatasetSpec(name, str(path), media_root="/", mode="prompt", format="messages"))
    return found


@dataclasses.dataclass(frozen=True)
class HeldTexts:
    """A benchmark of texts. file: an absolute path or an address. window: tokens that are seen at
    a time; what is longer is cut."""

    file: str
    window: int


def held_texts_of(entries: ConfigDict, root: str) -> dict[str, HeldTexts]:
    """Entries of `config.data.benchmarks` with modality "held_text", by name."""
    return {
        name: HeldTexts(located(entry.annotations, root), entry.get("window") or WINDOW)
        for name, entry in entries.items()
        if entry.modality == "held_text"
    }


def decoder_of(data: ConfigDict) -> Decoder:
    """What probes and decodes the config's media: one for all jobs of this process, so that decoder
    processes start once."""
    cache = None
    if data.cache_dir:
        cache = CacheSettings(str(Path(data.cache_dir).absolute()), int(data.cache_gb * 1e9))
    processes = data.workers * (data.decoder == "processes")
    hosts = tuple(data.redirect_hosts)
    return _decoder(processes, data.decode_timeout_s, cache, data.decode_threads, hosts)


_decoder = functools.lru_cache(maxsize=1)(Decoder)
