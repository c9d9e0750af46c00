"""Official benchmarks about text alone."""

import pytest

from evaluation.benchmarks import BenchmarkError
from tests.evaluation.benchmarks import official_files as files
from tests.evaluation.benchmarks.reading import numbers, read, right, text_of


def test_mmlu_counts_questions_and_subjects(tmp_path):
    files.mmlu(tmp_path)
    questions = read("mmlu", tmp_path)
    names = ["abstract_algebra/0", "abstract_algebra/1", "anatomy/0"]
    assert [each.id for each in questions] == names == [each.cluster for each in questions]
    assert [each.answer for each in questions] == ["B", "D", "A"]
    assert text_of(questions[1]).startswith("What is the order of 2?\nA. 8\nB. 2\nC. 24\nD. 120\n")
    assert numbers("mmlu", questions, right)["accuracy"] == 100
    found = numbers("mmlu", questions, lambda q: "B" if q.id == "abstract_algebra/0" else "C")
    assert found["accuracy"] == pytest.approx(100 / 3)
    assert found["mean_of_subjects"] == 25.0
    assert (found["abstract_algebra"], found["anatomy"]) == (50, 0)


def test_an_answer_beyond_the_options_is_named(tmp_path):
    row = {"question": "?", "subject": "law", "choices": ["a", "b"], "answer": 4}
    files.table(tmp_path / "all/test-00000-of-00001.parquet", [row])
    with pytest.raises(BenchmarkError, match="law/0: there is no option 4"):
        read("mmlu", tmp_path)
