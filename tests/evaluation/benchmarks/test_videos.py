"""Benchmarks about clips: what is read from their files, and their numbers by hand."""

import json
import zipfile

import pytest

from evaluation.benchmarks import BenchmarkError
from evaluation.benchmarks.question import Medium
from input_pipeline.examples import MediaRef
from input_pipeline.media import probe, read_frames
from tests.evaluation.benchmarks import official_files as files
from tests.evaluation.benchmarks.reading import numbers, read, right, text_of


def video_of(question) -> Medium:
    (found,) = [m for m in question.content if isinstance(m, Medium) and m.kind == "video"]
    return found


def ref_of(question) -> MediaRef:
    found = video_of(question)
    return MediaRef("video", found.path, found.start_s, found.end_s)


# ── Video-MME. ──────────────────────────────────────────────────────────────────────────────────


def test_videomme_finds_clips_in_its_zips_whatever_their_ending(tmp_path):
    files.videomme(tmp_path)
    questions = read("videomme", tmp_path)
    assert len(questions) == 9 and len({q.cluster for q in questions}) == 3
    paths = [video_of(q).path for q in questions[::3]]
    assert paths == [
        f"{tmp_path}/videos_chunked_01.zip::data/aBcDeFgHiJ0.mp4",
        # The same letters in small ones are another video of YouTube's.
        f"{tmp_path}/videos_chunked_01.zip::data/abcdefghij0.mkv",
        f"{tmp_path}/videos_chunked_02.zip::data/_-XyZ_012-3.MP4",
    ]
    assert all(probe(ref_of(q)).frames == 12 for q in questions)
    assert questions[0].choices == {"A": "This.", "B": "That.", "C": "Both.", "D": "Neither."}
    assert "subtitles" not in text_of(questions[0])
    found = numbers("videomme", questions, lambda q: "A")
    assert found["accuracy"] == found["short"] == found["long"] == pytest.approx(100 / 3)
    assert found["questions_with_subtitles"] == 0


@pytest.mark.parametrize("place", ["data", "video", "videos/long"])
def test_videomme_unpacked_as_others_do_it(tmp_path, place):
    files.videomme(tmp_path)
    for path in tmp_path.glob("*.zip"):
        path.unlink()
    for name in ("aBcDeFgHiJ0.mp4", "abcdefghij0.mkv", "_-XyZ_012-3.MP4"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / name).write_bytes(b"clip")
    (tmp_path / "subtitle").mkdir()
    (tmp_path / "subtitle" / "aBcDeFgHiJ0.srt").write_text(files.SRT)
    questions = read("videomme", tmp_path, subtitles="all")
    assert not any(q.missing for q in questions)
    assert sum(q.facts["has_subtitles"] for q in questions) == 3


def test_videomme_with_subtitles_adds_nothing_where_there_are_none(tmp_path):
    files.videomme(tmp_path)
    questions = read("videomme", tmp_path, subtitles="all")
    assert text_of(questions[0]).startswith(
        "This video's subtitles are listed below:\nHello & welcome\nto two lines.\n"
        "Select the best answer to the following multiple-choice question based on the video and "
        "the subtitles."
    )
    plain = read("videomme", tmp_path)
    assert [text_of(q) for q in questions[3:]] == [text_of(q) for q in plain[3:]]
    assert numbers("videomme", questions, right)["questions_with_subtitles"] == 3


def test_videomme_subtitles_of_the_frames_are_looked_up_when_these_are_known(tmp_path):
    files.videomme(tmp_path)
    questions = read("videomme", tmp_path, subtitles="shown")
    assert text_of(questions[0]) == text_of(read("videomme", tmp_path, subtitles="32")[0])
    assert [q.facts.get("subtitles") for q in questions] == [
        *[f"{tmp_path}/subtitle.zip::subtitle/aBcDeFgHiJ0.srt"] * 3,
        *[None] * (len(questions) - 3),
    ]


def test_videomme_subtitles_at_evenly_spaced_moments(tmp_path):
    srt = "".join(
        f"{i}\n00:0{i}:00,000 --> 00:0{i}:15,000\nline {i}\n\n" for i in range(8)
    )  # the last line ends after 7.25 minutes
    files.videomme(tmp_path)
    files.zipped(tmp_path / "subtitle.zip", {"subtitle/aBcDeFgHiJ0.srt": srt.encode()})
    question = read("videomme", tmp_path, subtitles="8")[0]
    spoken = [line for line in text_of(question).split("\n") if line.startswith("line")]
    moments = [(i + 0.5) * 7.25 / 8 for i in range(8)]
    expected = [f"line {int(m)}" for m in moments if m - int(m) <= 0.25]
    assert spoken == expected and 0 < len(spoken) < 8


