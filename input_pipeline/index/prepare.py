"""Prepare: annotations → probe → budget → layout → one self-contained index per data set.

Everything that decides what a row of training looks like happens here, from metadata, before any
full decode. The index is cached by content: the same annotation file, tokenizer, layout and
frame-budget spec give the same file name, and nothing is done twice. What files were found to be is
cached by itself, so that a changed spec opens none of them again.
"""

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from input_pipeline import frame_budget
from input_pipeline.annotations import Rejected, fingerprint_records
from input_pipeline.examples import Example
from input_pipeline.index.left_out import main_reasons
from input_pipeline.index.pieces import CHUNK_RECORDS, DatasetSpec, build_pieces
from input_pipeline.index.quarantine import (
    BadFraction,
    TooManyBad,
    join_quarantines,
    quarantine_of,
)
from input_pipeline.index.rows import IndexSpec, RowMaker
from input_pipeline.index.store import SCHEMA, ExampleStore, join
from input_pipeline.index.summary import log_summary, read_summary, summarise, write_summary
from input_pipeline.index.texts import SCHEMA as TEXTS_SCHEMA
from input_pipeline.index.texts import Texts
from input_pipeline.layout import LayoutError
from input_pipeline.media import PASSING, Decoder
from input_pipeline.text import TEXT_FILES

_VERSION = 7  # raise when the meaning of a column changes: old indexes are then not reused
_PROBES = "probes.sqlite"


def prepare(
    dataset: DatasetSpec,
    spec: IndexSpec,
    index_dir: Path,
    *,
    workers: int = 4,
    processes: bool = False,
    decoder: Decoder | None = None,
    chunk_records: int = CHUNK_RECORDS,
    max_bad_fraction: float = 1.0,
    retry: bool = False,
    verify: bool = True,
) -> tuple[Path, dict[str, Any]]:
    """Prepares one data set, or finds it prepared. Returns the index file and its summary. While
    another process prepares the same one, it waits for that.

    workers: threads, or with `processes` processes, that work on examples. decoder: looks into
    media; None does so in the workers. chunk_records: after so many records the work done is kept,
    whatever happens to the process; see `pieces`. max_bad_fraction: of all examples. retry:
    prepares again what was left out for reasons that may be gone (`PASSING` media errors).
    verify: an index that is found is compared with its checksum, which reads it; one that is
    damaged is made again.

    The file's columns are those of `store.SCHEMA`. What cannot be used is written to
    <name>.quarantine.jsonl with its reason and counted in the summary; the rest goes on.
    Raises AnnotationError for an annotation file that cannot be read at all, TooManyBad when more
    than `max_bad_fraction` cannot be used, and ValueError when nothing usable is left.
    """
    index_dir.mkdir(parents=True, exist_ok=True)
    name, texts = _names(dataset, spec)
    path = index_dir / f"{name}.arrow"
    summary = _found(path, dataset.name, retry=retry, verify=verify)
    if summary is None:
        again = path.exists()
        with _lock(path):
            # Another process may have been at it meanwhile.
            summary = None if again else _found(path, dataset.name, retry=False, verify=verify)
            if summary is None:
                summary = _build(
                    path,
                    dataset,
                    spec,
                    texts=index_dir / f"{texts}.texts-{chunk_records}",
                    workers=workers,
                    processes=processes,
                    decoder=decoder or Decoder(),
                    chunk_records=chunk_records,
                    bad=BadFraction(max_bad_fraction, quarantine_of(path)),
                )
    else:
        logging.info(
            "%s (%s): %d examples, prepared before", dataset.name, dataset.mode, summary["kept"]
        )
    return path, summary


