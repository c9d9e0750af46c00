import numpy as np
import pytest

from input_pipeline.frame_budget import ModelError, Tools, make_policy, spec_hash, spec_label
from input_pipeline.frame_budget.novelty import cosine_novelty, novelty
from tests.input_pipeline.frame_budget.budget_queries import Preview, query

SPEC = {"kind": "similarity", "features": "dinov2", "path": "dinov2-small"}

# ── Of pixels. ──────────────────────────────────────────────────────────────────────────────────


def frames_of(grey):
    """float[F, h, w] grey levels → uint8[F, h, w, 3]."""
    return np.repeat(np.asarray(grey)[..., None], 3, axis=-1).astype(np.uint8)


def textured(rng, shape):
    return rng.integers(0, 256, shape)


def test_a_repeated_picture_has_none():
    picture = textured(np.random.default_rng(0), (1, 24, 32))
    assert novelty(frames_of(np.repeat(picture, 8, axis=0))) == 0.0
    assert novelty(frames_of(picture)) == 0.0


def test_unrelated_pictures_have_one():
    pictures = textured(np.random.default_rng(0), (16, 24, 32))
    assert novelty(frames_of(pictures)) == pytest.approx(1.0, abs=0.02)


def test_by_the_definition():
    # mean |difference of neighbours| over mean |difference of all pixel pairs|, written out
    grey = textured(np.random.default_rng(1), (3, 5, 4)).astype(float)
    pixels = grey.ravel()
    pairs = [abs(a - b) for i, a in enumerate(pixels) for b in pixels[:i]]
    change = np.mean([abs(grey[1] - grey[0]), abs(grey[2] - grey[1])])
    assert novelty(frames_of(grey)) == pytest.approx(change / np.mean(pairs))


def test_does_not_depend_on_brightness_contrast_or_object_size():
    def square(side, background, brightness):
        grey = np.full((8, 24, 24), background)
        for f in range(8):
            x = 6 * (f % 4)
            grey[f, :side, x : x + side] = brightness
        return novelty(frames_of(grey))

    reference = square(4, 20, 220)
    assert square(4, 120, 200) == pytest.approx(reference, rel=0.01)
    assert square(3, 20, 220) == pytest.approx(reference, rel=0.1)
    assert reference > 0.8


def test_a_still_camera_lies_between():
    grey = np.repeat(textured(np.random.default_rng(0), (1, 24, 24)), 8, axis=0)
    for f in range(8):
        grey[f, 8:16, 2 * f : 2 * f + 6] = 255
    assert 0.02 < novelty(frames_of(grey)) < 0.4


def test_noise_in_the_dark_is_no_novelty():
    noise = np.random.default_rng(0).integers(0, 4, (8, 160, 160))
    assert novelty(frames_of(noise)) < 0.1


def test_bad_shape_is_named():
    with pytest.raises(ValueError, match=r"got shape \(4, 4, 3\)"):
        novelty(np.zeros((4, 4, 3), np.uint8))


# ── To a model. ─────────────────────────────────────────────────────────────────────────────────


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
