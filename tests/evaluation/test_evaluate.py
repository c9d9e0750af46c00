"""Questions are checked before anything is trained or generated."""

import pytest

from evaluation.evaluate import check_benchmarks, check_questions, during_training
from input_pipeline.examples import Example, Turn
from input_pipeline.index import DatasetSpec
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError

META = {"task": "order", "format": "choice", "answer": "B", "chance": 0.5}


def _check(**changes):
    meta = {key: value for key, value in (META | changes).items() if value is not None}
    store = [(Example("q7", "mine", (Turn("user", ("Which?",)),), meta), None)]
    check_questions(DatasetSpec("mine", "/data/mine.json", "/data"), store)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": None}, "has no task"),
        ({"format": None, "chance": None}, "has no format, chance"),
        ({"format": "choise"}, "cannot be scored: answer format 'choise'"),
        ({"answer": "a ball"}, "cannot be scored: meta.answer: 'a ball'"),
        ({"format": "yes_no"}, "cannot be scored: meta.answer: 'B' is neither yes nor no"),
        ({"format": "caption"}, "cannot be scored: meta.slots"),
        ({"chance": 25}, "has the chance 25, not a number 0..1"),
        ({"chance": "0.25"}, "has the chance '0.25'"),
    ],
)
def test_a_question_that_cannot_be_scored_is_named(changes, said):
    _check()
    with pytest.raises(ConfigError) as caught:
        _check(**changes)
    message = str(caught.value)
    assert message.startswith("/data/mine.json: question 'q7' ") and said in message
    assert "config.data.benchmarks.mine" in message and "\n" not in message


def test_questions_are_checked_before_training_where_it_evaluates(shared_config, tmp_path):
    config = shared_config.copy_and_resolve_references()
    check_benchmarks(Run(config, tmp_path))
    # Its records are for training: they have no format.
    config.data.benchmarks.world_video.annotations = "world/train/videos.json"
    during_training(Run(config, tmp_path))
    config.train.evaluate_every = 2
    with pytest.raises(ConfigError, match="videos.json: question .* has no format, answer, chance"):
        during_training(Run(config, tmp_path))
