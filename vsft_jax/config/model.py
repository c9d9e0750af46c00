"""The model that a config describes: its family, its architecture and its files."""

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from input_pipeline.text import TOKENIZER_FILES, ChatTokenizer
from vsft_jax.config.layout import stated_by
from vsft_jax.errors import ConfigError
from vsft_jax.huggingface import HFError, local_directory, read_json
from vsft_jax.models import Family, family_named

# Beside those of `ChatTokenizer`; most are copied for transformers' sake alone.
PROCESSOR_FILES = (
    "added_tokens.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
)
# What makes the size of a model; a vocabulary may have been enlarged for fine-tuning.
_SIZES = ("depth", "width", "mlp_width", "heads", "kv_heads", "experts", "experts_per_token")


def family_of(config: ConfigDict) -> Family:
    """The model family that `config.model.family` names."""
    return family_named(config.model.family)


def model_directory(config: ConfigDict) -> Path | None:
    """The Hugging Face directory that `config.model.path` names, None where it is empty.

    A hub id is downloaded. Raises ConfigError where there is no such directory.
    """
    if not config.model.path:
        return None
    try:
        return local_directory(config.model.path)
    except HFError as error:
        raise ConfigError(f"config.model.path = {config.model.path!r}: {error}") from error


def architecture_of(config: ConfigDict, family: Family, directory: Path | None) -> Any:
    """The family's ModelConfig before the tokenizer's ids are known.

    The config.json of `directory` gives it, else `config.model.size` the published one; numbers of
    `config.model.vision` and `.text` are set on top. Without directory and size they are all there
    is. Raises ConfigError naming the key.
    """
    model = config.model
    keys = ("dtype", "param_dtype", "remat", "tower_remat", "attention")
    compute = {key: model[key] for key in keys}
    kinds = {"vision": family.vision_config, "text": family.text_config}
    given = {name: _tuples(model[name].to_dict()) for name in kinds}
    try:
        if directory:
            found = _stored(config, family, directory, compute)
        elif model.size:
            found = family.published(model.size, **compute)
        else:
            _check_complete(family, given)
            parts = {name: kind(**given[name]) for name, kind in kinds.items()}
            return family.model_config(**parts, **compute)
        changed = {name: dataclasses.replace(getattr(found, name), **given[name]) for name in kinds}
        return dataclasses.replace(found, **changed)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config.model: {error}") from error


def _check_complete(family: Family, given: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ConfigError where neither a directory nor a size gives what these numbers do not."""
    for name, kind in (("vision", family.vision_config), ("text", family.text_config)):
        fields = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
        if missing := [field for field in fields if field not in given[name]]:
            raise ConfigError(
                "config.model names no model: set config.model.path (a Hugging Face directory or "
                f"hub id), config.model.size ({', '.join(family.sizes)}), or also "
                f"{', '.join(missing)} of config.model.{name}"
            )


def _tuples(value: Any) -> Any:
    """Lists as tuples, so that a config of them can be hashed."""
    if isinstance(value, Mapping):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _stored(config: ConfigDict, family: Family, directory: Path, compute: Mapping[str, str]) -> Any:
    """The ModelConfig of a directory, checked against family and size."""
    path, size = config.model.path, config.model.size
    stored = read_json(directory / "config.json")
    try:
        found = family.from_hf(stored, **compute)
    except ValueError as error:
        raise ConfigError(
            f"config.model.path = {path!r} holds a {stored.get('model_type')!r} model, which does "
            f"not go with config.model.family = {family.name!r}: {error}"
        ) from error
    if size:
        published = family.published(size, **compute)
        for part, name in itertools.product(("vision", "text"), _SIZES):
            has, wanted = (getattr(getattr(c, part), name, None) for c in (found, published))
            if has != wanted:
                raise ConfigError(
                    f"config.model.path = {path!r} is not of config.model.size = {size!r}: its "
                    f"{part} {name} is {has}, not {wanted}"
                )
    try:
        statistics = stated_by(directory).statistics()
    except ValueError as error:
        raise ConfigError(f"config.model.path = {path!r}: {error}") from error
    return dataclasses.replace(found, vision=dataclasses.replace(found.vision, **statistics))


def with_token_ids(
    config: ConfigDict, family: Family, architecture: Any, tokenizer: ChatTokenizer
) -> Any:
    """The architecture with its special token ids read from the tokenizer.

    Raises ConfigError for a vocabulary that is smaller than the tokenizer's, and for ids that
    differ from those of `config.model.path`.
    """
    if tokenizer.vocab_size > architecture.text.vocab_size:
        raise ConfigError(
            f"the model's vocab_size is {architecture.text.vocab_size}, but the tokenizer has "
            f"{tokenizer.vocab_size} ids: config.tokenizer and config.model do not belong together"
        )
    ids = {}
    for field, token in family.special_tokens.items():
        ids[field], stored = tokenizer.token_id(token), getattr(architecture, field)
        if config.model.path and ids[field] != stored:
            raise ConfigError(
                f"config.model.path = {config.model.path!r}: {field} is {stored} in config.json, "
                f"but the tokenizer's {token} is {ids[field]}; they do not belong together"
            )
    return dataclasses.replace(architecture, **ids)


def files_in(*directories: Path | None) -> dict[str, Path]:
    """By name, the files of tokenizer, chat template and processor in these directories; where
    several have one, the first one's."""
    return {
        name: directory / name
        for directory in reversed([d for d in directories if d])
        for name in (*TOKENIZER_FILES, *PROCESSOR_FILES)
        if (directory / name).is_file()
    }
