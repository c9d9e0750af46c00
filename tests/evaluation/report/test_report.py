"""The report of complete, unfinished and damaged studies."""

import csv
import dataclasses
import io
import json
import re
import shutil

import cv2
import numpy as np
import pytest
from matplotlib.text import Text
from rich.console import Console

from configs import demo
from evaluation.records import ResultError
from evaluation.report import build_report, compare, print_summary
from evaluation.report.document import Document, Section, Table
from evaluation.report.figures.scores import draw_tasks
from evaluation.report.figures.style import LIGHT, group_looks, looks
from evaluation.report.headline import findings, headline
from evaluation.report.html import to_html
from evaluation.report.markdown import to_markdown
from evaluation.report.questions import HEADERS, question_cards
from evaluation.report.read_study import FramePolicy, read_study
from evaluation.report.sections import make_document
from evaluation.report.tables import (
    CSV_COLUMNS,
    score_table,
    smallest_changes,
    status_table,
    study_csv,
    throughput_table,
)
from evaluation.report.wording import (
    Strong,
    gain_text,
    listed,
    of_questions,
    percent,
    signed,
    task_name,
)
from evaluation.results import (
    Prediction,
    Provenance,
    read_predictions,
    save_evaluation,
    summarise,
    write_predictions,
)
from evaluation.statistics import paired_difference, seeds_interval, smallest_difference
from evaluation.study_files import Cell
from input_pipeline.frame_budget import spec_label
from tests.evaluation.report.synthetic_study import (
    CONTROL,
    IMAGE_TASKS,
    VIDEO_TASKS,
    demo_policies,
    write_study,
)
from tests.input_pipeline.media_fixtures import write_clip

# Of the demo as it is run without arguments.
POLICIES = tuple(spec_label(spec.to_dict()) for spec in demo.get_config().study.frames.values())
SPECS = demo_policies()


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("one"), questions=120, policies=POLICIES)


