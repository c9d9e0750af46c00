"""Text in the report, beside images and videos; and the picture of models by frames shown."""

import csv
import io
import json

import numpy as np
import pytest
from matplotlib.text import Text

from evaluation.report import compare
from evaluation.report.benchmarks.held_texts import held_text_tables
from evaluation.report.figures.matrix import draw_matrix, grids
from evaluation.report.figures.scores import draw_scores, draw_tasks
from evaluation.report.figures.style import LIGHT
from evaluation.report.read_study import read_study
from evaluation.report.sections import make_document
from evaluation.report.study import ranked_remedies
from evaluation.report.tables import score_table, status_table, study_csv
from evaluation.report.terminal import print_summary
from evaluation.report.wording import Strong
from tests.evaluation.report.synthetic_study import write_study

POLICIES = ("fixed-2", "fixed-8", "hybrid")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(
        tmp_path_factory.mktemp("text"),
        seeds=2,
        questions=60,
        policies=POLICIES,
        remedies=("l2",),
        text=True,
        infer_frames=(2, 4, 8),
    )


@pytest.fixture(scope="module")
def study(folder):
    return read_study(folder)


def _words(plot):
    return [each.get_text() for each in plot.findobj(Text) if each.get_text()]


def test_text_has_its_columns_everywhere(study):
    assert list(study.benchmarks.values()) == ["image", "video", "text", "held_text"]
    table = score_table(study)
    assert table.headers[-3:] == ["text: base", "text: tuned", "text: change"]
    assert all(len(row) == len(table.headers) for row in table.rows)
    assert "text n = 60" in table.title
    assert [row[-1] for row in status_table(study).rows] == ["finished"] * len(study.models)
    (tasks,) = [s for s in make_document(study).sections if s.title == "By task"]
    assert tasks.figures
    assert any(w.startswith("text (n = 60)") for w in _words(draw_scores(study, LIGHT)))
    rows = {w for w in _words(draw_tasks(study, LIGHT)) if "·" in w and "n =" in w}
    assert sum(w.endswith("text") for w in rows) == 2 and not any("held" in w for w in rows)


def test_the_change_of_text_is_against_the_base_once_for_all_policies(study):
    (group,) = [g for g in compare.groups(study) if g.label == "fixed-8"]
    found = compare.gain(study, group.shown, compare.of_modality(study, "text"))
    changes = []
    for shown in group.shown:
        scores = []
        for model in (compare.base_of(study, shown.model), shown.model):
            (answers,) = [
                e.predictions["world_text"]
                for e in model.evaluations.values()
                if "world_text" in e.predictions
            ]
            scores.append(np.mean([row.score for row in answers.values()]))
        changes.append(scores[1] - scores[0])
    assert found.mean == pytest.approx(np.mean(changes))


def test_held_texts_are_told_in_perplexity_and_bits_a_byte(study):
    (table,) = held_text_tables(study)
    assert table.title == "world_held, 20 texts"
    rows = {row[0]: row for row in table.rows}
    results = {
        m.cell.name: e.results["world_held"].metrics
        for m in study.models
        for e in m.evaluations.values()
        if "world_held" in e.results
    }
    base = results["base"]["perplexity"].value
    assert rows["hybrid"][1] == f"{base:.2f}"
    tuned = np.mean([results[f"hybrid-seed{s}"]["perplexity"].value for s in (0, 1)])
    assert rows["hybrid"][2] == f"{tuned:.2f}"
    # Texts of 100 bytes: bits a byte by hand, from the likelihoods in the answers.
    nats = {}
    for model in study.models:
        for each in model.evaluations.values():
            answers = each.predictions.get("world_held", {}).values()
            found = [json.loads(row.prediction)["nats"] for row in answers]
            nats |= {model.cell.name: np.mean(found)} if found else {}
    bits = {name: mean / 100 / np.log(2) for name, mean in nats.items()}
    assert rows["hybrid"][3].startswith(f"{bits['base']:.3f} (")
    change = np.mean([bits[f"hybrid-seed{s}"] for s in (0, 1)]) - bits["base"]
    assert rows["hybrid"][5].startswith(f"{change:+.3f} (".replace("-", "−"))
    assert any(isinstance(row[5], Strong) for row in table.rows)


def test_remedies_say_what_they_keep_of_text(study):
    table = ranked_remedies(study)
    assert table.headers == [
        "remedy",
        "images: over none",
        "videos: over none",
        "text: over none",
        "images: over the base",
        "held text, bits a byte: over none",
    ]
    assert all(len(row) == len(table.headers) for row in table.rows) and table.rows


def test_the_table_of_a_study_has_held_texts_in_bits(study):
    rows = list(csv.DictReader(io.StringIO(study_csv(study))))
    (row,) = [
        r
        for r in rows
        if (r["cell"], r["frames"], r["benchmark"], r["task"])
        == ("hybrid-seed0", "hybrid", "world_held", "")
    ]
    assert row["modality"] == "held_text"
    delta = float(row["score"]) - float(row["base_score"])
    assert float(row["delta"]) == pytest.approx(delta)
    assert 0.7 < float(row["score"]) < 1.4
    assert float(row["low"]) < float(row["score"]) < float(row["high"])


def test_the_terminal_has_a_line_for_text(study, capsys):
    print_summary(study)
    said = capsys.readouterr().out
    assert said.count("  text  ") == len(compare.groups(study))


def test_models_by_frames_shown_as_a_picture(study):
    shown = grids(study)
    assert list(shown) == ["image", "text", "video"]
    video = shown["video"]
    assert video.names == ("base", "fixed-2", "fixed-8", "hybrid")
    assert [p.label for p in video.policies] == ["fixed-2", "fixed-4", "fixed-8", "hybrid"]
    missing = [[score is None for score in row] for row in video.scores]
    # Every model was asked at 2, 4 and 8 frames; the rule's budgets were shown to its own and base.
    assert missing == [[False] * 4, [False] * 3 + [True], [False] * 3 + [True], [False] * 4]
    assert [len(row) for row in shown["text"].scores] == [1] * 4
    words = _words(draw_matrix(study, LIGHT))
    for row in video.scores:
        for score in row:
            assert score is None or f"{100 * score.mean:.1f}" in words
    assert words.count("–") == 2
    assert {
        "images",
        "text",
        "videos",
        "2",
        "4",
        "8",
        "hybrid",
        "any",
        "trained with",
    } <= set(words)
    (section,) = [s for s in make_document(study).sections if s.title == "Trained with, shown"]
    assert [figure.name for figure in section.figures] == ["matrix"] and section.tables


def test_the_base_is_never_outlined_and_each_model_once(study):
    plot = draw_matrix(study, LIGHT)
    bold = [t for t in plot.findobj(Text) if t.get_fontweight() == "bold" and t.get_text()]
    numbers = [t.get_text() for t in bold if t.get_text().replace(".", "").isdigit()]
    assert len(numbers) == 3
