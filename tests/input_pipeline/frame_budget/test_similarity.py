import numpy as np
import pytest

from input_pipeline.frame_budget import ModelError, Tools, make_policy, spec_hash, spec_label
from input_pipeline.frame_budget.similarity import cosine_novelty
from tests.input_pipeline.frame_budget.budget_queries import Preview, query

SPEC = {"kind": "similarity", "features": "dinov2", "path": "dinov2-small"}


class Turning:
    """Vectors that turn by the same angle from frame to frame."""

    side = 96

    def __init__(self, radians, identity="weights 1"):
        self.radians, self.identity, self.seen = radians, identity, []

    def __call__(self, frames):
        self.seen.append(frames)
        angles = self.radians * np.arange(len(frames))
        # lengths must not matter
        return np.stack([np.cos(angles), np.sin(angles)], axis=1) * 7


def policy(embed, folder=None, **spec):
    return make_policy(SPEC | spec, Tools(embed=lambda spec: embed, folder=folder))


@pytest.mark.parametrize(
    ("novelty", "frames"), [(0.0, 8), (0.1, 8), (0.2, 16), (0.3, 32), (0.4, 64), (0.9, 64)]
)
def test_budget_by_the_turn_between_frames(novelty, frames):
    # levels 0, 1/3, 2/3, 1 of three doublings between 0.1 and 0.4
    preview = Preview()
    embed = Turning(np.arccos(1 - novelty))
    budget = policy(embed)(query(preview=preview))
    assert (budget.frames, budget.why) == (frames, f"{frames}: novelty {novelty:.2f} (dinov2)")
    assert preview.calls == [(8, 96)], "as large as the model wants them"
    np.testing.assert_array_equal(embed.seen[0], Preview()(8, 96))


def test_cosine_novelty_by_the_definition():
    vectors = np.random.default_rng(0).normal(size=(5, 7))
    pairs = [
        1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(vectors[:-1], vectors[1:], strict=True)
    ]
    assert cosine_novelty(vectors) == pytest.approx(np.mean(pairs))
    assert cosine_novelty(np.repeat(vectors[:1], 4, axis=0)) == pytest.approx(0, abs=1e-12)
    assert cosine_novelty(vectors[:1]) == 0.0
    assert cosine_novelty(np.zeros((3, 4))) == 1.0


def test_kept_by_the_content_of_previews_and_the_weights(tmp_path):
    embed = Turning(0.5)
    one = policy(embed, tmp_path)
    first = one(query("Why?", preview=Preview(1), id="a"))
    assert one(query("Where?", preview=Preview(1), id="b")) == first
    assert len(embed.seen) == 1
    # another process with other thresholds, but the same previews
    other = policy(embed, tmp_path, novelty_low=0.01, novelty_high=0.02)
    assert other(query(preview=Preview(1))).frames == 64
    assert len(embed.seen) == 1
    one(query(preview=Preview(2)))
    assert len(embed.seen) == 2
    again = Turning(0.5, identity="weights 2")
    policy(again, tmp_path)(query(preview=Preview(1)))
    assert len(again.seen) == 1


def test_a_clip_that_has_no_choice_is_not_looked_at():
    preview = Preview()
    assert policy(Turning(1.0))(query(frames=8, preview=preview)).why == "8: any novelty"
    assert preview.calls == []


def test_needs_a_model_from_outside():
    with pytest.raises(ModelError, match="'features' 'dinov2' needs a model.*tools"):
        make_policy(SPEC)


def test_spec():
    assert spec_label(SPEC) == f"similarity-dinov2-small~{spec_hash(SPEC)[:4]}"
    assert spec_hash(SPEC) != spec_hash({"kind": "similarity"})
    assert spec_hash({"kind": "similarity", "features": "pixel"}) == spec_hash(
        {"kind": "similarity"}
    )
    for spec, message in (
        ({"features": "clip"}, "'features' must be one of .*'dinov2'.*got 'clip'"),
        ({"features": "dinov2"}, "takes a 'path'"),
        ({"path": "dinov2-small"}, "takes a 'path'.*not with 'pixel'"),
    ):
        with pytest.raises(ValueError, match=message):
            make_policy({"kind": "similarity"} | spec)
