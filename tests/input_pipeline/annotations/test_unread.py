"""Media and turns under keys that nothing reads: named, and never trained on as text."""

import json

import pytest

from input_pipeline.annotations import AnnotationError, Notes, Rejected, read_with_places
from input_pipeline.annotations.unread import lookalikes, unread_medium
from input_pipeline.examples import Example
from tests.input_pipeline.annotations.format_helpers import ROOT, read, read_one, reason_of


def qa(number=0, **keys):
    return {"question": f"What {number}?", "answer": "That.", **keys}


GOOD = qa(video="a.mp4")
TALK = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]


@pytest.mark.parametrize(
    "fields",
    [
        # as public data sets and users write them
        {"vidoe": "a.mp4"},
        {"vedio": "a"},
        {"video_path": "clips/a"},
        {"video_id": 7010},
        {"videoID": "fFjv93ACGo8"},
        {"videoid": "x"},
        {"vid": "v_1"},
        {"video_uid": "0a1b"},
        {"youtube_id": "x"},
        {"clip": "a"},
        {"clip_name": "a"},
        {"frames_dir": "frames/a"},
        {"frame_paths": ["1", "2"]},
        {"imgs": ["a"]},
        {"image_id": 33},
        {"img_path": "a"},
        {"source_video": "a"},
        {"media_path": "a"},
        # by the value alone, and below the top
        {"file": "a.MP4"},
        {"path": "/data/a b.webm"},
        {"url": "https://x.org/a.jpg?size=3"},
        {"shown": "a.heic"},
        {"video_idx": "0074f737"},
        {"url": "https://www.youtube.com/watch?v=1"},
        {"meta": {"source": {"name": "a.mkv"}}},
        {"extra": [{"video_id": "a"}]},
    ],
)
def test_a_field_that_names_a_medium_is_never_text_only(tmp_path, fields):
    *_, found = read(tmp_path, [*[GOOD | {"id": i} for i in range(3)], qa(**fields)])
    assert isinstance(found, Rejected) and found.reason == "unread_media"
    key = next(iter(fields))
    assert found.detail.startswith(f'{tmp_path}/data.jsonl, line 4: "{key}')
    assert "\n" not in found.detail and 'under "' in found.detail
    talk = {"conversations": TALK, **fields}
    assert unread_medium(fields)
    with pytest.raises(AnnotationError, match='line 1: "'):
        read(tmp_path, [talk])


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "youtube", "dataset": "x", "duration": 12.5, "category": "sports", "task": "t"},
        {"video_duration": 12.5, "video_category": "cooking", "num_frames": 16, "fps": 30},
        {"video_id": "", "video": None, "images": [], "image_width": 640, "frames": 8},
        {"video_idx": 3, "frame_index": 7},
        {"model": "gpt-4", "movie": "Heat", "medium": "e-mail", "audio": True, "page": 3},
        {"note": "It ends.\nSee a.mp4", "shard": "train-001.parquet", "usage": "2", "stage": "1"},
    ],
)
def test_what_is_about_a_text_only_record_stays_its_metadata(tmp_path, fields):
    example = read_one(tmp_path, qa(**fields))
    read_keys = ("video", "images")
    kept = {key: value for key, value in fields.items() if key not in read_keys}
    assert example.media == () and example.meta == {"answer": "That.", **kept}


def test_a_field_beside_a_medium_that_was_read_is_metadata(tmp_path):
    example = read_one(tmp_path, GOOD | {"video_id": "a", "thumbnail": "a.jpg"})
    assert len(example.media) == 1 and example.meta["video_id"] == "a"


def test_media_inside_turns_and_text_parts_count_too(tmp_path):
    turn = {"role": "user", "content": "What?", "images": ["a.jpg"]}
    answer = {"role": "assistant", "content": "That."}
    with pytest.raises(AnnotationError, match=r'"messages\.0\.images\.0": \'a.jpg\' names'):
        read(tmp_path, [{"messages": [turn, answer]}])
    part = {"type": "text", "text": "What?", "video": "a.mp4"}
    with pytest.raises(AnnotationError, match='under "video"'):
        read(tmp_path, [{"messages": [{"role": "user", "content": [part]}, answer]}])