@pytest.fixture(scope="module")
def built(one_seed, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return build_report(one_seed, out)


@pytest.fixture
def damaged(one_seed, tmp_path):
    """A copy of the study that a test may take pieces out of."""
    return shutil.copytree(one_seed, tmp_path / "study")


def scores_of(study_dir, cell, label, benchmark):
    lines = (study_dir / "cells" / cell / "eval" / label / "predictions.jsonl").read_text()
    rows = [json.loads(line) for line in lines.splitlines()]
    return {row["id"]: row["score"] for row in rows if row["benchmark"] == benchmark}


def write_models(directory, models):
    """A study by hand. models: {cell: (start, policy label, {label: {benchmark: scores}})}."""
    for name, (start, label, evaluations) in models.items():
        folder = directory / "cells" / name
        role, trained_with = ("sft", SPECS[label]) if label else ("base", None)
        Cell(name, role, start, "full", 0, trained_with, config={}, config_hash="").save(folder)
        for asked_with, benchmarks in evaluations.items():
            provenance = Provenance(SPECS[asked_with], label, {}, {}, 1.0)
            everything, results = [], []
            for benchmark, scores in benchmarks.items():
                modality = "image" if "image" in benchmark else "video"
                rows = [
                    Prediction(
                        *(f"q{i}", benchmark, "task", "choice"),
                        *(8 if modality == "video" else None, "", "A", "A"),
                        *(float(score), True, 4, 0.25),
                    )
                    for i, score in enumerate(scores)
                ]
                results.append(
                    summarise(
                        rows,
                        benchmark=benchmark,
                        modality=modality,
                        masked=0,
                        provenance=provenance,
                    )
                )
                everything += rows
            save_evaluation(folder, SPECS[asked_with], results, everything)
    return read_study(directory)


def show(study_dir, clip):
    """Makes every video question of a study one about this clip."""
    for path in study_dir.rglob("predictions.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            if row["frames"]:
                times = np.linspace(0, 1.9, row["frames"]).tolist()
                row |= {"media": [["video", str(clip)]], "frame_times": [times]}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def drawn(study):
    """Draws every figure of the report and returns its text."""
    document = make_document(study)
    for section in document.sections:
        for figure in section.figures:
            figure.draw(LIGHT).canvas.draw()
    return to_markdown(document)


def share(right, n=100):
    return np.arange(n) < right


# --- files ---------------------------------------------------------------------------------------


def test_everything_is_written(built):
    names = {path.name for path in built.parent.iterdir()}
    figures = {"tradeoff", "scores", "tasks", "frames", "by_frames", "budgets", "loss"}
    assert built.name == "report.html"
    assert names == {"report.html", "report.md", "study.csv", *(f"{f}.png" for f in figures)}


def test_html_stands_alone_and_is_escaped(built):
    html = built.read_text()
    assert not re.search(r"""(?:src|href|srcset)=["'](?!data:|#)""", html)
    assert "http" not in re.sub(r"base64,[^\"]*", "", html)
    assert html.count("<img ") == html.count("<source ") == 7
    assert "<red>" not in html
    assert "&lt;red&gt;" in html
    for section in ("The trade-off", "Scores", "By task", "Frame budgets", "Training loss"):
        assert f"<h2>{section}</h2>" in html


def test_markdown_says_the_same(built):
    markdown = built.with_name("report.md").read_text()
    assert "gained most on video" in markdown
    assert "![" in markdown and "](tradeoff.png)" in markdown
    assert "corrupt 7, missing 3, too\\_long 2" in markdown.replace("too_long", "too\\_long")


def test_a_rebuilt_report_is_the_same(built, one_seed, tmp_path):
    again = build_report(one_seed, tmp_path)
    assert again.read_bytes() == built.read_bytes()


def test_markup_in_names_stays_text():
    nasty = "<script>alert(1)</script> | **x** & [y](z)"
    table = Table([nasty, "b"], [[nasty, Strong("+1.0 (0.5 to <i>)")]], title=nasty)
    document = Document(nasty, nasty, [nasty], [Section(nasty, nasty, (), [table], [nasty])])
    html = to_html(document, {}, {})
    assert "<script>" not in html and "<i>" not in html
    assert "<strong>+1.0</strong>" in html
    markdown = to_markdown(document)
    assert "<script>" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3]


# --- study.csv -----------------------------------------------------------------------------------


def test_csv_has_every_cell_benchmark_and_task(one_seed, built):
    rows = list(csv.DictReader(built.with_name("study.csv").open()))
    assert tuple(rows[0]) == CSV_COLUMNS
    evaluations = len(POLICIES) + len(POLICIES)  # of the base, of the fine-tuned models
    assert len(rows) == evaluations * (1 + len(IMAGE_TASKS) + 1 + len(VIDEO_TASKS))
    (row,) = (
        r
        for r in rows
        if (r["cell"], r["benchmark"], r["task"]) == ("hybrid-seed0", "world_video", "")
    )
    tuned = scores_of(one_seed, "hybrid-seed0", "hybrid", "world_video")
    base = scores_of(one_seed, "base", "hybrid", "world_video")
    assert (row["role"], row["frames"], row["seed"], row["modality"]) == (
        *("sft", "hybrid", "0", "video"),
    )
    assert float(row["score"]) == pytest.approx(np.mean(list(tuned.values())))
    assert float(row["base_score"]) == pytest.approx(np.mean(list(base.values())))
    expected = paired_difference(
        np.array([tuned[i] for i in sorted(tuned)]), np.array([base[i] for i in sorted(tuned)])
    )
    found = [float(row[key]) for key in ("delta", "delta_low", "delta_high")]
    assert found == pytest.approx([expected.mean, expected.low, expected.high])
    assert all(r["delta"] == "" for r in rows if r["role"] == "base")


# --- comparisons ---------------------------------------------------------------------------------


def test_gain_is_against_the_base_under_the_same_policy(tmp_path):
    study = write_models(
        tmp_path,
        {
            "base": ("scratch", None, {"fixed-2": {"v": share(40)}, "fixed-8": {"v": share(60)}}),
            "a": ("base", "fixed-2", {"fixed-2": {"v": share(50)}}),
            "b": ("base", "fixed-8", {"fixed-8": {"v": share(65)}}),
        },
    )
    gains = [
        compare.gain(study, group.shown, compare.Slice(("v",))) for group in compare.groups(study)
    ]
    assert [gain.mean for gain in gains] == pytest.approx([0.10, 0.05])
    assert [gain.n for gain in gains] == [100, 100]


def test_questions_that_one_model_missed_are_left_out_of_the_pair(tmp_path):
    study = write_models(
        tmp_path,
        {
            "base": ("scratch", None, {"hybrid": {"v": share(40, 90)}}),
            "a": ("base", "hybrid", {"hybrid": {"v": share(50, 100)}}),
        },
    )
    (group,) = compare.groups(study)
    gain = compare.gain(study, group.shown, compare.Slice(("v",)))
    assert (gain.mean, gain.n) == (pytest.approx(10 / 90), 90)


def test_image_benchmarks_do_not_depend_on_the_policy(tmp_path):
    study = write_models(
        tmp_path,
        {
            "base": (
                "scratch",
                None,
                {"fixed-2": {"image": share(80)}, "fixed-8": {"v": share(9)}},
            ),
            "a": ("base", "fixed-8", {"fixed-8": {"image": share(70), "v": share(9)}}),
        },
    )
    (group,) = compare.groups(study)
    gain = compare.gain(study, group.shown, compare.of_modality(study, "image"))
    assert gain.mean == pytest.approx(-0.1)


def test_benchmarks_of_one_kind_count_equally(tmp_path):
    study = write_models(
        tmp_path,
        {
            "base": ("scratch", None, {"hybrid": {"v1": share(0, 1000), "v2": share(5, 10)}}),
            "a": ("base", "hybrid", {"hybrid": {"v1": share(100, 1000), "v2": share(8, 10)}}),
        },
    )
    (group,) = compare.groups(study)
    which = compare.of_modality(study, "video")
    assert compare.gain(study, group.shown, which).mean == pytest.approx((0.1 + 0.3) / 2)
    assert compare.score(study, group.shown, which).mean == pytest.approx((0.1 + 0.8) / 2)


def test_several_seeds_make_one_group(tmp_path):
    write_study(tmp_path, seeds=3, questions=60, policies=("fixed-2", "hybrid"))
    study = read_study(tmp_path)
    group = compare.groups(study)[1]
    assert (group.label, len(group.models)) == ("hybrid", 3)
    gain = compare.gain(study, group.shown, compare.of_modality(study, "video"))
    table = []
    for seed in range(3):
        tuned = scores_of(tmp_path, f"hybrid-seed{seed}", "hybrid", "world_video")
        base = scores_of(tmp_path, "base", "hybrid", "world_video")
        table.append([tuned[i] - base[i] for i in sorted(tuned)])
    assert gain == seeds_interval(np.array(table))
    html = build_report(tmp_path, tmp_path).read_text()
    assert "Faint points are single seeds" in html
    assert "hybrid, 3 seeds" in html


def test_questions_about_one_clip_are_kept_together(tmp_path):
    """One question on each of 100 clips, then four that are answered alike: nothing more is
    known."""
    results = {}
    for k in (1, 4):
        folder = tmp_path / str(k)
        study = write_models(folder, models(70, 60))
        for path in folder.rglob("predictions.jsonl"):
            rows = [
                dataclasses.replace(row, id=f"{row.id}/{i}", cluster=f"{row.id}.mp4")
                for row in read_predictions(path)
                for i in range(k)
            ]
            for benchmark in ("image", "v"):
                found = path.with_name(f"{benchmark}.json")
                record = json.loads(found.read_text())
                found.write_text(json.dumps(record | {"n": 100 * k}))
            write_predictions(path, rows)
        study = read_study(folder)
        (group,) = compare.groups(study)
        which = compare.of_modality(study, "video")
        results[k] = [
            compare.gain(study, group.shown, which),
            compare.score(study, group.shown, which),
        ]
        assert compare.smallest_change(study, which) == smallest_difference(results[k][0])
    for one, four in zip(results[1], results[4], strict=True):
        assert (one.n, four.n) == (100, 400)
        assert (four.mean, four.low, four.high) == pytest.approx(
            (one.mean, one.low, one.high), abs=0.01
        )


def test_the_smallest_change_that_could_be_seen_is_said(tmp_path):
    study = write_models(tmp_path, models(70, 60))
    (group,) = compare.groups(study)
    sizes = [
        100 * smallest_difference(compare.gain(study, group.shown, compare.of_modality(study, m)))
        for m in ("image", "video")
    ]
    said = f"{sizes[0]:.1f} points on images and {sizes[1]:.1f} points on videos."
    assert said in drawn(study)
    console = Console(file=io.StringIO(), width=80)
    print_summary(read_study(tmp_path), console)
    assert said in " ".join(console.file.getvalue().split())
    # Models that answer alike show no size, and a base alone has no change.
    assert smallest_changes(write_models(tmp_path / "alike", models(80, 40))) == ""


def test_the_base_is_found_through_the_cells_a_cell_starts_from(tmp_path):
    scores = {"hybrid": {"v": share(50)}}
    study = write_models(
        tmp_path,
        {
            "m0": ("scratch", None, scores),
            "first": ("m0", "hybrid", scores),
            "second": ("first", "hybrid", scores),
            "short": ("base", "hybrid", scores),
            "lost": ("gone", "hybrid", scores),
            "loop": ("loop", "hybrid", scores),
        },
    )
    bases = {model.cell.name: compare.base_of(study, model) for model in study.models}
    assert {name: base and base.cell.name for name, base in bases.items()} == {
        **dict.fromkeys(("m0", "first", "second", "short"), "m0"),
        **dict.fromkeys(("lost", "loop")),
    }


# --- sentences -----------------------------------------------------------------------------------


def models(tuned_image, tuned_video, label="hybrid"):
    """A base with 80 of 100 right on images and 40 on video, and one fine-tuned model."""
    return {
        "base": ("scratch", None, {label: {"image": share(80), "v": share(40)}}),
        "a": ("base", label, {label: {"image": share(tuned_image), "v": share(tuned_video)}}),
    }


@pytest.mark.parametrize(
    "image, video, parts",
    [
        (60, 70, ["hybrid", "+30.0 points (95 % interval +", "cost image skill: −20.0 points"]),
        (79, 70, ["+30.0", "On images it changed by −1.0 points", "within noise."]),
        (95, 70, ["also gained on images: +15.0"]),
        (80, 41, ["+1.0 points", "over the base, which is within noise.", "0.0 points"]),
    ],
)
def test_headline_of_one_policy(tmp_path, image, video, parts):
    text = headline(write_models(tmp_path, models(image, video)))
    assert text.startswith("The only finished policy, hybrid, changed video by")
    for part in parts:
        assert part in text


def test_headline_and_findings_of_several_policies(tmp_path):
    base = {label: {"image": share(80), "v": share(40)} for label in ("fixed-8", "hybrid", CONTROL)}
    study = write_models(
        tmp_path,
        {
            "base": ("scratch", None, base),
            "a": ("base", "fixed-8", {"fixed-8": {"image": share(79), "v": share(60)}}),
            "b": ("base", "hybrid", {"hybrid": {"image": share(65), "v": share(75)}}),
            "c": ("base", CONTROL, {CONTROL: {"image": share(65), "v": share(50)}}),
        },
    )
    assert headline(study).startswith(
        "Of the frame policies, hybrid gained most on video: +35.0 points (95 % interval +"
    )
    kept, best, control = findings(study)
    assert kept.startswith("Image skill was kept best by fixed-8: −1.0 points")
    assert "within noise; its change on video is +20.0 points" in kept
    assert "hybrid with 75.0 % at 8.0 frames a question, then fixed-8 with 60.0 %" in best
    assert "beyond noise: +15.0 points" in best
    assert control.startswith("Choosing which example gets which budget helped")
    assert "+25.0 points" in control


@pytest.mark.parametrize(
    "hybrid, control, effect",
    [(51, 50, "made a difference within noise"), (75, 50, "helped"), (25, 50, "hurt")],
)
def test_every_difference_that_is_within_noise_says_so(tmp_path, hybrid, control, effect):
    base = {label: {"image": share(80), "v": share(49)} for label in ("hybrid", CONTROL)}
    study = write_models(
        tmp_path,
        {
            "base": ("scratch", None, base),
            "b": ("base", "hybrid", {"hybrid": {"image": share(80), "v": share(hybrid)}}),
            "c": ("base", CONTROL, {CONTROL: {"image": share(79), "v": share(control)}}),
        },
    )
    kept, best, matched = findings(study)
    assert matched.startswith(f"Choosing which example gets which budget {effect}: on video hybrid")
    noise = effect.endswith("noise")
    assert matched.endswith("), within noise.") == noise
    assert kept.endswith("), within noise.") == noise
    assert f"is {'within' if noise else 'beyond'} noise: " in best
    alternative = make_document(study).sections[0].figures[0].text
    assert f"{CONTROL}: images −1.0 (within noise), videos +1.0 (within noise)" in alternative


def test_without_an_interval_nothing_is_called_noise(tmp_path):
    write_models(tmp_path, models(80, 41))
    for path in tmp_path.rglob("predictions.jsonl"):
        path.unlink()
    text = headline(read_study(tmp_path))
    assert "no interval" in text and "noise" not in text


def test_a_base_below_chance_is_said_beside_the_gain(tmp_path):
    study = write_models(
        tmp_path,
        {
            "base": ("scratch", None, {"hybrid": {"image": share(80), "v": share(10)}}),
            "a": ("base", "hybrid", {"hybrid": {"image": share(80), "v": share(60)}}),
        },
    )
    below = "over the base (base below chance: 10.0 % where guessing gets 25.0 %)."
    assert below in headline(study)
    (row, *_) = score_table(study).rows
    assert row[-1].endswith(", base below chance)") and "chance" not in row[-4]
    assert isinstance(row[-1], Strong)
    text = drawn(study)
    assert "task (n = 100): base below chance (25.0 %), 10.0 % under hybrid." in text
    console = Console(file=io.StringIO(), width=80)
    print_summary(read_study(tmp_path), console)
    said = "hybrid: base below chance on video, 10.0 % against 25.0 %"
    assert said in console.file.getvalue()


def test_a_base_above_chance_is_not_called_below_it(tmp_path):
    study = write_models(tmp_path, models(60, 70))
    assert "below chance" not in headline(study)
    assert "below chance" not in " ".join(score_table(study).rows[0])


def test_hybrid_is_compared_with_its_control_under_the_demos_own_policies(one_seed, built):
    (sentence,) = [text for text in findings(read_study(one_seed)) if "dealt at random" in text]
    assert sentence.startswith("Choosing which example gets which budget ")
    assert "on video hybrid differs from the same budgets dealt at random by" in sentence
    assert sentence.split(":")[0] in built.read_text()


def test_a_control_belongs_to_the_policy_that_its_spec_names():
    hybrid = {"kind": "hybrid", "candidates": [2, 4], "label": "mine"}
    other = {"kind": "hybrid", "candidates": [2, 8], "label": "mine"}
    control = {"kind": "random_matched", "of": {**hybrid, "label": "yours"}, "label": "dice"}
    counted = {"kind": "random_matched", "histogram": {"2": 5}}
    policy, another, matched, free = map(FramePolicy.of, (hybrid, other, control, counted))
    assert matched.is_control_of(policy)
    assert not matched.is_control_of(another) and not matched.is_control_of(matched)
    assert free.is_control and not free.is_control_of(policy)
    assert not policy.is_control_of(another)


def test_policies_that_share_a_label_stay_apart(tmp_path):
    spec = {**SPECS["hybrid"], "candidates": [2, 16]}
    base = {label: {"image": share(80), "v": share(40)} for label in ("fixed-2", "hybrid")}
    write_models(
        tmp_path,
        {
            "base": ("scratch", None, base),
            "a": ("base", "hybrid", {"hybrid": {"image": share(80), "v": share(60)}}),
            "b": ("base", "fixed-2", {"fixed-2": {"image": share(80), "v": share(50)}}),
        },
    )
    path = tmp_path / "cells" / "b" / "cell.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"frame_policy": spec}))
    for path in (tmp_path / "cells").glob("*/eval/fixed-2/*.json"):
        record = json.loads(path.read_text())
        record["provenance"]["frame_policy"] = spec
        path.write_text(json.dumps(record))
    study = read_study(tmp_path)
    labels = [group.label for group in compare.groups(study)]
    assert len(set(labels)) == 2 and all(label.startswith("hybrid~") for label in labels)
    gains = {
        group.models[0].cell.name: compare.gain(study, group.shown, compare.Slice(("v",))).mean
        for group in compare.groups(study)
    }
    assert gains == {"a": pytest.approx(0.2), "b": pytest.approx(0.1)}
    assert all(label in drawn(study) for label in labels)


def test_headline_when_no_policy_gains(tmp_path):
    base = {label: {"image": share(80), "v": share(40)} for label in ("fixed-2", "fixed-8")}
    study = write_models(
        tmp_path,
        {
            "base": ("scratch", None, base),
            "a": ("base", "fixed-2", {"fixed-2": {"image": share(80), "v": share(30)}}),
            "b": ("base", "fixed-8", {"fixed-8": {"image": share(80), "v": share(20)}}),
        },
    )
    assert headline(study).startswith("No frame policy gained on video; fixed-2 lost least: −10.0")


def test_headline_without_images(tmp_path):
    study = write_models(
        tmp_path,
        {
            "base": ("scratch", None, {"hybrid": {"v": share(40)}}),
            "a": ("base", "hybrid", {"hybrid": {"v": share(70)}}),
        },
    )
    assert headline(study).startswith("The study has no image benchmark")
    assert "Best on videos: hybrid with +30.0 points" in headline(study)
    html = build_report(tmp_path, tmp_path).read_text()
    assert "no benchmark" in html
    assert not (tmp_path / "tradeoff.png").exists()


# --- example questions ---------------------------------------------------------------------------


def test_example_questions_show_both_answers_budget_and_reason(one_seed, built):
    cards = {each.title: each for each in question_cards(read_study(one_seed))[0]}
    assert set(cards) == {f"{label} on world_video" for label in POLICIES}
    rows = cards["hybrid on world_video"].rows
    assert [row[0] for row in rows[:2]] == ["gained", "lost"]
    folders = [one_seed / "cells" / cell / "eval" / "hybrid" for cell in ("base", "hybrid-seed0")]
    before, after = (
        {row.id: row for row in read_predictions(folder / "predictions.jsonl")}
        for folder in folders
    )
    words = {f"What happens in {i}?": i for i in after}
    for outcome, asked, _, frames, why, right, base_said, tuned_said in rows:
        question = words[asked]
        assert (base_said, tuned_said) == (before[question].prediction, after[question].prediction)
        assert (right, frames) == (after[question].answer, str(after[question].frames))
        assert why == after[question].why and why
        scores = (before[question].score, after[question].score)
        assert outcome != "gained" or scores == (0, 1)
        assert outcome != "lost" or scores == (1, 0)
    html, markdown = built.read_text(), built.with_name("report.md").read_text()
    assert "<h2>Example questions</h2>" in html
    assert html.count("<article>") == sum(len(each.rows) for each in cards.values())
    assert f"<dt>{HEADERS[-1]}</dt>" in html and f"| {' | '.join(HEADERS)} |" in markdown


def test_example_questions_show_the_frames_that_were_seen(one_seed, tmp_path):
    study = shutil.copytree(one_seed, tmp_path / "study")
    clip = write_clip(tmp_path / "clip.mp4", frames=50, size=(320, 180))
    show(study, clip)
    cards, notes = question_cards(read_study(study))
    assert not notes
    (of_hybrid,) = (each for each in cards if each.title == "hybrid on world_video")
    for row, pictures in zip(of_hybrid.rows, of_hybrid.pictures, strict=True):
        assert len(pictures) == min(8, int(row[3]))
        times = [float(picture.text.removesuffix(" s")) for picture in pictures]
        assert times[0] == 0 and times == sorted(times) and 1.6 < times[-1] < 2
        sizes = {cv2.imdecode(np.frombuffer(p.jpeg, np.uint8), 1).shape for p in pictures}
        assert sizes == {(90, 160, 3)} and max(len(p.jpeg) for p in pictures) < 8000
    html = build_report(study, tmp_path).read_text()
    shown = sum(len(pictures) for each in cards for pictures in each.pictures)
    assert html.count('src="data:image/jpeg;base64,') == shown > 40


def test_a_clip_that_is_gone_is_said_and_the_report_goes_on(one_seed, tmp_path):
    study = shutil.copytree(one_seed, tmp_path / "study")
    show(study, tmp_path / "gone.mp4")
    cards, (note,) = question_cards(read_study(study))
    assert "gone.mp4: missing" in note and not any(map(any, (each.pictures for each in cards)))
    show(study, "https://example.org/clip.mp4")
    assert "a report does not fetch media" in question_cards(read_study(study))[1][0]
    assert "<article>" in build_report(study, tmp_path).read_text()


def test_a_page_has_no_more_pictures_than_it_may(one_seed, tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.report.questions._MOST_PICTURES", 10)
    study = shutil.copytree(one_seed, tmp_path / "study")
    show(study, write_clip(tmp_path / "clip.mp4", frames=50))
    cards, (note,) = question_cards(read_study(study))
    assert sum(len(pictures) for each in cards for pictures in each.pictures) == 10
    assert note.endswith("more questions show no frames: the page has 10 pictures.")


def test_questions_of_earlier_versions_show_their_ids(one_seed, tmp_path):
    study = shutil.copytree(one_seed, tmp_path / "study")
    for path in study.rglob("predictions.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        old = [{k: v for k, v in row.items() if k not in ("question", "media")} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in old))
    cards, (note,) = question_cards(read_study(study))
    assert cards[0].rows[0][1].startswith("world_video/")
    assert "questions show no frames: their evaluation was done by a version" in note


# --- studies of earlier versions ------------------------------------------------------------------


def made_older(study_dir):
    """Rewrites a study as it was written when its files named policies by their labels."""
    for path in study_dir.glob("cells/*/cell.json"):
        record = json.loads(path.read_text())
        spec = record.pop("frame_policy")
        del record["config"], record["config_hash"]
        path.write_text(json.dumps(record | {"frames": spec and spec_label(spec)}))
    for path in study_dir.glob("cells/*/eval/*/*.json"):
        record = json.loads(path.read_text())
        record |= record.pop("provenance")
        record["frame_policy_label"] = spec_label(record["frame_policy"])
        path.write_text(json.dumps(record))
    path = study_dir / "index_summary.json"
    record = json.loads(path.read_text())
    most = max(budget["visual_tokens"] for budget in record["budgets"])
    record["budgets"] = {
        spec_label(budget.pop("frame_policy")): budget
        | {"mean_frames": 8.0, "saved_against_largest_fixed": 1 - budget["visual_tokens"] / most}
        for budget in record["budgets"]
    }
    path.write_text(json.dumps(record))


def test_a_study_of_labels_gives_the_same_report(built, damaged, tmp_path):
    made_older(damaged)
    study = damaged.rename(tmp_path / read_study(damaged).name)
    again = build_report(study, tmp_path)
    for name in ("report.md", "study.csv"):
        title = f"Video gains, image costs: {study.name}"
        text = again.with_name(name).read_text()
        before = built.with_name(name).read_text()
        assert text.replace(title, "") == re.sub(r"Video gains, image costs: .*", "", before)


def test_a_label_that_no_result_explains_is_named(damaged):
    made_older(damaged)
    for cell in ("base", "hybrid-seed0"):
        shutil.rmtree(damaged / "cells" / cell / "eval" / "hybrid")
    study = read_study(damaged)
    (problem,) = study.problems
    assert problem.startswith("hybrid-seed0: cell.json has the label 'hybrid' of a frame policy")
    assert "hybrid" not in [group.label for group in compare.groups(study)]
    drawn(study)


# --- unfinished and damaged studies --------------------------------------------------------------


def test_a_cell_without_evaluation_is_shown_as_not_finished(damaged):
    shutil.rmtree(damaged / "cells" / "hybrid-seed0" / "eval")
    study = read_study(damaged)
    (row,) = (row for row in score_table(study).rows if row[0] == "hybrid")
    assert row[3] == row[4] == row[6] == row[7] == "not finished"
    assert row[2] != "not finished"  # the base's score is known
    states = {row[0]: row[-1] for row in status_table(study).rows}
    assert states["hybrid-seed0"] == "not finished: evaluation"
    assert states["fixed-2-seed0"] == "finished"
    rows = list(csv.DictReader(io.StringIO(study_csv(study))))
    mine = [r for r in rows if r["cell"] == "hybrid-seed0"]
    assert [(r["benchmark"], r["score"]) for r in mine] == [
        ("world_image", ""),
        ("world_video", ""),
    ]
    assert "Not in the figure, because not finished: hybrid." in drawn(study)


def test_a_released_base_has_no_training_to_finish(damaged):
    (damaged / "cells" / "base" / "train.jsonl").unlink()
    states = {row[0]: row[-1] for row in status_table(read_study(damaged)).rows}
    assert states["base"] == "finished"
    shutil.rmtree(damaged / "cells" / "base" / "eval")
    states = {row[0]: row[-1] for row in status_table(read_study(damaged)).rows}
    assert states["base"] == "not finished: training log and evaluation"


def test_what_is_another_s_model_has_no_training_to_finish(tmp_path):
    """A remedy of evaluation alone leaves no log; one of training lacks it."""
    policies = ("fixed-2", "hybrid")
    folder = write_study(tmp_path, questions=24, policies=policies, remedies=("half-way", "l2"))
    for remedy in ("half-way", "l2"):
        (folder / "cells" / f"hybrid-{remedy}-seed0" / "train.jsonl").unlink()
    study = read_study(folder)
    states = {row[0]: row[-1] for row in status_table(study).rows}
    assert states["hybrid-half-way-seed0"] == "finished"
    assert states["hybrid-l2-seed0"] == "not finished: training log"
    steps = {row[0]: row[1] for row in throughput_table(study).rows}
    assert steps["hybrid + half-way"] == "another's model"
    assert steps["hybrid + l2"] == "not finished"
    (folder / "cells" / "hybrid-seed0" / "train.jsonl").unlink()
    states = {row[0]: row[-1] for row in status_table(read_study(folder)).rows}
    assert states["hybrid-half-way-seed0"] == "not finished: training log"


def test_one_missing_benchmark_and_a_running_training(damaged):
    (damaged / "cells" / "hybrid-seed0" / "eval" / "hybrid" / "world_video.json").unlink()
    log = damaged / "cells" / "fixed-2-seed0" / "train.jsonl"
    log.write_text(log.read_text() + '{"step": 160, "lo')
    study = read_study(damaged)
    states = {row[0]: row[-1] for row in status_table(study).rows}
    assert states["hybrid-seed0"] == "not finished: world_video under hybrid"
    (model,) = (m for m in study.models if m.cell.name == "fixed-2-seed0")
    assert model.train[-1]["step"] == 150
    assert "hybrid" not in [
        group.label
        for group in compare.groups(study)
        if compare.finished(study, group.shown, compare.of_modality(study, "video"))
    ]


def test_nothing_but_cells(damaged):
    (damaged / "index_summary.json").unlink()
    for cell in (damaged / "cells").iterdir():
        shutil.rmtree(cell / "eval")
        (cell / "train.jsonl").unlink()
    html = build_report(damaged, damaged).read_text()
    assert "there is no result" in html
    for text in ("Frame budgets: not recorded", "Training loss: not recorded", "not finished"):
        assert text in html
    rows = list(csv.DictReader((damaged / "study.csv").open()))
    assert {row["cell"] for row in rows} == {path.name for path in (damaged / "cells").iterdir()}


def test_without_predictions_there_is_a_change_but_no_interval(damaged):
    folder = damaged / "cells" / "hybrid-seed0" / "eval" / "hybrid"
    (folder / "predictions.jsonl").unlink()
    study = read_study(damaged)
    assert any("hybrid-seed0" in problem for problem in study.problems)
    group = next(g for g in compare.groups(study) if g.label == "hybrid")
    gain = compare.gain(study, group.shown, compare.of_modality(study, "video"))
    results = [
        json.loads((damaged / "cells" / cell / "eval/hybrid/world_video.json").read_text())["score"]
        for cell in ("hybrid-seed0", "base")
    ]
    assert gain.mean == pytest.approx(results[0] - results[1])
    assert np.isnan(gain.low) and not gain.excludes_zero
    assert "no interval" in drawn(study)


def test_predictions_that_disagree_with_the_result_are_a_problem(damaged):
    path = damaged / "cells" / "hybrid-seed0" / "eval" / "hybrid" / "predictions.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    (problem,) = read_study(damaged).problems
    assert "hybrid-seed0, hybrid: predictions.jsonl has 119 questions of world_video" in problem


def test_a_folder_without_cell_json_is_named(damaged):
    (damaged / "cells" / "stray").mkdir()
    assert read_study(damaged).problems == (
        "stray: cell.json is missing, so the cell is not shown",
    )


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("cells/hybrid-seed0/cell.json", "{", "cell.json: not JSON"),
        ("cells/hybrid-seed0/cell.json", '{"name": "x"}', "cell.json: missing .*frame_policy"),
        ("cells/hybrid-seed0/train.jsonl", "{\n{}\n", "train.jsonl, line 1"),
        ("cells/hybrid-seed0/eval/hybrid/world_video.json", "{}", "world_video.json: by_task"),
        ("index_summary.json", "[]", "index_summary.json: expected an object"),
    ],
)
def test_an_unreadable_file_is_an_error_that_names_it(damaged, file, content, message):
    (damaged / file).write_text(content)
    with pytest.raises(ResultError, match=message):
        read_study(damaged)


def test_a_directory_without_cells_is_an_error(tmp_path):
    with pytest.raises(ResultError, match="no cells"):
        build_report(tmp_path, tmp_path)


# --- terminal, colours, words --------------------------------------------------------------------


def test_print_summary(damaged):
    shutil.rmtree(damaged / "cells" / "fixed-2-seed0" / "eval")
    console = Console(file=io.StringIO(), width=140)
    print_summary(read_study(damaged), console)
    text = console.file.getvalue()
    assert "gained most on video" in text
    for label in POLICIES:
        assert label in text
    assert "fixed-2-seed0: not finished: evaluation" in text


def test_the_table_in_the_terminal_keeps_names_and_numbers_at_80_columns(one_seed, tmp_path):
    study = read_study(one_seed)
    with (tmp_path / "redirected.txt").open("w") as file:
        print_summary(read_study(one_seed), Console(file=file, width=80))
    text = (tmp_path / "redirected.txt").read_text()
    assert "\x1b" not in text and "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    lines = [line.rstrip() for line in text.splitlines()]
    for group in compare.groups(study):
        (start,) = (i for i, line in enumerate(lines) if line.startswith(f"{group.label}  "))
        for line, modality in zip(lines[start:], compare.modalities(study), strict=False):
            gain = compare.gain(study, group.shown, compare.of_modality(study, modality))
            assert f" {modality} " in line
            assert line.endswith(f"{gain_text(gain)}{' *' if gain.excludes_zero else ''}")


def test_a_name_longer_than_its_column_goes_on_in_the_next_line(tmp_path):
    label = "x" * 60
    write_models(tmp_path, models(60, 70))
    for path in tmp_path.rglob("*.json"):
        record = json.loads(path.read_text())
        for holder in (record, record.get("provenance", {})):
            if holder.get("frame_policy"):
                holder["frame_policy"]["label"] = label
        path.write_text(json.dumps(record))
    console = Console(file=io.StringIO(), width=80)
    print_summary(read_study(tmp_path), console)
    table = console.file.getvalue().partition("frame policy")[2]
    assert table.count("x") == 60 and "80.0 → 60.0" in table and "40.0 → 70.0" in table


def test_every_policy_has_its_own_look_in_a_stable_order():
    hybrid = {"kind": "hybrid"}
    duration = {"kind": "duration"}
    specs = [{"kind": "fixed", "frames": n} for n in (64, 8, 16, 32)]
    specs += [hybrid, duration, {"kind": "fps", "frames_per_second": 1.0}]
    specs += [{"kind": "consensus", "of": [hybrid, duration]}]
    specs += [{"kind": "random_matched", "of": of} for of in (hybrid, duration)]
    policies = [FramePolicy.of(spec) for spec in specs]
    found = looks(policies)
    assert found == looks(policies[::-1])
    assert len({(look.colour, look.marker) for look in found.values()}) == len(policies)
    ordered = [policy.label for policy in sorted(policies, key=lambda policy: policy.order)]
    assert ordered[:5] == ["fixed-8", "fixed-16", "fixed-32", "fixed-64", "hybrid"]
    assert ordered[-2:] == ["random-matched(duration)", "random-matched(hybrid)"]


def test_a_policy_has_its_colour_in_every_figure(one_seed):
    study = read_study(one_seed)
    by_policy, by_group = looks(study.policies), group_looks(study)
    assert set(by_group) == set(POLICIES)
    assert {study.label(policy): look for policy, look in by_policy.items()} == by_group


def test_tasks_are_named_in_words_with_the_number_of_questions(one_seed):
    plot = draw_tasks(read_study(one_seed), LIGHT)
    names = [text.get_text() for text in plot.axes[0].get_yticklabels()]
    assert "event count (n = 20)  ·  video" in names
    assert task_name("motion_direction") == "motion direction"
    assert (of_questions(40, 40), of_questions(998, 1000)) == ("n = 40", "n = 998–1,000")


def test_every_axis_of_every_figure_says_what_it_shows(one_seed):
    for section in make_document(read_study(one_seed)).sections:
        for figure in section.figures:
            axes = [axis for axis in figure.draw(LIGHT).axes if axis.get_visible()]
            rows = {axis.get_subplotspec().rowspan.start for axis in axes}
            named = {a.get_subplotspec().rowspan.start for a in axes if a.get_ylabel()}
            assert named == rows, figure.name
            lowest = {a.get_subplotspec().colspan.start: a for a in axes}  # the last one stays
            assert all(axis.get_xlabel() for axis in lowest.values()), figure.name
            if figure.name != "loss":  # which is of steps, not of questions or videos
                words = [text.get_text() for axis in axes for text in axis.findobj(Text)]
                assert any("n = " in word for word in words), figure.name


def test_the_tables_name_the_number_of_questions(one_seed):
    assert score_table(read_study(one_seed)).title.endswith("images n = 120, videos n = 120")


def test_words_for_numbers():
    assert signed(0.072) == "+7.2"
    assert signed(-0.0125) == "−1.2"
    assert signed(-0.0001) == signed(0.0) == "0.0"
    assert percent(0.619) == "61.9"
    assert percent(float("nan")) == "–"
    assert [listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
