"""Reads a few records of any format, for the tests of formats and records."""

import json

from input_pipeline.annotations import Rejected, read_annotations
from input_pipeline.examples import Example

ROOT = "/media/root"


def read(folder, records, *, root=ROOT, **options):
    """Examples and rejections of records written as JSONL."""
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return list(read_annotations(path, root, "mine", **options))


def read_one(folder, record, **options) -> Example:
    """The example of one record."""
    (found,) = read(folder, [record], **options)
    assert isinstance(found, Example), found
    return found


def reason_of(folder, record, **options) -> str:
    """Why one record is rejected."""
    (found,) = read(folder, [record], **options)
    assert isinstance(found, Rejected), found
    return found.reason