@pytest.mark.parametrize(
    ("records", "line"),
    [
        (
            [
                {"id": 0, "video_id": 7010, "question": "what does it do?", "answer": "red"},
                {"id": 1, "video_id": 7010, "question": "what does it do?", "answer": "red"},
                {"id": 9, "video": "clipA.mp4", "question": "what?", "answer": "red"},
            ],
            'line 1: "video_id": 7010 names .*under "video", as in 2 of the first 3 records',
        ),
        (
            [
                {
                    "videoID": "clipA",
                    "question_id": f"001-{i}",
                    "question": f"How many times {i}?",
                    "options": ["A. red.", "B. blue."],
                    "answer": "B",
                    "task": "count",
                    "chance": 0.5,
                }
                for i in range(2)
            ],
            'line 1: "videoID": \'clipA\' names .*under "video", as in 2 of the first 2 records',
        ),
    ],
)
def test_a_set_of_records_without_their_clips_is_refused_at_once(tmp_path, records, line):
    with pytest.raises(AnnotationError, match=line) as caught:
        read(tmp_path, records)
    assert "\n" not in str(caught.value)


def test_of_a_list_the_map_that_is_told_reads_all(tmp_path):
    for value, key, kind in (
        (["1.jpg", "2.jpg"], "frames", "video"),
        (["a", "b"], "imgs", "image"),
    ):
        with pytest.raises(AnnotationError, match=f'"columns": {{"{kind}": "{{{key}}}"}} in'):
            read(tmp_path, [qa(**{key: value})])


def test_a_set_with_some_such_records_is_read(tmp_path):
    records = [*[GOOD | {"id": i} for i in range(5)], *[qa(i, video_id=i) for i in range(5)]]
    found = read(tmp_path, records)
    assert [getattr(f, "reason", "") for f in found] == [""] * 5 + ["unread_media"] * 5


# --- Other keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"conversation": TALK, "video": "a.mp4"}, '"conversation" is not read.*"conversations"'),
        ({"query": "What?", "response": "That."}, '"query".*"question".*"response".*"answer"'),
        ({"question": "What?", "anwser": "That."}, '"anwser": .*did you mean "answer"'),
    ],
)
def test_a_file_of_no_known_format_is_told_what_it_may_have_meant(tmp_path, record, said):
    with pytest.raises(AnnotationError, match=said):
        read(tmp_path, [record])


def test_a_rejected_record_is_told_what_it_may_have_meant(tmp_path):
    tagged = [{"from": "human", "value": "<video>\nWhat?"}, TALK[1]]
    good = {"conversations": tagged, "video": "a.mp4"}
    found = read(tmp_path, [good, {"conversations": tagged, "vidoe": "a.mp4"}, {"turns": TALK}])
    assert [f.reason for f in found[1:]] == ["tag_without_media", "bad_turn"]
    assert found[1].detail.endswith('"vidoe": \'a.mp4\' is not read, did you mean "video"?')
    assert found[2].detail.endswith('"turns" is not read, did you mean "conversations"?')


def _notes(tmp_path, records):
    read(tmp_path, records)
    notes = Notes()
    found = list(read_with_places(tmp_path / "data.jsonl", ROOT, "mine", "", notes))
    assert all(isinstance(example, Example) for _, example in found)
    return list(notes.lines())