# ── MVBench. ────────────────────────────────────────────────────────────────────────────────────


def test_mvbench_main_cuts_by_seconds_and_reads_frames_webm_and_gif(tmp_path):
    files.mvbench(tmp_path)
    questions = {q.id: q for q in read("mvbench", tmp_path)}
    assert len(questions) == 40
    cut = {q.task for q in questions.values() if video_of(q).start_s is not None}
    assert cut == {
        "action_sequence", "action_prediction", "object_interaction", "action_localization",
        "episodic_reasoning",
    }  # fmt: skip
    sequence = questions["action_sequence/0"]
    assert (video_of(sequence).start_s, video_of(sequence).end_s) == (0.5, 1.2)
    # 6 frames a second: those at 3/6 … 7/6 s.
    assert probe(ref_of(sequence)).frames == 5
    frames = ref_of(questions["episodic_reasoning/0"])
    assert frames.path.endswith("tvqa.zip::tvqa/frames_fps3_hq/episodic_reasoning_0?fps=3")
    # 3 frames a second: at 2/3 and 1 s, fewer than any budget asks for.
    assert probe(frames).frames == 2 and len(read_frames(frames, [0, 1])) == 2
    assert probe(ref_of(questions["action_antonym/0"])).frames == 12  # webm
    assert probe(ref_of(questions["scene_transition/1"])).frames > 1  # gif
    assert sequence.answer == "B" and sequence.chance == pytest.approx(1 / 3)
    assert text_of(sequence) == (
        "Question:What did he do?\nOption:\n(A) He sat.\n(B) He stood.\n(C) He left.\n"
        "Only give the best option."
    )


def test_mvbench_unpacked(tmp_path):
    files.mvbench(tmp_path)
    for path in (tmp_path / "video").glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "video")
        path.unlink()
    questions = {q.id: q for q in read("mvbench", tmp_path)}
    assert {q.task for q in questions.values() if q.missing} == {"fine_grained_pose"}
    frames = ref_of(questions["episodic_reasoning/1"])
    assert frames.path == f"{tmp_path}/video/tvqa/frames_fps3_hq/episodic_reasoning_1?fps=3"
    assert probe(frames).frames == 2
    assert "/data0613/" in video_of(questions["moving_count/0"]).path


def test_mvbench_takes_mended_clips_from_their_archive(tmp_path):
    files.mvbench(tmp_path)
    questions = {q.id: q for q in read("mvbench", tmp_path)}
    assert "/data0613.zip::data0613/clevrer/" in video_of(questions["moving_count/0"]).path
    assert "/clevrer.zip::clevrer/" in video_of(questions["moving_count/1"]).path


def test_mvbench_video_cuts_nothing_again(tmp_path):
    files.mvbench_video(tmp_path)
    questions = read("mvbench", tmp_path)
    assert len(questions) == 20 and not any(q.missing for q in questions)
    assert all((video_of(q).start_s, video_of(q).end_s) == (None, None) for q in questions)
    assert all(probe(ref_of(q)).frames == 12 for q in questions)


def test_mvbench_is_a_mean_over_the_tasks_that_are_there(tmp_path):
    files.mvbench(tmp_path)
    questions = [q for q in read("mvbench", tmp_path) if not q.missing]
    found = numbers("mvbench", questions, lambda q: "B" if q.task == "state_change" else "(A)")
    assert found["tasks"] == 19 and "fine_grained_pose" not in found
    assert found["mean_over_tasks"] == pytest.approx(100 / 19)
    # The article "a" is no option, nor is nothing at all.
    found = numbers("mvbench", questions, lambda q: "a man" if q.id.endswith("0") else "")
    assert found["mean_over_tasks"] == 0


def test_mvbench_names_what_its_files_get_wrong(tmp_path):
    files.mvbench(tmp_path)
    path = tmp_path / "json/state_change.json"
    records = json.loads(path.read_text())
    records[1]["answer"] = "B"
    records[1]["candidates"] = ["x", "y"]
    path.write_text(json.dumps(records))
    assert read("mvbench", tmp_path)  # a letter names an option too
    records[1]["answer"] = "neither"
    path.write_text(json.dumps(records))
    with pytest.raises(BenchmarkError, match="state_change, record 1: the answer 'neither'"):
        read("mvbench", tmp_path)
    files.mvbench_video(tmp_path / "v")
    (tmp_path / "v/test.json").write_text('{"meta": []}')
    with pytest.raises(BenchmarkError, match=r'test.json is not \{"root"'):
        read("mvbench", tmp_path / "v")