def _found(path: Path, name: str, *, retry: bool, verify: bool) -> dict[str, Any] | None:
    """The summary of an index that is there, unless it is to be made again."""
    summary = read_summary(path, verify=verify)
    if summary is None:
        return None
    passing = {r: n for r, n in summary["quarantined"].items() if r in PASSING}
    if not passing:
        return summary
    logging.warning(
        "%s: %d examples were left out for reasons that may be gone, %s; %s",
        *(name, sum(passing.values()), passing),
        "looking at them again" if retry else "--job=prepare looks at them again",
    )
    return None if retry else summary


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Only one process on this file system at a time, where it has locks."""
    with open(path.with_suffix(".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.info("waiting for the process that prepares %s", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            logging.warning("%s cannot be locked (%s): prepare it in one process", path, error)
        yield


def _build(
    path: Path,
    dataset: DatasetSpec,
    spec: IndexSpec,
    *,
    texts: Path,
    chunk_records: int,
    **options: Any,
) -> dict[str, Any]:
    """Makes the pieces, joins them into the index, and writes and returns its summary. texts: where
    they are kept."""
    folder = path.with_name(f"{path.stem}.pieces-{chunk_records}")
    options |= {"probe_cache": path.with_name(_PROBES), "chunk_records": chunk_records}
    kept = Texts(texts, dataset.columns)
    try:
        pieces, notes = build_pieces(dataset, spec, folder, texts=kept, **options)
    except TooManyBad as error:
        # Something is wrong that a person will put right: what it spoiled must not stay.
        join_quarantines(path, sorted(folder.glob("*.arrow")))
        shutil.rmtree(folder)
        kept.remove()
        raise TooManyBad("\n".join([str(error), *main_reasons(path)])) from None
    rejected = join_quarantines(path, pieces)
    join(path, pieces)
    store = ExampleStore.open(path)
    if not len(store):
        shutil.rmtree(folder)
        kept.remove()
        counts = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
        head = f"no usable example in {dataset.annotations}: {counts or 'it has none'}"
        where = f"all of them: {quarantine_of(path)}"
        raise TooManyBad("\n".join([head, *main_reasons(path), where]))
    summary = summarise(dataset.name, dataset.mode, spec.frame_policy, store, rejected, notes)
    for note in notes:
        logging.warning("%s: %s", dataset.name, note)
    write_summary(path, summary)
    log_summary(summary)
    shutil.rmtree(folder)
    return summary


def lay_out(
    examples: Sequence[Example], spec: IndexSpec, *, mode: str, decoder: Decoder | None = None
) -> ExampleStore:
    """Prepares a few examples in memory, as `prepare` does for a data set.

    Raises LayoutError naming the first example or file that cannot be used.
    """
    make_row = RowMaker(spec, mode, decoder or Decoder())
    rows = []
    for example in examples:
        row = make_row(example).row
        if isinstance(row, Rejected):
            raise LayoutError(row.reason, f"{row.path or row.id}: {row.reason}: {row.detail}")
        rows.append(row)
    return ExampleStore.of_rows(rows)


def _names(dataset: DatasetSpec, spec: IndexSpec) -> tuple[str, str]:
    """A name that changes whenever the content of the index would, and one that does whenever that
    of its `Texts` would."""
    digest = hashlib.sha256(fingerprint_records(dataset.annotations).encode())
    for file in (Path(spec.tokenizer_dir) / name for name in TEXT_FILES):
        digest.update(file.read_bytes() if file.is_file() else b"")
    rules = type(spec.layout)
    facts = [_VERSION, dataset.media_root, dataset.mode, f"{rules.__module__}.{rules.__name__}"]
    facts += [SCHEMA.to_string(), dataset.format, dataset.name, vars(spec.layout)]
    facts += [dict(dataset.columns)] if dataset.columns else []
    facts += [spec.max_tokens, spec.max_patches, frame_budget.spec_hash(spec.frame_policy)]
    facts += [spec.reasoning, spec.row_slices]
    of_text = [_VERSION, vars(dataset) | {"columns": dict(dataset.columns)}, spec.reasoning]
    of_text += [dict(spec.layout.media_tokens), TEXTS_SCHEMA.to_string()]
    of_text += [spec.layout.clip_template] if spec.layout.clip_template else []
    return _name(dataset, digest, facts), _name(dataset, digest, of_text)


def _name(dataset: DatasetSpec, files: Any, facts: Sequence[Any]) -> str:
    """files: a digest of those that were read."""
    digest = files.copy()
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return f"{dataset.name}-{dataset.mode}-{digest.hexdigest()[:16]}"
