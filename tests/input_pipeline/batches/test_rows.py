"""Rows against hand-made expectations, and packed rows against examples alone."""

import dataclasses

import numpy as np
import pytest

from input_pipeline.batches import RowShape, build_row, device_arrays, stack_rows
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.layout import layout_example
from input_pipeline.layout.patches import patchify
from input_pipeline.media import probe
from input_pipeline.media.frames import decode_frames
from tests.input_pipeline.batches.small_rows import PATCH_FIELDS, RULES, SHAPE, TEXT_FIELDS


def test_fields_of_a_mixed_row_by_hand(store, chat, media):
    row = build_row([store[0], store[2]], chat, RULES, SHAPE)
    text, mixed = store[0][1], store[2][1]
    video, image = mixed.media
    assert (video.grid, image.grid) == ((2, 6, 8), (1, 2, 4))
    n0, n1 = text.tokens, mixed.tokens
    used = n0 + n1

    expected_segments = [1] * n0 + [2] * n1 + [0] * (192 - used)
    assert row["segment_ids"].tolist() == expected_segments
    assert not row["tokens"][used:].any() and not row["positions"][used:].any()
    assert row["positions"][:n0].tolist() == [[i] * 3 for i in range(n0)]

    # 24 video tokens and 2 image tokens stand where the placeholders stood.
    tokens, index = row["tokens"], row["visual_index"][:, 0]
    where_video = np.flatnonzero(tokens == chat.media_ids["video"])
    where_image = np.flatnonzero(tokens == chat.media_ids["image"])
    assert len(where_video) == 24 and (np.diff(where_video) == 1).all()
    # One window holds the whole 3 × 4 grid, so window order is reading order.
    assert index[where_video].tolist() == list(range(24))
    assert index[where_image].tolist() == [24, 25]
    assert (np.delete(index, [*where_video, *where_image]) == -1).all()
    # 4 frames at 2 a second: a grid a second, two ids a second; 3 × 4 units.
    start = row["positions"][where_video[0]]
    assert row["positions"][where_video[0] - 1].tolist() == (start - 1).tolist()
    relative = row["positions"][where_video] - start
    assert relative.tolist() == [[t, h, w] for t in (0, 2) for h in range(3) for w in range(4)]
    assert row["positions"][where_video[-1] + 1].tolist() == [start[0] + 4] * 3

    assert row["patch_frames"].tolist() == [1] * 48 + [2] * 48 + [3] * 8 + [0] * 152
    assert row["patch_windows"].tolist() == row["patch_frames"].tolist()
    assert row["patch_coords"][:6].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [0, 2], [0, 3]]
    assert row["patch_coords"][48:50].tolist() == [[0, 0], [0, 1]]
    assert row["patch_coords"][96:104].tolist() == [
        [r, 2 * unit + c] for unit in (0, 1) for r in (0, 1) for c in (0, 1)
    ]
    frames = decode_frames(media["video"], [0, 1, 2, 3])
    assert frames.shape == (4, 84, 112, 3)
    np.testing.assert_array_equal(row["patches"][:96], patchify(frames, 14, 2, 2))
    np.testing.assert_array_equal(
        row["patches"][96:104], patchify(media["picture"][None], 14, 2, 2)
    )
    assert not row["patches"][104:].any()
    assert row["example_ids"] == ["ex0", "ex2"] and row["failures"] == []


def test_targets_are_the_answers_shifted_by_one(store, chat):
    row = build_row([store[0], store[1]], chat, RULES, SHAPE)
    learnt = np.flatnonzero(row["loss_weights"])
    assert set(row["loss_weights"].tolist()) == {0.0, 1.0}
    np.testing.assert_array_equal(row["targets"][learnt], row["tokens"][learnt + 1])
    assert not np.delete(row["targets"], learnt).any()
    end = chat.token_id("<|im_end|>")
    answers = np.split(row["targets"][learnt], np.flatnonzero(row["targets"][learnt] == end) + 1)
    assert [chat.decode(answer) for answer in answers[:2]] == ["Hello", "Noise."]
    assert len(answers[2]) == 0
    # The first answer token is predicted from the newline after "assistant".
    assert chat.decode(row["tokens"][learnt[:1]]) == "\n"