# ── TempCompass. ────────────────────────────────────────────────────────────────────────────────


def test_tempcompass_options_of_every_kind_become_letters(tmp_path):
    files.tempcompass(tmp_path)
    questions = read("tempcompass", tmp_path)
    assert [(q.format, q.answer) for q in questions] == [
        ("choice", "B"),
        ("yes_no", "no"),
        *[("choice", "A")] * 3,
    ]
    options = [text_of(q).split("\n")[1] for q in questions[2:]]
    # A number might be part of any answer.
    assert options == ["Option A: he sits", "Sentence A: he sits", "Caption A: he sits"]
    # Clips made from one source hang together.
    assert [q.cluster for q in questions] == ["17", "17", "18", "18", "18"]
    say = ["B. he runs", "No.", "Option A", "he sits", "Caption B"]
    found = numbers("tempcompass", questions, lambda q: say[questions.index(q)])
    assert (found["multi_choice"], found["yes_no"]) == (100, 100)
    assert found["caption_matching"] == pytest.approx(200 / 3)
    assert found["mean_of_formats"] == pytest.approx((100 + 100 + 200 / 3) / 3)
    assert (found["action"], found["order"]) == (100, pytest.approx(200 / 3))


# ── Video-MMMU. ─────────────────────────────────────────────────────────────────────────────────


def test_videommmu_appends_the_questions_picture_or_leaves_it_to_the_last_frame(tmp_path):
    files.videommmu(tmp_path)
    appended = {q.id: q for q in read("videommmu", tmp_path)}
    with_picture = appended["Adaptation/validation_Math_2"]
    assert [getattr(part, "kind", "text") for part in with_picture.content] == [
        "video",
        "image",
        "text",
    ]
    assert "The image for this question is at the end of the video.\n" in text_of(with_picture)
    without = {q.id: q for q in read("videommmu", tmp_path, image="last_frame")}
    assert len(without["Adaptation/validation_Math_2"].content) == 2
    # A question that has no picture is asked without one.
    assert len(appended["Adaptation/validation_Math_4"].content) == 2
    assert appended["Adaptation/validation_Math_4"].format == "short"
    seen = appended["Perception/new_Art_1"]
    assert text_of(seen).endswith("Please ignore the Quiz question in last frame of the video.")
    medical = appended["Comprehension/dev_Basic_Medical_Science_3"]
    assert medical.facts["subject"] == "Basic_Medical_Science"
    assert "/Medicine.zip::" in video_of(medical).path


def test_videommmu_knowledge_is_what_a_lecture_adds(tmp_path):
    files.videommmu(tmp_path)
    questions = read("videommmu", tmp_path, tracks="knowledge")
    assert sorted(q.task for q in questions) == [*["Adaptation"] * 2, *["before"] * 2]
    before = [q for q in questions if q.task == "before"]
    assert all("question_only/" in video_of(q).path for q in before)
    assert not any("watch" in text_of(q) for q in before)
    found = numbers(
        "videommmu",
        questions,
        lambda q: q.answer if q.task != "before" or q.cluster.endswith("2") else "",
    )
    assert (found["before"], found["after"], found["delta_knowledge"]) == (50, 100, 100)
    # It may be made worse.
    found = numbers(
        "videommmu", questions, lambda q: q.answer if q.task == "before" and "2" in q.id else ""
    )
    assert (found["before"], found["after"], found["delta_knowledge"]) == (50, 0, -100)
    assert "delta_knowledge" not in numbers("videommmu", questions, right)


# ── Video-MME-v2. ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wrong", "relevance", "in_a_row", "parallel_23", "parallel_12"),
    [
        ("", 100, 100, 100, 100),
        ("4", 56.25, 56.25, 700 / 12, 50),
        ("3", 56.25, 25, 400 / 12, 20),
        ("2", 56.25, 6.25, 400 / 12, 10),
        ("1", 56.25, 0, 0, 10),
        ("12", 25, 0, 0, 0),
        ("23", 25, 6.25, 100 / 12, 10),
        ("234", 6.25, 6.25, 100 / 12, 10),
        ("1234", 0, 0, 0, 0),
    ],
)
def test_videomme_v2_scores_groups(tmp_path, wrong, relevance, in_a_row, parallel_23, parallel_12):
    files.videomme_v2(tmp_path)
    questions = read("videomme_v2", tmp_path)
    assert len(questions) == 16 and questions[0].choices["H"] == "hx"
    expected = [relevance, in_a_row, parallel_23, parallel_12]
    found = numbers("videomme_v2", questions, lambda q: "H" if q.id[-1] in wrong else q.answer)
    assert found["group_score"] == pytest.approx(sum(expected) / 4)
    assert found["group_score_relevance"] == pytest.approx(relevance)
    assert found["group_score_logic"] == pytest.approx(sum(expected[1:]) / 3)
    assert found["accuracy"] == pytest.approx(100 * (4 - len(wrong)) / 4)
    assert found["groups"] == 4


