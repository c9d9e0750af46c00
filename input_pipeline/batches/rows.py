"""One row of a batch: its examples tokenised, decoded and cut into patches, one after the other."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from input_pipeline.batches.batch import RowShape
from input_pipeline.batches.slices import deal_grids
from input_pipeline.examples import Example, MediaRef
from input_pipeline.layout import ExampleLayout, MediaLayout, VisionLayout, expand_text
from input_pipeline.media import Decoder, MediaError
from input_pipeline.text import ChatTokenizer

Mode = Literal["train", "prompt"]
Item = tuple[Example, ExampleLayout]


def build_row(
    items: Sequence[Item],
    chat: ChatTokenizer,
    rules: VisionLayout,
    shape: RowShape,
    mode: Mode = "train",
    decoder: Decoder | None = None,
) -> dict[str, Any]:
    """Decodes and lays out one row: the fields of `Batch` without their leading axis B.

    items: the row's examples in order; none gives an empty row. rules: those that the examples were
    laid out by. mode "train" takes whole conversations with targets; "prompt" takes the beginnings
    of prompts, as many tokens of each as its layout says. decoder: None decodes here.

    Raises ValueError if the row does not fit, or the index does not belong to this tokenizer or
    these rules. Media that cannot be decoded raise nothing: see `Batch`.
    """
    _check_row(items, rules, shape, mode)
    decoder = decoder or Decoder()
    row = empty_row(rules, shape)
    texts = _spans(layout.tokens for _, layout in items)
    pictures = _spans(layout.patches for _, layout in items)
    for segment, (item, here, there) in enumerate(zip(items, texts, pictures, strict=True), 1):
        row["example_ids"].append(item[0].id)
        row["segment_ids"][here] = segment
        row["clips"][here] = any(medium.kind == "video" for medium in item[1].media)
        first_feature = there.start // rules.patches_per_unit
        learnt = _write_text(row, here, first_feature, item, chat, rules, mode)
        failure = _decode_into(row["patches"][there], item, rules, decoder)
        if failure is None:
            row["loss_weights"][here][learnt] = 1.0
        else:
            row["patches"][there] = 0
            row["failures"].append(failure)
    _place_patches(row, [medium for _, layout in items for medium in layout.media], rules)
    if shape.slices > 1:
        deal_grids(row, shape.slices, rules.patches_per_unit)
    return row


def _check_row(items: Sequence[Item], rules: VisionLayout, shape: RowShape, mode: Mode) -> None:
    if mode not in ("train", "prompt"):
        raise ValueError(f'mode must be "train" or "prompt", got {mode!r}')
    if shape.patches % rules.patches_per_unit:
        raise ValueError(
            f"a row's {shape.patches} patches must be a multiple of {rules.patches_per_unit}, the "
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


def empty_row(rules: VisionLayout, shape: RowShape) -> dict[str, Any]:
    """A row with no example in it: the fields of `build_row` in its shapes and dtypes."""
    length, count = shape.tokens, shape.patches
    row = {
        "tokens": np.zeros(length, np.int32),
        "positions": np.zeros((length, 3), np.int32),
        "segment_ids": np.zeros(length, np.int32),
        "targets": np.zeros(length, np.int32),
        "loss_weights": np.zeros(length, np.float32),
        "clips": np.zeros(length, bool),
        "visual_index": np.full((length, rules.taps), -1, np.int32),
        "patches": np.zeros((count, rules.patch_dim), np.uint8),
        "patch_coords": np.zeros((count, rules.coord_columns), np.int32),
        "patch_frames": np.zeros(count, np.int32),
        "patch_windows": np.zeros(count, np.int32),
        "example_ids": [],
        "failures": [],
    }
    if rules.taps > 1:
        row["visual_weights"] = np.zeros((length, rules.taps), np.float32)
    return row


def _spans(lengths: Iterable[int]) -> list[slice]:
    """Where pieces of these lengths stand, one after the other from 0."""
    ends = itertools.accumulate(lengths, initial=0)
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]


def _write_text(
    row: dict[str, Any],
    here: slice,
    first_feature: int,
    item: Item,
    chat: ChatTokenizer,
    rules: VisionLayout,
    mode: Mode,
) -> np.ndarray:
    """Writes an example's text, visual tokens and targets into its part of the row.

    Returns the positions, int64[k] from the part's beginning, that predict a token of an answer.
    """
    example, layout = item
    encode = chat.encode if mode == "train" else chat.encode_prompt
    encoded = encode(example, [rules.placeholder(medium) for medium in layout.media])
    text = expand_text(encoded.ids, layout.media, rules, chat.media_ids)
    count = layout.tokens
    if len(text.tokens) < count or (mode == "train" and len(text.tokens) > count):
        raise ValueError(
            f"example {example.id!r} has {len(text.tokens)} tokens but its index entry says "
            f"{layout.tokens}: prepare the index again with this tokenizer and mode {mode!r}"
        )
    row["tokens"][here] = text.tokens[:count]
    row["positions"][here] = text.positions[:count]
    index = text.visual_index[:count]
    row["visual_index"][here] = np.where(index < 0, index, index + first_feature)
    if text.visual_weights is not None:
        row["visual_weights"][here] = text.visual_weights[:count]
    learnt = np.flatnonzero(encoded.loss_mask[text.source][1:])
    row["targets"][here][learnt] = text.tokens[learnt + 1]
    return learnt


def _decode_into(
    patches: np.ndarray, item: Item, rules: VisionLayout, decoder: Decoder
) -> dict[str, str] | None:
    """Fills the example's patches uint8[P, C]; the failure record if a medium cannot be decoded."""
    example, layout = item
    spans = _spans(medium.patches for medium in layout.media)
    for ref, medium, span in zip(example.media, layout.media, spans, strict=True):
        try:
            frames = _shown_frames(ref, medium, rules, decoder)
        except MediaError as error:
            return {
                "id": example.id,
                "source": example.source,
                "path": error.path,
                "reason": error.reason,
                "detail": error.detail,
            }
        rules.write_patches(frames, medium, patches[span])
    return None


def _shown_frames(
    ref: MediaRef, medium: MediaLayout, rules: VisionLayout, decoder: Decoder
) -> np.ndarray:
    """Decoded in the order of the clip, given in that of the layout."""
    order = np.argsort(medium.frame_indices, kind="stable")
    indices = [medium.frame_indices[i] for i in order]
    frames = decoder.frames(ref, indices, rules.decode_size(medium))
    return frames if indices == list(medium.frame_indices) else frames[np.argsort(order)]


def _place_patches(row: dict[str, Any], media: Sequence[MediaLayout], rules: VisionLayout) -> None:
    """Writes where each patch stands, and which grid and which window of the row it belongs to."""
    frames, windows = 1, 1  # the next to count; a medium's own count from 0
    for medium, span in zip(media, _spans(medium.patches for medium in media), strict=True):
        indices = rules.patch_indices(medium)
        row["patch_coords"][span] = indices.coords
        row["patch_frames"][span] = frames + indices.frames
        row["patch_windows"][span] = windows + indices.windows
        frames += int(indices.frames[-1]) + 1
        windows += int(indices.windows[-1]) + 1