def test_packed_row_is_its_examples_one_after_the_other(store, chat):
    chosen = [store[2], store[0], store[1]]
    row = build_row(chosen, chat, RULES, SHAPE)
    text_end = patch_end = frame_end = window_end = 0
    for segment, item in enumerate(chosen, start=1):
        alone = build_row([item], chat, RULES, SHAPE)
        n, p = item[1].tokens, item[1].patches
        here, there = slice(text_end, text_end + n), slice(patch_end, patch_end + p)
        for name in ("tokens", "positions", "targets", "loss_weights"):
            np.testing.assert_array_equal(row[name][here], alone[name][:n], err_msg=name)
        assert (row["segment_ids"][here] == segment).all()
        visual = alone["visual_index"][:n]
        shifted = np.where(visual < 0, -1, visual + patch_end // 4)
        np.testing.assert_array_equal(row["visual_index"][here], shifted)
        for name in ("patches", "patch_coords"):
            np.testing.assert_array_equal(row[name][there], alone[name][:p], err_msg=name)
        np.testing.assert_array_equal(
            row["patch_frames"][there], alone["patch_frames"][:p] + frame_end
        )
        np.testing.assert_array_equal(
            row["patch_windows"][there], alone["patch_windows"][:p] + window_end
        )
        text_end, patch_end = text_end + n, patch_end + p
        frame_end = row["patch_frames"].max(initial=0, where=np.arange(256) < patch_end)
        window_end = row["patch_windows"].max(initial=0, where=np.arange(256) < patch_end)
    assert text_end < 192 and not row["segment_ids"][text_end:].any()


def test_clip_that_cannot_be_decoded_is_masked_and_named(store, chat, media):
    row = build_row([store[1], store[3]], chat, RULES, SHAPE)
    n, p = store[1][1].tokens, store[1][1].patches
    assert row["loss_weights"][:n].any() and not row["loss_weights"][n:].any()
    assert row["patches"][:p].any() and not row["patches"][p:].any()
    # It keeps its place, so the others' indices do not move.
    assert row["segment_ids"][n] == 2 and row["patch_frames"][p] == 2
    (failure,) = row["failures"]
    assert failure["id"] == "ex3" and failure["source"] == "toy"
    assert failure["path"] == media["broken"].path and failure["reason"] and failure["detail"]


def test_failure_after_a_good_medium_leaves_no_half_of_it(store, chat, media):
    example, layout = store[2]
    parts = (example.turns[0].parts[0], "then", MediaRef("image", "/missing.png"), "?")
    broken = Example("half", "toy", (Turn("user", parts), example.turns[1]))
    row = build_row([(broken, layout)], chat, RULES, SHAPE)
    assert not row["patches"].any() and not row["loss_weights"].any()
    assert row["failures"][0]["path"] == "/missing.png"


def test_prompt_mode(store, chat):
    example, layout = store[1]
    encoded = chat.encode_prompt(example)
    infos = [probe(ref) for ref in example.media]
    prompt = layout_example(RULES, lambda _: encoded, infos, [1], 192, 256)
    count = len(encoded.ids) + 1
    rows = [
        build_row([(example, prompt)], chat, RULES, RowShape(64, 16), "prompt"),
        build_row([], chat, RULES, RowShape(64, 16), "prompt"),
    ]
    batch = stack_rows(rows)
    assert (batch.segment_ids > 0).sum(axis=1).tolist() == [count, 0]
    assert not batch.targets.any() and not batch.loss_weights.any()
    assert chat.decode(batch.tokens[0, count - 2 : count]).endswith("\n")
    assert device_arrays(batch).keys() == TEXT_FIELDS | PATCH_FIELDS | {"clips"}
    # The beginnings of two prompts, one after the other.
    beginning = dataclasses.replace(prompt, tokens=count - 3)
    both = build_row([(example, beginning), (example, prompt)], chat, RULES, SHAPE, "prompt")
    first = slice(count - 3)
    for name in ("tokens", "positions", "visual_index"):
        np.testing.assert_array_equal(both[name][first], getattr(batch, name)[0, first])
    assert both["segment_ids"].tolist() == [1] * (count - 3) + [2] * count + [0] * (
        SHAPE.tokens - 2 * count + 3
    )


def test_rows_that_do_not_fit_or_belong_are_refused(store, chat):
    with pytest.raises(ValueError, match=r"\['ex2'\] take .* room for 20 and 256"):
        build_row([store[2]], chat, RULES, RowShape(20, 256))
    with pytest.raises(ValueError, match="room for 192 and 100"):
        build_row([store[2]], chat, RULES, RowShape(192, 100))
    with pytest.raises(ValueError, match="prepare the index again"):
        build_row([store[1]], chat, RULES, SHAPE, "prompt")
    with pytest.raises(ValueError, match="multiple of 4"):
        build_row([], chat, RULES, RowShape(192, 6))
    with pytest.raises(ValueError, match="mode"):
        build_row([], chat, RULES, SHAPE, "eval")
