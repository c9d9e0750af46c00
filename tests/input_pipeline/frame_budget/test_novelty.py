import numpy as np
import pytest

from input_pipeline.frame_budget.novelty import novelty


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