def test_keys_that_were_not_read_are_named_once_for_a_set(tmp_path):
    lines = _notes(
        tmp_path,
        [
            GOOD,
            qa(1, video="a.mp4", start_s=3, end_s=4),
            qa(2, video="a.mp4", start_s=5, alternatives=["red", "blue"]),
            qa(3, image="i.png", vidoe="b.mp4"),
            qa(4, video=["1.jpg", "2.jpg"], frame_times=[0, 9]),
        ],
    )
    file = f"{tmp_path}/data.jsonl"
    assert lines == [
        f'{file}, line 2: "start_s": 3 is not read, did you mean "start"? (and in 1 more records)',
        f'{file}, line 2: "end_s": 4 is not read, did you mean "end"?',
        f'{file}, line 3: "alternatives" is not read, did you mean "options"?',
        f'{file}, line 4: "vidoe": \'b.mp4\' is not read, did you mean "video"?',
        f'{file}, line 5: "frame_times" is not read, did you mean "timestamps"?',
    ]
    assert list(lookalikes({"start_s": 3}, {"question", "answer"})) == []


def test_a_set_that_speaks_of_clips_and_has_none_is_noticed(tmp_path, caplog):
    asking = [{"question": f"What is in the video, {i}?", "answer": "x"} for i in range(3)]
    (line,) = _notes(tmp_path, [qa(), *asking])
    assert line.startswith("3 of 4 examples speak of a video or image, but none of the set has one")
    assert "line 2: 'What is in the video, 0?'" in line
    assert not _notes(tmp_path, [*asking, GOOD])
    assert not _notes(tmp_path, [qa(i) for i in range(150)] + asking[:1])
    caplog.clear()
    read(tmp_path, asking)
    assert caplog.text.count("speak of a video") == 1


def test_the_reason_of_a_record_names_its_place_in_each_kind_of_file(tmp_path):
    (tmp_path / "list.json").write_text('[{"question": " ", "answer": "x"}]')
    place, found = next(
        read_with_places(tmp_path / "list.json", ROOT, "mine", "question_answer", Notes())
    )
    assert place == (0, f"{tmp_path}/list.json, record 1")
    assert found.detail.startswith(f"{place.where}: ")
    assert reason_of(tmp_path, {"question": " ", "answer": "x"}) == "empty_question"


def test_a_vague_key_is_named_and_is_refused_where_the_question_speaks_of_a_clip(tmp_path):
    notes = Notes()
    path = tmp_path / "vague.jsonl"
    vague = {"scene": "k7", "segment_id": 3, "visual": "a_1", "path": "clips/7"}
    plain = qa(scene="A kitchen in the evening.", file="", visual=True, segment=[1, 2])
    asked = {"question": "What is in the video?", "answer": "That.", "scene": "k7"}
    records = [GOOD | vague, plain, *[qa(i, **{k: v}) for i, (k, v) in enumerate(vague.items())]]
    path.write_text("\n".join(map(json.dumps, [*records, asked])))
    found = [each for _, each in read_with_places(path, ROOT, "mine", "", notes)]
    assert [isinstance(each, Rejected) for each in found] == 6 * [False] + [True]
    assert "\"scene\": 'k7' names a medium under a key that is not read" in found[-1].detail
    lines = list(notes.lines())
    assert len(lines) == len(vague)
    for i, (line, (key, value)) in enumerate(zip(lines, vague.items(), strict=True), start=3):
        assert f'line {i}: "{key}": {value!r} is not read, did you mean "video" or "image"?' in line


def test_sizes_that_are_not_heeded_are_counted(tmp_path):
    notes = Notes()
    part = {"type": "video", "video": "a.mp4", "resized_height": 280, "total_pixels": 9}
    answer = {"role": "assistant", "content": "That."}
    asked = [{"type": "text", "text": "What?"}, part]
    path = tmp_path / "sized.jsonl"
    records = [
        {"messages": [{"role": "user", "content": asked}, answer]},
        {"messages": [{"role": "user", "content": asked[:1]}, answer], "resized_height": 280},
        {"messages": [{"role": "user", "content": "<image>What?"}, answer], "image": "a.jpg"}
        | {"resized_height": 280},
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    assert len(list(read_with_places(path, ROOT, "mine", "", notes))) == 3
    height, pixels = notes.lines()
    assert height.startswith('2 of 3 examples have "resized_height", which is not heeded: sizes')
    assert pixels.startswith('1 of 3 examples have "total_pixels"') and pixels.endswith("line 1")
