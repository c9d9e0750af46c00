import numpy as np
import pytest

from input_pipeline.media import EvenTimes, times_at, uniform_frame_indices
from input_pipeline.media.sampling import is_constant_rate


def even_times(frames, fps=25.0):
    return [i / fps for i in range(frames)]


def test_equals_torch_linspace():
    torch = pytest.importorskip("torch")
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("torch rounds twice on CPUs without fused multiply-add")
    rng = np.random.default_rng(0)
    for _ in range(5000):
        frames = int(rng.integers(2, 40_000))
        count = int(rng.integers(1, min(frames, 768) // 2 + 1)) * 2
        times = np.arange(frames) / 30
        expected = torch.linspace(0, frames - 1, count).round().numpy()
        np.testing.assert_array_equal(uniform_frame_indices(times, count), expected)


@pytest.mark.parametrize(
    ("frames", "count", "expected"),
    [
        (1, 8, [0, 0]),
        (2, 8, [0, 1]),
        (9, 16, [0, 1, 2, 3, 5, 6, 7, 8]),  # 8 of 9: steps of 8/7
        (9, 5, [0, 3, 5, 8]),  # odd budgets are rounded down to pairs
        (3, 2, [0, 2]),
        (10, 4, [0, 3, 6, 9]),
        (4, 4, [0, 1, 2, 3]),
    ],
)
def test_by_hand(frames, count, expected):
    indices = uniform_frame_indices(even_times(frames), count)
    assert indices.dtype == np.int32
    assert indices.tolist() == expected


def test_variable_rate_takes_frames_nearest_in_time():
    # a slow show: frames at 0 s, 1 s, 2 s, then a burst at 10 frames a second to 4 s
    times = [0.0, 1.0, 2.0, *(2.0 + 0.1 * i for i in range(1, 21))]
    indices = uniform_frame_indices(times, 4)  # wanted 0, 1.33, 2.67, 4 s
    assert [times[i] for i in indices] == pytest.approx([0.0, 1.0, 2.7, 4.0])


def test_variable_rate_is_strictly_increasing_where_frames_are_sparse():
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 10.0]
    assert uniform_frame_indices(times, 6).tolist() == [0, 1, 2, 3, 4, 5]
    chosen = uniform_frame_indices(times, 4)  # wanted 0, 3.33, 6.67, 10 s
    assert chosen.tolist() == [0, 3, 4, 5]


def test_variable_rate_never_repeats_nor_leaves_the_clip():
    rng = np.random.default_rng(1)
    for _ in range(500):
        frames = int(rng.integers(2, 60))
        times = np.concatenate([[0.0], np.cumsum(rng.exponential(1.0, frames - 1) ** 3)])
        indices = uniform_frame_indices(times, int(rng.integers(2, 80)))
        assert (np.diff(indices) > 0).all()
        assert indices[0] >= 0 and indices[-1] == frames - 1


def test_millisecond_clocks_are_constant_rate():
    assert is_constant_rate([round(i / 30, 3) for i in range(300)])
    assert is_constant_rate(even_times(300, 29.97))
    assert not is_constant_rate([0.0, 0.04, 0.08, 0.16, 0.2])
    assert not is_constant_rate([0.0, 0.033, 0.067, 0.1, 0.133, 0.18])


@pytest.mark.parametrize(
    ("frames", "count", "message"), [(0, 8, "empty"), (5, 0, "at least 1"), (5, 1, "at least 2")]
)
def test_what_cannot_be_sampled_is_an_error(frames, count, message):
    with pytest.raises(ValueError, match=message):
        uniform_frame_indices(even_times(frames), count)


@pytest.mark.parametrize(("frames", "up", "down"), [(900, 1001, 30000), (7, 512, 15360), (2, 1, 3)])
def test_even_times_are_a_sequence_of_floats_in_little_room(frames, up, down):
    even, times = (
        EvenTimes(frames, up, down),
        [float(i * np.float64(up) / down) for i in range(frames)],
    )
    assert list(even) == times and np.asarray(even).tolist() == times
    assert (even[-1], even[1:5:2]) == (times[-1], tuple(times[1:5:2]))
    assert times_at(even, [0, frames - 1]) == times_at(times, [0, frames - 1])
    assert is_constant_rate(even) and is_constant_rate(times)
    for count in (2, 4, 16):
        chosen = uniform_frame_indices(even, count).tolist()
        assert chosen == uniform_frame_indices(times, count).tolist()
