"""Prepare: annotations → probe → budget → layout → one self-contained parquet index per data set.

Everything that decides what a row of training looks like happens here, from metadata, before any
full decode. The index is cached by content: the same annotation file, tokenizer, layout and
frame-budget spec give the same file name, and nothing is done twice.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import logging

from input_pipeline import frame_budget
from input_pipeline.annotations import Rejected, read_annotations
from input_pipeline.chat import ChatError, ChatTokenizer
from input_pipeline.decode import decode_frames
from input_pipeline.examples import Example, MediaRef
from input_pipeline.layout import (
    ExampleLayout,
    LayoutError,
    TooLong,
    VisionLayout,
    layout_example,
)
from input_pipeline.media import MediaError, MediaInfo, probe
from input_pipeline.progress import Progress
from input_pipeline.quarantine import Quarantine
from input_pipeline.sampling import uniform_frame_indices

_VERSION = 3  # raise when the meaning of a column changes: old indexes are then not reused
_PREVIEW_PIXELS = 64  # longest side of the frames that a policy may look at


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """One data set to prepare. mode: "train" keeps the answer, "prompt" leaves it out."""

    name: str
    annotations: str
    media_root: str
    mode: str = "train"


@dataclasses.dataclass(frozen=True)
class IndexSpec:
    """What a prepared index depends on besides the data: tokenizer, layout, limits, policy."""

    tokenizer_dir: str
    layout: VisionLayout
    frames: Mapping[str, Any]
    max_tokens: int
    max_patches: int

    def file_name(self, dataset: DatasetSpec) -> str:
        """A name that changes whenever the content of the index would."""
        digest = hashlib.sha256()
        for path in (dataset.annotations, Path(self.tokenizer_dir) / "tokenizer.json"):
            digest.update(Path(path).read_bytes())
        rules = type(self.layout)
        facts = [_VERSION, dataset.media_root, dataset.mode, f"{rules.__module__}.{rules.__name__}"]
        facts += [dataclasses.asdict(self.layout)]
        facts += [self.max_tokens, self.max_patches, frame_budget.spec_hash(self.frames)]
        digest.update(json.dumps(facts, sort_keys=True).encode())
        return f"{dataset.name}-{dataset.mode}-{digest.hexdigest()[:16]}"


class ExampleStore:
    """Random access to prepared examples.

    store[i] → (Example, ExampleLayout); `tokens`, `patches`, `budgets`: int64[n] columns.
    """

    def __init__(self, table: pa.Table):
        self._table = table
        self.tokens = self._table["tokens"].to_numpy().astype(np.int64)
        self.patches = self._table["patches"].to_numpy().astype(np.int64)
        self.budgets = self._table["frames"].to_numpy().astype(np.int64)

    @classmethod
    def open(cls, path: Path) -> "ExampleStore":
        """Opens an index file written by `prepare`."""
        return cls(pq.read_table(path, memory_map=True))

    @classmethod
    def concatenate(cls, stores: Sequence["ExampleStore"]) -> "ExampleStore":
        """All examples of several stores, one store after another."""
        return cls(pa.concat_tables([store._table for store in stores]))

    def __len__(self) -> int:
        return self._table.num_rows

    def __getitem__(self, i: int) -> tuple[Example, ExampleLayout]:
        example = Example.from_json(self._table["example"][i].as_py())
        return example, ExampleLayout.from_json(self._table["layout"][i].as_py())

    def why(self, i: int) -> str:
        """Why the example got its frame budget; "" where there is no video."""
        return self._table["why"][i].as_py()


def prepare(
    dataset: DatasetSpec,
    spec: IndexSpec,
    index_dir: Path,
    *,
    workers: int = 4,
) -> tuple[Path, dict[str, Any]]:
    """Prepares one data set, or finds it prepared. Returns the parquet path and its summary.

    Columns: id, source, example (JSON), layout (JSON), tokens, patches, visual_tokens, frames (the
    largest budget among the example's videos, 0 without video), why. What cannot be used is written
    to <name>.quarantine.jsonl with its reason and counted in the summary; the rest goes on.
    Raises AnnotationError for an annotation file that cannot be read at all, and ValueError when
    nothing usable is left.
    """
    index_dir.mkdir(parents=True, exist_ok=True)
    name = spec.file_name(dataset)
    parquet, summary_path = index_dir / f"{name}.parquet", index_dir / f"{name}.summary.json"
    if parquet.exists() and summary_path.exists():
        return parquet, json.loads(summary_path.read_text())

    quarantine_path = index_dir / f"{name}.quarantine.jsonl"
    quarantine_path.unlink(missing_ok=True)
    columns: dict[str, list] = collections.defaultdict(list)
    counts = collections.Counter()
    with Quarantine(quarantine_path) as quarantine:
        for row in _rows(dataset, spec, workers):
            if isinstance(row, Rejected):
                quarantine.add(
                    source=dataset.name,
                    id=row.id or f"record {row.record}",
                    path=row.path or dataset.annotations,
                    stage=row.stage,
                    reason=row.reason,
                    detail=row.detail,
                )
                continue
            counts[row["shrunk"]] += 1
            for key, value in row.items():
                columns[key].append(value)
        rejected = dict(quarantine.counts)
    if not columns:
        raise ValueError(
            f"no usable example in {dataset.annotations}: {rejected}, see {quarantine_path}"
        )
    summary = _summary(dataset, spec, columns, counts, rejected)
    _write_atomically(parquet, lambda path: pq.write_table(pa.table(dict(columns)), path))
    _write_atomically(
        summary_path,
        lambda path: path.write_text(json.dumps(summary, indent=1, ensure_ascii=False)),
    )
    return parquet, summary


def lay_out(examples: Sequence[Example], spec: IndexSpec, *, mode: str) -> ExampleStore:
    """Prepares a few examples in memory, as `prepare` does for a data set.

    Raises ValueError naming the first example or file that cannot be used.
    """
    row_of = _RowMaker(spec, mode)
    rows = [row_of(example) for example in examples]
    for row in rows:
        if isinstance(row, Rejected):
            raise ValueError(f"{row.path or row.id}: {row.reason}: {row.detail}")
    return ExampleStore(pa.Table.from_pylist(rows))


def _rows(
    dataset: DatasetSpec, spec: IndexSpec, workers: int
) -> Iterator[dict[str, Any] | Rejected]:
    """Rows in the order of the annotations, computed by `workers` threads."""
    records = list(read_annotations(dataset.annotations, dataset.media_root, dataset.name))
    with (
        ThreadPoolExecutor(workers) as pool,
        Progress(f"prepare {dataset.name}", total=len(records)) as progress,
    ):
        for row in pool.map(_RowMaker(spec, dataset.mode), records):
            progress.advance()
            yield row


class _RowMaker:
    """Example → row of the index, or the reason why there is none. Safe to share by threads."""

    def __init__(self, spec: IndexSpec, mode: str):
        self._spec = spec
        tokenizer = ChatTokenizer.load(spec.tokenizer_dir, spec.layout.media_tokens)
        self._encode = tokenizer.encode if mode == "train" else tokenizer.encode_prompt
        self._policy = frame_budget.make_policy(spec.frames)

    def __call__(self, record: Example | Rejected) -> dict[str, Any] | Rejected:
        if isinstance(record, Rejected):
            return record
        stage = "probe"
        try:
            infos = [_media_info(ref) for ref in record.media]
            stage = "preview"
            return self._row(record, infos)
        except MediaError as error:
            return Rejected(None, record.id, error.reason, error.detail, error.path, stage)
        except LayoutError as error:
            reason = "too_long" if isinstance(error, TooLong) else error.reason
            return Rejected(None, record.id, reason, str(error), None, "layout")
        except ChatError as error:
            return Rejected(None, record.id, "chat_template", str(error), None, "layout")

    def _row(self, example: Example, infos: Sequence[MediaInfo]) -> dict[str, Any]:
        spec = self._spec
        budgets = [
            self._policy(
                frame_budget.BudgetQuery(
                    example.id,
                    example.instruction,
                    info,
                    functools.partial(_preview, ref),
                )
            )
            for ref, info in zip(example.media, infos, strict=True)
        ]
        layout = layout_example(
            spec.layout,
            lambda media: self._encode(example, [spec.layout.placeholder(m) for m in media]),
            infos,
            [budget.frames for budget in budgets],
            spec.max_tokens,
            spec.max_patches,
        )
        clips = [i for i, info in enumerate(infos) if info.kind == "video"]
        return {
            "id": example.id,
            "source": example.source,
            "example": example.to_json(),
            "layout": layout.to_json(),
            "tokens": layout.tokens,
            "patches": layout.patches,
            "visual_tokens": sum(medium.tokens for medium in layout.media),
            "frames": max((len(layout.media[i].frame_indices) for i in clips), default=0),
            "why": "; ".join(budgets[i].why for i in clips),
            "shrunk": layout.shrunk,
        }


def _media_info(ref: MediaRef) -> MediaInfo:
    """Probes a file once in a process, however many examples and policies ask about it."""
    return _probe(ref, _stamp(ref.path))


def _preview(ref: MediaRef, count: int) -> np.ndarray:
    """uint8[F, h, w, 3]: at most `count` small frames of a clip, spread over its length."""
    return _decode_preview(ref, _stamp(ref.path), count)


def _stamp(path: str) -> tuple[int, int] | None:
    """Changes when the file does; None for a file that is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=65536)
