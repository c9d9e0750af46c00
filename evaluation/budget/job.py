"""The budget job: answers at fixed counts in, a predictor's file out."""

import dataclasses
from pathlib import Path

from absl import logging

from evaluation import provenance
from evaluation.budget.fitting import SETTINGS, fit
from evaluation.budget.held_out import Judged, judge
from evaluation.budget.labels import Labels, read_labels
from evaluation.budget.terminal import print_judged
from vsft_jax.config import Run
from vsft_jax.workdir_lock import working_in

FILE = "budget.safetensors"  # in the workdir of the run whose answers it was fitted to


def fit_budget(run: Run) -> Path:
    """Fits a predictor to what the workdir's model needed, prints how well such predictors do on
    clips and kinds of question that they did not see, and writes it.

    The predictor that is written has seen all questions; the figures, which it carries with it, are
    of others that were fitted to parts. Returns the path of its file.
    Raises as `read_labels` does, and WorkdirInUse where another job works there.
    """
    with working_in(run.workdir, "budget"):
        labels = read_labels(run)
        judged = judge(labels)
        print_judged(labels, judged)
        path = run.workdir / FILE
        sha256 = write_predictor(labels, judged, path)
        logging.info("%s: sha256 %s", path, sha256)
        return path


def write_predictor(labels: Labels, judged: Judged, path: Path) -> str:
    """Fits to all labels and writes the file; returns its digest."""
    features = [question.features for question in labels.questions]
    predictor = fit(features, labels.places, labels.counts)
    about = {
        "model": labels.about,
        "settings": dict(SETTINGS),
        "software": provenance.software(),
        "held_out": judged.to_json(),
    }
    return dataclasses.replace(predictor, about=about).save(path)
