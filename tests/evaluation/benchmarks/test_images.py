"""Benchmarks about pictures: what is read from their files, and their numbers by hand."""

import base64
import csv

import pytest

from evaluation.benchmarks import BenchmarkError
from input_pipeline.media import read_source
from tests.evaluation.benchmarks import official_files as files
from tests.evaluation.benchmarks.reading import numbers, read, right, text_of


def test_mme_pairs_by_task_and_picture_and_sums_both_kinds_of_task(tmp_path):
    files.mme(tmp_path)
    questions = read("mme", tmp_path)
    assert len(questions) == 28 and len({q.cluster for q in questions}) == 14
    assert text_of(questions[0]) == "Is it Yes?\nAnswer the question using a single word or phrase."
    assert {q.answer for q in questions} == {"yes", "no"}
    found = numbers("mme", questions, right)
    assert (found["perception"], found["cognition"], found["total"]) == (2000, 800, 2800)
    # Always "yes" is right for half of the questions, and for both of none of the pictures.
    found = numbers("mme", questions, lambda q: "Yes.")
    assert (found["perception"], found["cognition"], found["ocr"]) == (500, 200, 50)
    # "Not sure" and "yesterday" say neither, which some scorers read as no and yes.
    found = numbers("mme", questions, lambda q: "Not sure" if q.answer == "no" else "yesterday")
    assert found["total"] == 0
    # A task that could not be asked is no zero in a sum.
    some = [q for q in questions if q.task != "celebrity"]
    found = numbers("mme", some, right)
    assert "perception" not in found and "total" not in found and found["cognition"] == 800


def test_mme_pictures_without_two_questions_are_named(tmp_path):
    files.table(tmp_path / "data/test-00000-of-00001-x.parquet", files.mme_rows()[:-1])
    with pytest.raises(BenchmarkError, match="code_reasoning code_reasoning/0001.png has 1"):
        read("mme", tmp_path)


def test_pope_states_which_f1(tmp_path):
    files.pope(tmp_path)
    questions = read("pope", tmp_path)
    assert len(questions) == 18
    # 500 pictures with 18 questions each: those of one picture hang together.
    assert len({q.cluster for q in questions}) == 2 and len({q.id for q in questions}) == 18
    say = {"adversarial": "yes", "popular": "no", "random": None}
    found = numbers("pope", questions, lambda q: say[q.task] or q.answer)
    assert found["f1_adversarial"] == pytest.approx(100 * 2 / 3)
    assert (found["f1_popular"], found["f1_random"]) == (0, 100)
    assert found["f1_mean_of_categories"] == pytest.approx(100 * (2 / 3 + 0 + 1) / 3)
    # 6 hits, 9 times "yes", 9 things that are there.
    assert found["f1_overall"] == pytest.approx(100 * 12 / 18)
    assert found["accuracy"] == pytest.approx(100 * 12 / 18)
    # Of what was said, not of what is right.
    assert numbers("pope", questions, lambda q: "Yes.")["yes_ratio"] == 100
    found = numbers("pope", questions, lambda q: "I cannot tell")
    assert (found["f1_overall"], found["accuracy"], found["yes_ratio"]) == (0, 0, 0)


def test_pope_in_three_splits_is_the_same(tmp_path):
    files.pope(tmp_path / "a")
    files.pope_full(tmp_path / "b")
    one, other = (read("pope", tmp_path / name) for name in "ab")
    assert sorted(q.id for q in one) == sorted(q.id for q in other)


def test_mmstar_means_over_questions_and_over_categories_differ(tmp_path):
    files.mmstar(tmp_path)
    questions = read("mmstar", tmp_path)
    assert [q.answer for q in questions] == ["A", "B", "C", "D", "A", "B"]
    # Right are the first and third: of "geometry" in "math" both, of "diagram" none.
    found = numbers("mmstar", questions, lambda q: q.answer if q.id in ("0", "2") else "E")
    assert found["accuracy"] == pytest.approx(100 / 3)
    assert (found["mean_of_6"], found["math"]) == (pytest.approx(100 / 3), pytest.approx(200 / 3))
    assert found["mean_of_18"] == pytest.approx(100 * (1 + 0 + 0 + 0) / 4)


@pytest.mark.parametrize("language", ["en", "cn", "cc"])
def test_mmbench_reads_any_index_and_leaves_missing_options_out(tmp_path, language):
    files.mmbench(tmp_path)
    questions = read("mmbench", tmp_path, language=language)
    assert [q.id for q in questions] == [
        *("241", "1000241", "2000241", "3000241", "242", "1000242")
    ]
    assert [q.cluster for q in questions] == ["241"] * 4 + ["242"] * 2
    assert questions[4].choices == {"A": "yes", "B": "no"} and questions[4].chance == 0.5
    assert "nan" not in "".join(map(text_of, questions))
    hint = "" if language == "cc" else "Look at it.\n"
    assert text_of(questions[0]).startswith(f"{hint}Which colour?\nA. red\nB. blue\n")


