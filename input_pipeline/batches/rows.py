"""From planned rows to fixed-shape batches: decode, cut into patches, index, stack.

Which examples share a row is decided elsewhere; here step k's batch follows from k alone, so
training resumes at any step on any number of processes.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol

import grain
import numpy as np

from input_pipeline.examples import Example
from input_pipeline.layout import ExampleLayout, VisionLayout, expand_text
from input_pipeline.media import Decoder, MediaError
from input_pipeline.text.chat_tokenizer import ChatTokenizer

Mode = Literal["train", "prompt"]
RowsAtStep = Callable[[int], Sequence[Sequence[int]]]


@dataclasses.dataclass
class Batch:
    """One step's input. B rows of L text positions and N patches, which make M visual features.

    tokens:        int32[B, L]     0 where padded
    positions:     int32[B, L, 3]  from 0 in every example; (t, h, w), or three times the same
    segment_ids:   int32[B, L]     0 padding, else 1, 2, … by example
    targets:       int32[B, L]     the token to predict at this position, 0 where there is none
    loss_weights:  float32[B, L]   1 where the target is part of an answer, else 0
    visual_index:  int32[B, L, K]  the row's visual feature that stands here, or K whose weighted
                                   sum does; -1 for text, `layout.NEWLINE` for a learned newline
    visual_weights: float32[B, L, K] only where K > 1
    patches:       uint8[B, N, C]  raw RGB, columns (channel, frame of the pair, row, column)
    patch_coords:  int32[B, N, A]  place of the patch in its frame, as the family's tower needs it
    patch_frames:  int32[B, N]     0 padding, else 1, 2, … by temporal grid
    patch_windows: int32[B, N]     0 padding, else 1, 2, … by attention window
    prompt_lengths: int32[B]       prompt mode only: positions in use, 0 for an empty row

    On the host only: example_ids of each row, and failures, one record {id, source, path, reason,
    detail} for every example whose media could not be decoded. Such an example keeps its place with
    loss weights of 0 and patches of 0.

    Patches come in the order of the media, temporal grids in order, in a grid by windows, those of
    one visual feature together: windows, grids and features are contiguous runs.
    """

    tokens: np.ndarray
    positions: np.ndarray
    segment_ids: np.ndarray
    targets: np.ndarray
    loss_weights: np.ndarray
    visual_index: np.ndarray
    visual_weights: np.ndarray | None
    patches: np.ndarray
    patch_coords: np.ndarray
    patch_frames: np.ndarray
    patch_windows: np.ndarray
    prompt_lengths: np.ndarray | None
    example_ids: list[list[str]]
    failures: list[dict[str, str]]


@dataclasses.dataclass(frozen=True)
class RowShape:
    """Fixed size of every row: L text positions, N patches (whole visual features)."""

    tokens: int
    patches: int


class ExampleStore(Protocol):
    """Random access to prepared examples."""

    def __getitem__(self, i: int, /) -> tuple[Example, ExampleLayout]: ...


def build_row(
    items: Sequence[tuple[Example, ExampleLayout]],
    chat: ChatTokenizer,
    spec: VisionLayout,
    shape: RowShape,
    mode: Mode = "train",
    decoder: Decoder | None = None,
) -> dict[str, Any]:
    """Decodes and lays out one row: the fields of `Batch` without their leading axis B.

    items: the row's examples in order; none gives an empty row. mode "train" takes whole
    conversations with targets; "prompt" takes one example without its answer. decoder: None decodes
    here.

    Raises ValueError if the row does not fit, the index does not belong to this tokenizer or
    layout spec, or a prompt row holds several examples. Media that cannot be decoded raise
    nothing: see `Batch`.
    """
    _check_row(items, spec, shape, mode)
    decoder = decoder or Decoder()
    row = _empty_row(spec, shape)
    token_end = patch_end = frame_end = window_end = 0
    for segment, (example, layout) in enumerate(items, start=1):
        encode = chat.encode if mode == "train" else chat.encode_prompt
        encoded = encode(example, [spec.placeholder(medium) for medium in layout.media])
        text = expand_text(encoded.ids, layout.media, spec, chat.media_ids)
        if len(text.tokens) != layout.tokens:
            raise ValueError(
                f"example {example.id!r} has {len(text.tokens)} tokens but its index entry says "
                f"{layout.tokens}: prepare the index again with this tokenizer and mode {mode!r}"
            )
        span = slice(token_end, token_end + layout.tokens)
        row["tokens"][span] = text.tokens
        row["positions"][span] = text.positions
        row["segment_ids"][span] = segment
        first = patch_end // spec.patches_per_unit
        row["visual_index"][span] = np.where(
            text.visual_index < 0, text.visual_index, text.visual_index + first
        )
        if text.visual_weights is not None:
            row["visual_weights"][span] = text.visual_weights
        learnt = np.flatnonzero(encoded.loss_mask[text.source][1:])
        row["targets"][token_end + learnt] = text.tokens[1:][learnt]

        patches = row["patches"][patch_end : patch_end + layout.patches]
        failure = _decode_into(patches, example, layout, spec, decoder)
        if failure is None:
            row["loss_weights"][token_end + learnt] = 1.0
        else:
            patches[:] = 0
            row["failures"].append(failure)
        for medium in layout.media:
            indices = spec.patch_indices(medium)
            places = slice(patch_end, patch_end + medium.patches)
            row["patch_coords"][places] = indices.coords
            row["patch_frames"][places] = indices.frames + (frame_end + 1)
            row["patch_windows"][places] = indices.windows + (window_end + 1)
            patch_end += medium.patches
            frame_end += int(indices.frames[-1]) + 1
            window_end += int(indices.windows[-1]) + 1
        token_end += layout.tokens
        row["example_ids"].append(example.id)
    if mode == "prompt":
        row["prompt_lengths"] = np.int32(token_end)
    return row


def stack_rows(rows: Sequence[dict[str, Any]]) -> Batch:
    """B rows of `build_row` -> Batch."""
    fields = {
        name: np.stack([row[name] for row in rows])
        for name, value in rows[0].items()
        if isinstance(value, np.ndarray | np.generic)
    }
    for optional in ("prompt_lengths", "visual_weights"):
        fields.setdefault(optional, None)
    return Batch(
        **fields,
        example_ids=[row["example_ids"] for row in rows],
        failures=[failure for row in rows for failure in row["failures"]],
    )


def device_arrays(batch: Batch) -> dict[str, np.ndarray]:
    """The fields that go to the device, by name."""
    values = ((field.name, getattr(batch, field.name)) for field in dataclasses.fields(batch))
    return {name: value for name, value in values if isinstance(value, np.ndarray)}


def listed_rows(
    rows: Sequence[Sequence[int]], batch_rows: int, places: Sequence[int]
) -> RowsAtStep:
    """Batches a fixed list of rows: step -> this process's rows, of `batch_rows` over all.

    places: which of a batch's rows the process takes. The last step is filled up with empty rows,
    so that ceil(len(rows) / batch_rows) steps cover the list.
    """

    def rows_at(step: int) -> Sequence[Sequence[int]]:
        wanted = [step * batch_rows + int(place) for place in places]
        return [rows[place] if place < len(rows) else () for place in wanted]

    return rows_at


def make_batches(
    store: ExampleStore,
    rows_at: RowsAtStep,
    chat: ChatTokenizer,
    spec: VisionLayout,
    shape: RowShape,
    *,
    steps: int,
    start_step: int = 0,
    mode: Mode = "train",
    decoder: Decoder | None = None,
    threads: int = 8,
) -> Iterator[Batch]:
    """The batches of steps start_step, start_step + 1, …, steps - 1, in order.

    rows_at: step -> the rows this process loads, equally many at every step; each row lists
    positions in `store`. decoder: None decodes in the threads. Rows are built by `threads` threads,
    up to two steps or two rows a thread ahead; the result does not depend on it. Close the iterator
    (or use it up) to end the threads.

    Raises what `build_row` raises.
    """
    if start_step >= steps:
        return
    rows_per_step = len(rows_at(start_step))
    source = _PlannedRows(rows_at, rows_per_step, steps)
    decoder = decoder or Decoder()

    def build(members: Sequence[int]) -> dict[str, Any]:
        return build_row([store[int(i)] for i in members], chat, spec, shape, mode, decoder)

    rows = grain.MapDataset.source(source).slice(slice(start_step * rows_per_step, None)).map(build)
    batches = rows.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * max(rows_per_step, threads))
    ).batch(rows_per_step, batch_fn=stack_rows)
    iterator = iter(batches)
    try:
        yield from iterator
    finally:
        iterator.close()


class _PlannedRows:
    """The rows of all steps as one sequence: place k holds row k mod R of step k div R."""

    def __init__(self, rows_at: RowsAtStep, rows_per_step: int, steps: int):
        self._rows_at = functools.lru_cache(maxsize=64)(rows_at)
        self._rows_per_step = rows_per_step
        self._steps = steps

    def __len__(self) -> int:
        return self._steps * self._rows_per_step

    def __getitem__(self, place: int) -> Sequence[int]:
        step, row = divmod(int(place), self._rows_per_step)
        rows = self._rows_at(step)
        if len(rows) != self._rows_per_step:
            raise ValueError(
                f"step {step} has {len(rows)} rows, the steps before have {self._rows_per_step}"
            )
        return rows[row]


def _check_row(items, spec: VisionLayout, shape: RowShape, mode: Mode) -> None:
    if mode not in ("train", "prompt"):
        raise ValueError(f'mode must be "train" or "prompt", got {mode!r}')
    if mode == "prompt" and len(items) > 1:
        raise ValueError(f"a prompt row holds one example, got {len(items)}")
    if shape.patches % spec.patches_per_unit:
        raise ValueError(
            f"a row's {shape.patches} patches must be a multiple of {spec.patches_per_unit}, the "
            "patches of one visual feature"
        )
    tokens = sum(layout.tokens for _, layout in items)
    patches = sum(layout.patches for _, layout in items)
    if tokens > shape.tokens or patches > shape.patches:
        names = [example.id for example, _ in items]
        raise ValueError(
            f"examples {names} take {tokens} tokens and {patches} patches, a row has room for "
            f"{shape.tokens} and {shape.patches}"
        )


def _empty_row(spec: VisionLayout, shape: RowShape) -> dict[str, Any]:
    length, count = shape.tokens, shape.patches
    row = {
        "tokens": np.zeros(length, np.int32),
        "positions": np.zeros((length, 3), np.int32),
        "segment_ids": np.zeros(length, np.int32),
        "targets": np.zeros(length, np.int32),
        "loss_weights": np.zeros(length, np.float32),
        "visual_index": np.full((length, spec.taps), -1, np.int32),
        "patches": np.zeros((count, spec.patch_dim), np.uint8),
        "patch_coords": np.zeros((count, spec.coord_columns), np.int32),
        "patch_frames": np.zeros(count, np.int32),
        "patch_windows": np.zeros(count, np.int32),
        "example_ids": [],
        "failures": [],
    }
    if spec.taps > 1:
        row["visual_weights"] = np.zeros((length, spec.taps), np.float32)
    return row


def _decode_into(
    patches: np.ndarray,
    example: Example,
    layout: ExampleLayout,
    spec: VisionLayout,
    decoder: Decoder,
) -> dict[str, str] | None:
    """Fills the example's patches uint8[P, C]; the failure record if a medium cannot be decoded."""
    start = 0
    for ref, medium in zip(example.media, layout.media, strict=True):
        try:
            frames = decoder.frames(ref, medium.frame_indices, spec.decode_size(medium))
        except MediaError as error:
            return {
                "id": example.id,
                "source": example.source,
                "path": error.path,
                "reason": error.reason,
                "detail": error.detail,
            }
        spec.write_patches(frames, medium, patches[start : start + medium.patches])
        start += medium.patches
    return None