def test_videomme_v2_leaves_out_groups_that_are_not_whole(tmp_path):
    files.videomme_v2(tmp_path)
    questions = read("videomme_v2", tmp_path, subtitles="all")
    assert text_of(questions[0]).startswith(
        "This video's subtitles are listed below:\nso it is\n\nQuestion: What happens?\nA. ax\n"
    )
    assert text_of(questions[4]).startswith("Question: ")
    found = numbers("videomme_v2", questions[1:], right)
    assert found["groups"] == 3 and "group_score_relevance" not in found


# ── The others. ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("write", [files.mlvu, files.mlvu_dev])
def test_mlvu_is_a_mean_over_tasks_from_either_release(tmp_path, write):
    write(tmp_path)
    questions = read("mlvu", tmp_path)
    assert not any(q.missing for q in questions) and {q.answer for q in questions} == {"B"}
    assert text_of(questions[0]).endswith("(C) green\n(D) grey\nOnly give the best option.") or (
        text_of(questions[0]).endswith("(C) green\nOnly give the best option.")
    )
    found = numbers("mlvu", questions, lambda q: "B" if q.task == "plotQA" else "A")
    assert found["mean_over_tasks"] == pytest.approx(100 / found["tasks"])


def test_longvideobench_reads_a_tar_in_parts(tmp_path):
    files.longvideobench(tmp_path)
    questions = read("longvideobench", tmp_path, subtitles="all")
    assert [probe(ref_of(q)).frames for q in questions] == [12] * 4
    assert video_of(questions[0]).path == f"{tmp_path}/videos.tar.part.aa::videos/v0.mp4"
    assert text_of(questions[1]).startswith("Subtitles of the video:\nLook at this.\n\nWhat")
    assert text_of(questions[0]).startswith("What did she hold?\nA. a cup\nB. a hat\n")
    found = numbers("longvideobench", questions, lambda q: "B" if q.id == "v2_0" else "A")
    assert (found["accuracy"], found["seconds_600"], found["seconds_15"]) == (25, 100, 0)
    (tmp_path / "videos.tar.part.ab").unlink()
    with pytest.raises(BenchmarkError, match="the part behind videos.tar.part.aa is missing"):
        read("longvideobench", tmp_path)


def test_charades_sta_measures_overlap(tmp_path):
    files.charades_sta(tmp_path)
    questions = read("charades_sta", tmp_path)
    # The second stretch ends behind the clip, as published.
    assert [q.facts["span"] for q in questions] == [[0.3, 1.5], [1.0, 7.0]]
    say = {"0": "The event happens in the 0.3 - 0.9 seconds.", "1": "soon"}
    found = numbers("charades_sta", questions, lambda q: say[q.id])
    assert found["miou"] == pytest.approx(100 * 0.5 / 2)
    assert [found[f"r1_at_{t}"] for t in (0.3, 0.5, 0.7)] == [50, 50, 0]


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("tomato", ["A", "B"]),
        ("lvbench", ["D", "D"]),
        ("egoschema", ["D"]),
        ("nextqa", ["A", "B", "C"]),
    ],
)
def test_answers_given_as_places_are_letters(tmp_path, name, answers):
    files.WRITERS[name][0](tmp_path)
    questions = read(name, tmp_path)
    assert [q.answer for q in questions] == answers
    assert all(probe(ref_of(q)).frames == 12 for q in questions)
    assert numbers(name, questions, right)["accuracy"] == 100


def test_lvbench_counts_a_question_under_each_of_its_types(tmp_path):
    files.lvbench(tmp_path)
    questions = read("lvbench", tmp_path)
    found = numbers("lvbench", questions, lambda q: q.answer if q.id == "1" else "A")
    assert found == {
        "accuracy": 50, "key_information_retrieval": 0, "reasoning": 100, "summarization": 100,
    }  # fmt: skip