def test_mmbench_is_right_where_every_rotation_is(tmp_path):
    files.mmbench(tmp_path)
    questions = read("mmbench", tmp_path)
    found = numbers("mmbench", questions, right)
    assert (found["circular"], found["plain"], found["all_rows"]) == (100, 100, 100)
    # Always "A" is right for the question as it was written alone.
    found = numbers("mmbench", questions, lambda q: "A")
    assert (found["circular"], found["plain"]) == (0, 100)
    assert found["all_rows"] == pytest.approx(100 * 2 / 6)


def test_mmbench_without_answers_is_refused(tmp_path):
    rows = [row | {"answer": None} for row in files.mmbench_rows(str)]
    files.table(tmp_path / "en/dev-00000-of-00001.parquet", rows)
    with pytest.raises(BenchmarkError, match="241 has the answer '' .*scored by their publisher"):
        read("mmbench", tmp_path)


def test_tables_of_vlmevalkit_hold_pictures_as_base64_and_name_those_of_other_rows(tmp_path):
    rows = [
        {**row, "image": row["image"]["bytes"] if i == 0 else "241"}
        for i, row in enumerate(files.mmbench_rows(int)[:4])
    ]
    files.tsv(tmp_path / "MMBench_DEV_EN.tsv", rows)
    questions = read("mmbench", tmp_path)
    (path,) = {q.content[0].path for q in questions}
    assert read_source(path, 2**20) == files.picture(241)
    assert [q.answer for q in questions] == [q["answer"] for q in rows]
    rows[1]["image"] = "no base64!" * 10
    files.tsv(tmp_path / "MMBench_DEV_EN.tsv", rows)
    with pytest.raises(BenchmarkError, match="the picture of 1000241 is no base64"):
        read("mmbench", tmp_path)


def test_mme_as_vlmevalkit_has_it(tmp_path):
    rows = [
        {
            "index": i,
            "image": row["image"]["bytes"],
            "question": row["question"],
            "answer": row["answer"],
            "category": row["category"],
            "image_path": row["question_id"],
        }
        for i, row in enumerate(files.mme_rows())
    ]
    files.tsv(tmp_path / "MME.tsv", rows)
    assert numbers("mme", read("mme", tmp_path), right)["total"] == 2800
    assert csv.field_size_limit() == 131072  # everybody's


def test_pictures_stay_in_their_parquet_files_and_mirrors_with_base64_are_read(tmp_path):
    files.ai2d(tmp_path / "a")
    (question,) = read("ai2d", tmp_path / "a")
    assert question.content[0].path.startswith(f"record:{tmp_path}/a/data/test-")
    assert (question.answer, question.choices["C"]) == ("C", "b")
    row = {"question": "which?", "options": ["a", "b"], "answer": "0"}
    row["image"] = base64.b64encode(files.picture(5)).decode()
    files.table(tmp_path / "b/data/test-00000-of-00001.parquet", [row])
    (question,) = read("ai2d", tmp_path / "b")
    assert read_source(question.content[0].path, 2**20) == files.picture(5)


def test_textvqa_agrees_with_ten_people(tmp_path):
    files.textvqa(tmp_path)
    questions = read("textvqa", tmp_path)
    assert text_of(questions[0]).startswith("What is the brand of this camera?\n")
    say = {"dakota digital": 100.0, "Dakota": 30.0, "nokia": 0.0}
    assert {
        said: pytest.approx(numbers("textvqa", questions, lambda q: said)["accuracy"])  # noqa: B023
        for said in say
    } == say


def test_ocrbench_counts_what_contains_an_answer(tmp_path):
    files.ocrbench(tmp_path)
    questions = read("ocrbench", tmp_path)
    say = {"0": "It says Centre", "1": "$49 \\div 6=8$"}
    assert numbers("ocrbench", questions, lambda q: say[q.id])["score"] == 2
    assert numbers("ocrbench", questions, lambda q: "centres")["score"] == 0


def test_realworldqa_has_options_and_open_questions(tmp_path):
    files.realworldqa(tmp_path)
    one, other = read("realworldqa", tmp_path)
    assert (one.format, one.choices["B"], other.format) == ("choice", "Right.", "short")
    assert numbers("realworldqa", [one, other], lambda q: {"0": "B", "1": "three."}[q.id]) == {
        "accuracy": 100, "options": 100, "open": 100,
    }  # fmt: skip


def test_mmmu_shows_each_picture_where_it_is_first_named(tmp_path):
    files.mmmu(tmp_path)
    one, other = read("mmmu", tmp_path)
    assert [p if isinstance(p, str) else p.name.split()[1] for p in one.content[:5]] == [
        "What is in ", "image_1", "? See ", "<image 1>", ".\nA. "
    ]  # fmt: skip
    assert one.content[5].name.endswith("image_2") and one.task == "Basic_Medical_Science"
    assert one.choices["B"] == "it's a bone" and one.answer == "B"
    assert (other.format, other.facts["answers"]) == ("short", ["12.5", "12.5 m"])
    assert numbers("mmmu", [other], lambda q: "12.50 m")["accuracy"] == 100
