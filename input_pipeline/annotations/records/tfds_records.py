"""Records of a TFDS data set, by random access and without TensorFlow.

A path is "<folder>/<split>", or the folder alone where the set has one split; the folder is the one
that holds features.json. The set must be stored as ArrayRecord (or another format that TFDS
reads without TensorFlow).
"""

import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from input_pipeline.annotations.records.reference import make_reference
from input_pipeline.annotations.rejected import AnnotationError

_FEATURES_FILE = "features.json"  # other libraries write a dataset_info.json too


def is_tfds(path: str) -> bool:
    """Whether a path is a TFDS folder, or a split of one."""
    folders = (path, os.path.dirname(path))
    return not os.path.isfile(path) and any(
        os.path.isfile(os.path.join(folder, _FEATURES_FILE)) for folder in folders
    )


def read(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row from 1, record) for each row. Raises AnnotationError."""
    source, features, place = _source(path)
    for row in range(len(source)):
        yield row + 1, _plain(source[row], features, place, row, ())


def count(path: str) -> int:
    """The number of rows. Raises AnnotationError."""
    return len(_source(path)[0])


def fingerprint(path: str) -> str:
    """A hash of the set's description and of its files' names, sizes and times of change."""
    folder, _ = _folder_and_split(path)
    digest = hashlib.sha256(path.encode())
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        status = entry.stat()
        digest.update(f"{entry.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def unit(path: str) -> str:
    """What one record is called."""
    return "row"


def read_bytes(path: str, row: int, column: tuple[str, ...]) -> bytes:
    """The bytes under `column` of row `row` (from 0). Raises OSError or LookupError."""
    try:
        source, _, _ = _source(path)
    except AnnotationError as error:
        raise OSError(str(error)) from error
    if row >= len(source):
        raise LookupError(f"{path} has no row {row} (from 0)")
    value = source[row]
    for i, name in enumerate(column):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list | np.ndarray) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name.isdigit():  # a sequence of records: {name: [values]}
            value = {key: values[int(name)] for key, values in value.items()}
        else:
            raise LookupError(f"{path}, row {row}: nothing under {'/'.join(column[: i + 1])!r}")
    if not isinstance(value, bytes):
        raise LookupError(f"{path}, row {row}: no bytes under {'/'.join(column)!r}")
    return value


def _folder_and_split(path: str) -> tuple[str, str | None]:
    if os.path.isfile(os.path.join(path, _FEATURES_FILE)):
        return path, None
    return os.path.dirname(path), os.path.basename(path)


@functools.lru_cache(maxsize=16)
def _source(path: str) -> tuple[Any, Any, str]:
    """(rows by random access with their images still encoded, their features, path with split)."""
    import tensorflow_datasets as tfds  # takes seconds

    folder, split = _folder_and_split(path)
    try:
        builder = tfds.builder_from_directory(folder)
        splits = sorted(builder.info.splits)
        if split is None and len(splits) == 1:
            split = splits[0]
        if split is None or split not in splits:
            raise AnnotationError(
                f"TFDS folder {folder} has the splits {splits}: name one, as in "
                f"{os.path.join(folder, (splits or ['train'])[0])}"
            )
        features = builder.info.features
        source = builder.as_data_source(split, decoders=_undecoded(features, tfds))
    except (ImportError, NotImplementedError, ValueError) as error:
        raise AnnotationError(
            f"TFDS folder {folder} cannot be read without TensorFlow: {error}; build it with "
            'file_format="array_record" and without Video features'
        ) from error
    return source, features, os.path.join(folder, split)


def _undecoded(features: Any, tfds: Any) -> dict[str, Any]:
    """Decoders that leave images as the bytes of their files."""

    class Encoded(tfds.decode.SkipDecoding):
        def decode_batch_example_np(self, examples: Iterable[bytes]) -> list[bytes]:
            return list(examples)

    found = {}
    for name, feature in features.items():
        inner = getattr(feature, "feature", feature)  # of a sequence
        if isinstance(inner, tfds.features.Image):
            found[name] = Encoded()
        elif isinstance(inner, tfds.features.FeaturesDict):
            found |= {name: nested} if (nested := _undecoded(inner, tfds)) else {}
    return found


def _plain(value: Any, feature: Any, path: str, row: int, place: tuple[str, ...]) -> Any:
    """JSON values with references for bytes. TFDS has no missing values: "" stands for one."""
    import tensorflow_datasets as tfds

    def inner(value: Any, feature: Any, name: str) -> Any:
        return _plain(value, feature, path, row, (*place, name))

    if isinstance(feature, tfds.features.FeaturesDict):
        return {name: inner(value[name], part, name) for name, part in feature.items()}
    if isinstance(feature, tfds.features.Sequence):
        part = feature.feature
        if isinstance(part, tfds.features.FeaturesDict):  # came as {name: [values]}
            length = len(next(iter(value.values()), ()))
            value = [{name: values[i] for name, values in value.items()} for i in range(length)]
        return [inner(item, part, str(i)) for i, item in enumerate(value)]
    if isinstance(feature, tfds.features.ClassLabel):
        return feature.int2str(int(value)) if value >= 0 else None
    if isinstance(value, bytes):
        if isinstance(feature, tfds.features.Text):
            return value.decode("utf-8", "replace") or None
        return make_reference(path, row, place) if value else None
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