def _probe(ref: MediaRef, stamp: tuple[int, int] | None) -> MediaInfo:
    return probe(ref)


@functools.lru_cache(maxsize=64)
def _decode_preview(ref: MediaRef, stamp: tuple[int, int] | None, count: int) -> np.ndarray:
    indices = uniform_frame_indices(_probe(ref, stamp).frame_times, count)
    frames = decode_frames(ref.path, indices)
    height, width = frames.shape[1:3]
    scale = min(1.0, _PREVIEW_PIXELS / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames])


def _summary(dataset, spec, columns, shrunk_counts, rejected) -> dict[str, Any]:
    """What a person wants to know about a prepared data set; JSON values only."""
    frames = np.array(columns["frames"])
    videos = np.flatnonzero(frames > 0)
    histogram = collections.Counter(frames[videos].tolist())
    left_out = rejected.get("too_long", 0)
    spread = {}  # a first example of each budget, so that every choice can be looked at
    for i in videos:
        spread.setdefault(int(frames[i]), int(i))
    return {
        "dataset": dataset.name,
        "mode": dataset.mode,
        "examples": len(frames) + sum(rejected.values()),
        "kept": len(frames),
        "quarantined": {reason: n for reason, n in rejected.items() if reason != "too_long"},
        "left_out": left_out,  # does not fit into a row even when shrunk
        "shrunk": {kind: n for kind, n in shrunk_counts.items() if kind},
        "tokens": int(np.sum(columns["tokens"])),
        "visual_tokens": int(np.sum(columns["visual_tokens"])),
        "frame_policy": frame_budget.make_policy(spec.frames).spec,
        "histogram": {str(k): histogram[k] for k in sorted(histogram)},
        "mean_frames": float(frames[videos].mean()) if len(videos) else 0.0,
        "budget_examples": [
            {
                "id": columns["id"][i],
                "instruction": Example.from_json(columns["example"][i]).instruction,
                "frames": budget,
                "why": columns["why"][i],
            }
            for budget, i in sorted(spread.items())
        ],
    }


def log_summary(summary: Mapping[str, Any]) -> None:
    """Prints one prepared data set: counts, what was dropped, budgets with their reasons."""
    logging.info(
        "%s (%s): %d of %d examples, %d tokens of which %d visual; shrunk %s, too long %d, "
        "quarantined %s",
        summary["dataset"],
        summary["mode"],
        summary["kept"],
        summary["examples"],
        summary["tokens"],
        summary["visual_tokens"],
        summary["shrunk"] or "none",
        summary["left_out"],
        summary["quarantined"] or "none",
    )
    if not summary["histogram"]:
        return
    label = frame_budget.spec_label(summary["frame_policy"])
    logging.info("  frame budgets (%s), mean %.1f:", label, summary["mean_frames"])
    largest = max(summary["histogram"].values())
    for frames, count in summary["histogram"].items():
        logging.info("  %4s frames %7d %s", frames, count, "█" * round(40 * count / largest))
    for example in summary["budget_examples"]:
        logging.info("  %r → %s", example["instruction"].splitlines()[0][:90], example["why"])


def _write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    write(partial)
    os.replace(partial, path)
