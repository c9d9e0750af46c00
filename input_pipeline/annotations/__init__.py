"""Annotation files in, examples out, whatever the format of the records and the kind of file.

`read_annotations` gives an `Example`, or a `Rejected` with the reason, for every record; nothing is
dropped and nothing repaired by guessing. Media are not opened: `MediaRef`s say where they are, and
bytes inside annotation files stay there until `read_record_bytes` follows a reference to them.
"""

from input_pipeline.annotations.conversation import place_media
from input_pipeline.annotations.formats.shards import medium_name
from input_pipeline.annotations.notes import Notes
from input_pipeline.annotations.presets import PRESETS, columns_of
from input_pipeline.annotations.read import Place, read_annotations, read_with_places
from input_pipeline.annotations.records import (
    count_records,
    fingerprint_records,
    is_record,
    read_record_bytes,
    read_records,
    record_file,
)
from input_pipeline.annotations.rejected import REASONS, AnnotationError, Rejected

__all__ = [
    "AnnotationError",
    "Notes",
    "PRESETS",
    "Place",
    "REASONS",
    "Rejected",
    "columns_of",
    "count_records",
    "fingerprint_records",
    "is_record",
    "medium_name",
    "place_media",
    "read_annotations",
    "read_record_bytes",
    "read_records",
    "read_with_places",
    "record_file",
]
