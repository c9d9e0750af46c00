"""Models trained with m frames, shown n."""

import functools

from evaluation.report import compare
from evaluation.report.compare import Slice
from evaluation.report.document import Figure, Table
from evaluation.report.figures.matrix import Grid, draw_matrix, grid, grids
from evaluation.report.read_study import Study
from evaluation.report.wording import Strong, of_questions, score_text


def matrix_figures(study: Study) -> list[Figure]:
    """The tables as a picture, benchmarks of a kind together, beside the scores on images; models
    with a remedy, which are asked under their own policy alone, are no part of it."""
    if not grids(study):
        return []
    text = "Scores of models by the frames that they were shown; the tables have the numbers."
    return [Figure("matrix", text, functools.partial(draw_matrix, study))]


def matrix_tables(study: Study) -> list[Table]:
    """Of each benchmark about videos the scores of every model, a row, under every frame policy
    that it was shown, a column; strong under the one that it was trained with. None where no
    fine-tuned model was shown any but its own."""
    found = []
    for name in compare.of_modality(study, "video").benchmarks:
        which = Slice((name,))
        shown = grid(study, compare.groups(study), which)
        if shown.asked_otherwise:
            asked = of_questions(*compare.questions(study, which))
            headers = ["trained with", *(f"shown {study.label(p)}" for p in shown.policies)]
            found.append(Table(headers, _rows(shown), f"{name}, {asked}"))
    return found


def _rows(shown: Grid) -> list[list[str]]:
    rows = []
    for name, trained, scores in zip(shown.names, shown.trained, shown.scores, strict=True):
        texts = [score_text(each) if each else "–" for each in scores]
        own = [policy == trained for policy in shown.policies]
        rows.append([name, *(Strong(t) if o else t for t, o in zip(texts, own, strict=True))])
    return rows
