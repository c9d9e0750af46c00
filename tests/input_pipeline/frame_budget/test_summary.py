import numpy as np

from demo_world import write_tokenizer
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.frame_budget import PREVIEW_PIXELS, UNUSABLE, budget_lines, budget_summary
from input_pipeline.index import IndexSpec, lay_out
from input_pipeline.index.summary import summarise
from tests.input_pipeline.frame_budget.judge_server import judge_server
from tests.input_pipeline.media_fixtures import write_clip
from vsft_jax.models.qwen2_5_vl.layout import Layout

INSTRUCTION = {"kind": "instruction", "candidates": (4, 8, 16)}
LAYOUT = Layout(
    image_min_pixels=28 * 28,
    image_max_pixels=112 * 112,
    video_min_pixels=28 * 28,
    video_max_pixels=56 * 56,
)


def test_counts_by_hand():
    # two clips of 4 frames, one of 8, an image and a text
    summary = budget_summary(
        INSTRUCTION, [4, 0, 8, 4, 0], [10, 7, 20, 10, 0], [40, 7, 40, 20, 0], unusable=1
    )
    assert summary["histogram"] == {"4": 2, "8": 1}
    assert summary["mean_frames"] == 16 / 3
    assert (summary["most_frames"], summary["judge_unusable"]) == (16, 1)
    assert (summary["clip_tokens"], summary["clip_tokens_at_most"]) == (40, 100)
    assert budget_lines(summary, width=10) == [
        "frame budgets (instruction-4-8-16), mean 5.3:",
        "   4 frames       2 ██████████",
        "   8 frames       1 █████",
        "40 visual tokens in examples with video; 16 frames for every clip would take 100: "
        "60 saved (60%)",
        "1 answers of the judge were of no use: the fallback decided",
    ]


def test_nothing_to_say_without_video():
    summary = budget_summary(INSTRUCTION, [0, 0], [7, 0], [7, 0])
    assert (summary["histogram"], summary["mean_frames"]) == ({}, 0.0)
    assert budget_lines(summary) == []


def _prepared(tmp_path, frames, clips, max_tokens=4096):
    """clips: {name: (frames of the file, question)}."""
    write_tokenizer(tmp_path / "tokenizer", ["How many times? What colour is it?"])
    spec = IndexSpec(str(tmp_path / "tokenizer"), LAYOUT, frames, max_tokens, 4096)
    examples = []
    for name, (count, question) in clips.items():
        write_clip(tmp_path / f"{name}.mp4", frames=count)
        clip = MediaRef("video", str(tmp_path / f"{name}.mp4"))
        examples.append(Example(name, "mine", (Turn("user", (clip, question)),)))
    return lay_out(examples, spec, mode="prompt")


def test_saved_tokens_are_those_of_a_run_with_the_largest_budget(tmp_path):
    clips = {
        "easy": (40, "What colour is it?"),  # 4 of 16 frames
        "hard": (40, "How many times?"),  # 16
        "short": (6, "What colour is it?"),  # 4, and never more than 6
    }
    store = _prepared(tmp_path, INSTRUCTION, clips)
    fixed = _prepared(tmp_path, {"kind": "fixed", "frames": 16}, clips)
    assert store.budgets.tolist() == [4, 16, 4]
    assert fixed.budgets.tolist() == [16, 16, 6]
    np.testing.assert_array_equal(store.most_visual_tokens, fixed.visual_tokens)
    np.testing.assert_array_equal(fixed.most_visual_tokens, fixed.visual_tokens)
    summary = summarise("mine", "prompt", INSTRUCTION, store, {}, [])
    assert summary["clip_tokens"] == store.visual_tokens.sum()
    assert summary["clip_tokens_at_most"] == fixed.visual_tokens.sum() > summary["clip_tokens"]


def test_saved_tokens_know_the_row(tmp_path):
    clips = {"easy": (40, "What colour is it?")}
    roomy = _prepared(tmp_path, INSTRUCTION, clips)
    spare = int(roomy.tokens[0]) + 10  # 16 frames do not fit at full size
    store = _prepared(tmp_path, INSTRUCTION, clips, max_tokens=spare)
    fixed = _prepared(tmp_path, {"kind": "fixed", "frames": 16}, clips, max_tokens=spare)
    assert store.most_visual_tokens.tolist() == fixed.visual_tokens.tolist()
    assert store.most_visual_tokens[0] < roomy.most_visual_tokens[0]


def test_a_judge_over_a_data_set(tmp_path):
    with judge_server() as server:
        server.replies = ['{"frames": 8}', "eight or so"]
        spec = {"kind": "judge", "url": server.url, "model": "eye", "candidates": (4, 8, 16)}
        clips = {"a": (40, "What colour is it?"), "b": (40, "How many times?")}
        store = _prepared(tmp_path, spec, clips)
        pictures = server.requests[0][1]["messages"][0]["content"][:-1]
    assert store.why(0) == "8: judged by eye"
    assert UNUSABLE in store.why(1)
    assert len(pictures) == 8
    assert PREVIEW_PIXELS == 64
    assert summarise("mine", "prompt", spec, store, {}, [])["judge_unusable"] == 1
