"""Held texts from files: JSON, JSONL, CSV, Parquet or TFDS, each record with a "text"."""

from typing import NamedTuple

from absl import logging

from input_pipeline.annotations import AnnotationError, Rejected, read_records
from vsft_jax.errors import ConfigError


class Text(NamedTuple):
    """id: the record's, or its place in the file. task: what the report groups it by."""

    id: str
    text: str
    task: str


def read_texts(file: str, key: str) -> list[Text]:
    """All texts of a file that say something, in its order.

    key: of the config that names the file, for errors. Raises ConfigError for a file that cannot be
    read, a record without a text, an id that comes twice, or no text at all.
    """
    found: dict[str, Text] = {}
    blank = 0
    try:
        for record in read_records(file):
            value = record.value
            if isinstance(value, Rejected) or not isinstance(value, dict):
                raise ConfigError(f"{key}: {record.where} is no record: {value!r:.80}")
            text = value.get("text")
            if not isinstance(text, str):
                has = ", ".join(map(str, value))
                raise ConfigError(f"{key}: {record.where} has no string under 'text', but {has}")
            each = Text(str(value.get("id", record.place)), text, str(value.get("task", "text")))
            if each.id in found:
                raise ConfigError(f"{key}: {record.where} has the id {each.id!r} of another one")
            if text.strip():
                found[each.id] = each
            else:
                blank += 1
    except AnnotationError as error:
        raise ConfigError(f"{key}: {error}") from error
    if blank:
        logging.info("%s: %d records are blank and left out", file, blank)
    if not found:
        raise ConfigError(f"{key}: {file} has no text")
    return list(found.values())
