"""Two runs' results against each other: numbers by hand, and what must be alike."""

import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

from evaluation.compare import compare_folders, print_comparisons, save
from evaluation.records import ResultError
from evaluation.results import Prediction, Provenance, save_evaluation, summarise
from evaluation.statistics import (
    Interval,
    Sample,
    holm,
    mcnemar,
    paired_difference,
    paired_p_value,
    smallest_difference,
)

FIXED = {"kind": "fixed", "frames": 8}
FEWER = {"kind": "fixed", "frames": 4}
SETTINGS = {
    "resolution": {"rules": "DynamicResolution", "video_max_pixels": 602112},
    "template": "aaaa",
    "questions": "bbbb",
    "scorer": "cccc",
    "decoder": {"av": "18.1.0"},
    "dtype": "bfloat16",
}
MADE = Provenance(
    frame_policy=FIXED,
    trained_with=None,
    checkpoint={"step": 10, "path": "runs/a", "fingerprint": "1234"},
    config={"train": {"steps": 10}},
    examples_per_second=3.5,
    generation={"max_new_tokens": 4},
    settings=SETTINGS,
    software={"jax": "0.10.1", "device": "cpu"},
)


def answers(right, benchmark="clips", questions=3, tasks=("order", "speed"), first=0):
    """A list of right (1) or wrong (0): `questions` on a clip, tasks by clip in turn."""
    return [
        Prediction(
            *(f"q{i:04d}", benchmark, tasks[i // questions % len(tasks)], "choice"),
            *(8, "8: fixed", "A" if score else "B", "A", float(score), True, 96, 0.25),
            cluster=f"clip{i // questions}.mp4",
        )
        for i, score in enumerate(right, first)
    ]


def write(run, *benchmarks, modality="video", metrics=None, **made):
    """Results of a run: lists of answers, one a benchmark."""
    provenance = dataclasses.replace(MADE, **made)
    results = [
        summarise(
            rows,
            benchmark=rows[0].benchmark,
            modality=modality,
            masked=0,
            provenance=provenance,
            metrics=metrics or {},
        )
        for rows in benchmarks
    ]
    rows = [row for each in benchmarks for row in each]
    save_evaluation(run, provenance.frame_policy, results, rows)
    return run


def drawn(seed, n=120, share=0.5):
    return (np.random.default_rng(seed).uniform(size=n) < share).astype(int)


@pytest.fixture
def runs(tmp_path):
    """(run, base): 120 questions about 40 clips, of which the run has more right."""
    base = drawn(1)
    tuned = np.where(drawn(2, share=0.4), 1, base)
    return write(tmp_path / "run", answers(tuned)), write(tmp_path / "base", answers(base))


def shown(comparisons):
    console = Console(file=io.StringIO(), width=80)
    print_comparisons(comparisons, console)
    return console.file.getvalue()


# --- numbers -------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_statistics(runs):
    (found,) = compare_folders(*runs)
    base = drawn(1)
    tuned = np.where(drawn(2, share=0.4), 1, base)
    sample = Sample(tuned - base, (np.arange(120) // 3).tolist())
    total = found.total
    assert (total.n, total.clusters, total.gained, total.lost) == (120, 40, (tuned > base).sum(), 0)
    assert (total.score, total.base) == pytest.approx((tuned.mean(), base.mean()))
    assert total.difference == paired_difference(sample, np.zeros(120))
    assert total.mcnemar == mcnemar(total.gained, 0)
    assert total.p == paired_p_value(sample) >= total.mcnemar
    assert found.smallest == smallest_difference(total.difference)
    assert (found.benchmark, found.frames, found.base_frames) == ("clips", "fixed-8", "fixed-8")


def test_tasks_are_corrected_for_their_number(runs):
    (found,) = compare_folders(*runs)
    assert [each.task for each in found.tasks] == ["order", "speed"]
    assert [each.n for each in found.tasks] == [60, 60]
    assert [each.holm for each in found.tasks] == holm([each.p for each in found.tasks])
    assert max(each.holm / each.p for each in found.tasks) == 2


def test_only_questions_of_both_count(tmp_path):
    run = write(tmp_path / "run", answers([1] * 30))
    base = write(tmp_path / "base", answers([0] * 24, first=12))
    (found,) = compare_folders(run, base)
    assert (found.total.n, found.unpaired) == (18, 18)
    assert "18 questions that only one of the two answered" in shown([found])


def test_a_comparison_is_the_same_twice_and_the_other_way_round(runs):
    (forth,), (again,), (back,) = (
        compare_folders(*runs),
        compare_folders(*runs),
        compare_folders(*runs[::-1]),
    )
    assert forth == again
    assert (forth.total.gained, forth.total.p) == (back.total.lost, back.total.p)
    assert forth.total.difference.mean == pytest.approx(-back.total.difference.mean)


def test_official_numbers_stand_beside_each_other(tmp_path):
    run, base = (
        write(tmp_path / name, answers([1, 0]), metrics={"total": Interval(value, 1, 3, 2)})
        for name, value in (("run", 1512.4), ("base", 1498.0))
    )
    (found,) = compare_folders(run, base)
    assert found.official == {"total": (1512.4, 1498.0)}
    assert "official total: 1498 → 1512" in shown([found])


# --- which results -------------------------------------------------------------------------------


def test_a_policy_meets_itself(runs):
    run, base = runs
    write(base, answers([0] * 120), frame_policy=FEWER)
    (found,) = compare_folders(run, base)
    assert found.base_frames == "fixed-8" and found.total.base > 0
    (other,) = compare_folders(run, base / "eval" / "fixed-4", even_unlike=True)
    assert other.base_frames == "fixed-4" and other.total.base == 0
    assert other.unlike == ["frames.frames: 8, the base 4"]
    assert "clips under fixed-8, the base under fixed-4" in shown([other])


def test_an_evaluation_that_the_base_lacks_is_left_out(runs):
    run, base = runs
    write(run, answers([0] * 120), frame_policy=FEWER)
    (found,) = compare_folders(run, base)
    assert found.frames == "fixed-8"


def test_several_other_policies_are_named(tmp_path):
    run = write(tmp_path / "run", answers([1, 0, 1]))
    for frames in (2, 4):
        base = write(
            tmp_path / "base",
            answers([1, 0, 0]),
            frame_policy={"kind": "fixed", "frames": frames},
        )
    with pytest.raises(
        ResultError, match="asked under fixed-8, of the base under fixed-2, fixed-4: "
    ):
        compare_folders(run, base)


def test_pictures_are_compared_under_any_policy(tmp_path):
    run = write(tmp_path / "run", answers([1, 0, 1]), modality="image")
    base = write(tmp_path / "base", answers([1, 0, 0]), modality="image", frame_policy=FEWER)
    (found,) = compare_folders(run, base)
    assert found.unlike == [] and found.total.gained == 1


def test_nothing_to_compare_is_said(tmp_path):
    run = write(tmp_path / "run", answers([1, 0]))
    base = write(tmp_path / "base", answers([1, 0], benchmark="films"))
    with pytest.raises(ResultError, match="results of clips, .* of films: there is nothing"):
        compare_folders(run, base)
    with pytest.raises(ResultError, match="no results; .*--job=evaluate"):
        compare_folders(run, tmp_path / "none")
    (run / "eval" / "fixed-8" / "predictions.jsonl").unlink()
    with pytest.raises(ResultError, match="answers to clips are missing from predictions.jsonl"):
        compare_folders(run, run)


# --- alike ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made, line",
    [
        ({"frame_policy": FEWER}, "frames.frames: 8, the base 4"),
        ({"generation": {"max_new_tokens": 9}}, "generation.max_new_tokens: 4, the base 9"),
        ({"generation": None}, "generation: not recorded of the base"),
        ({"settings": None}, "settings: not recorded of the base"),
        ({"settings": SETTINGS | {"scorer": "dddd"}}, "scorer: cccc, the base dddd"),
        ({"settings": SETTINGS | {"template": "dddd"}}, "template: aaaa, the base dddd"),
        (
            {"settings": SETTINGS | {"decoder": {"av": "17.1.0"}}},
            "decoder.av: 18.1.0, the base 17.1.0",
        ),
        (
            {"settings": SETTINGS | {"resolution": {"rules": "DynamicResolution"}}},
            "resolution.video_max_pixels: 602112, the base not recorded",
        ),
    ],
)
def test_what_was_not_asked_alike_is_named_and_needs_a_flag(tmp_path, made, line):
    run = write(tmp_path / "run", answers([1, 0, 1]))
    base = write(tmp_path / "base", answers([1, 0, 0]), **made)
    with pytest.raises(ResultError) as caught:
        compare_folders(run, base)
    message = str(caught.value)
    assert line in message and "--even-unlike" in message and len(message.splitlines()) == 3
    (found,) = compare_folders(run, base, even_unlike=True)
    assert list(found.unlike) == [line]
    assert f"not alike: {line}" in shown([found])


def test_questions_that_were_shown_smaller_are_counted(tmp_path):
    rows = answers([1, 0, 1])
    run = write(tmp_path / "run", rows)
    small = [dataclasses.replace(row, visual_tokens=48) for row in rows[:2]]
    base = write(tmp_path / "base", [*small, rows[2]])
    (found,) = compare_folders(run, base, even_unlike=True)
    assert found.unlike == ["2 of 3 questions with other frames, or at another size"]


def test_another_checkpoint_and_other_versions_are_no_obstacle(tmp_path):
    run = write(tmp_path / "run", answers([1, 0, 1]))
    base = write(
        tmp_path / "base",
        answers([1, 0, 0]),
        checkpoint={"step": 0, "path": "elsewhere", "fingerprint": None},
        trained_with="fixed-4",
        config={},
        software={"jax": "0.10.0", "device": "cpu"},
    )
    (found,) = compare_folders(run, base)
    assert found.unlike == [] and found.software == ["jax: 0.10.1, the base 0.10.0"]
    assert "versions: jax: 0.10.1, the base 0.10.0" in shown([found])


# --- files and the terminal ----------------------------------------------------------------------


def test_a_table_fits_into_80_columns(runs, tmp_path):
    long = "attribute_recognition_of_many_things"
    run, base = (
        write(tmp_path / name, answers([1, 0] * 30 + [number] * 30, tasks=(long, "b [c]")))
        for number, name in enumerate(("base2", "run2"))
    )
    text = shown([*compare_folders(*runs), *compare_folders(base, run)])
    assert max(map(len, text.splitlines())) <= 80
    assert "b [c]" in text and "…" not in text
    starred = [line.split()[0] for line in text.splitlines() if " * " in line and "→" in line]
    assert starred[0] == "all"
    assert "Smallest true difference" in text and "one by one: p < 0.001." in " ".join(text.split())


def test_models_that_answer_alike(runs):
    (found,) = compare_folders(runs[0], runs[0])
    assert (found.total.p, found.total.gained, found.total.lost) == (1.0, 0, 0)
    text = shown([found])
    assert "0.0 (0.0 to 0.0)" in text and "Smallest" not in text


def test_comparisons_are_kept_as_json(runs, tmp_path):
    found = compare_folders(*runs) + compare_folders(runs[0], runs[0])
    save(found, tmp_path / "comparison.json")
    first, alike = json.loads((tmp_path / "comparison.json").read_text())
    assert first["total"]["difference"]["mean"] == pytest.approx(found[0].total.difference.mean)
    assert first["total"]["p"] == found[0].total.p and len(first["tasks"]) == 2
    assert alike["smallest"] is None
