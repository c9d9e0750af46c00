"""How many frames a question needs."""

from pathlib import Path

from demo_world import generate
from demo_world.clip_scenes import full_view_gap, uniform_frames
from tests.demo_world import observer

DOC = Path(__file__).parents[2] / "docs" / "demo_world.md"


def test_few_frames_lose_the_harder_answers_and_sixteen_keep_them():
    settled = {
        task: {count: share for count, (share, _) in by_count.items()}
        for task, by_count in observer.table(generate.iter_scenes("video", "test", 0, 1000)).items()
    }
    assert all(by_count[16] > 0.98 for by_count in settled.values())
    for task in ("static_digit", "static_colour", "direction"):
        assert settled[task][2] == 1.0
    for task in ("appears_first", "order", "speed", "count_flashes", "brief_event"):
        assert settled[task][2] == 0.0
        assert settled[task][2] < settled[task][8]
    assert settled["appears_first"][4] > 0.4
    assert settled["order"][4] < 0.3
    assert settled["order"][8] > 0.8
    assert settled["brief_event"][8] < 0.65
    assert settled["count_flashes"][8] < 0.2


def test_every_event_outlasts_the_gaps_of_a_full_view():
    for frames in range(24, 97):
        seen = uniform_frames(frames, 16)
        assert (seen[0], seen[-1], len(seen)) == (0, frames - 1, 16)
        length = full_view_gap(frames)
        for start in range(frames - length + 1):
            assert ((seen >= start) & (seen < start + length)).any()


def test_the_documented_table_is_the_computed_one():
    computed = observer.markdown(observer.table(generate.iter_scenes("video", "test", 0, 2000)))
    assert computed in DOC.read_text()
