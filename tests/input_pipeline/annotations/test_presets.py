"""Each preset on a file in the layout in which its data set is published."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from input_pipeline.annotations import PRESETS, AnnotationError, columns_of, read_annotations
from input_pipeline.examples import Example

TALK = [
    {"from": "human", "value": "<image>\nWhat happens?"},
    {"from": "gpt", "value": "He runs."},
]

# name → (file, its content, [medium below the root, turns' texts, some of the metadata])
PUBLISHED = {
    "llava_video_178k": (
        "0_30_s_academic_v0_1_cap_processed.json",
        [
            {
                "id": "academic_source/Charades/1F9F2",
                "conversations": TALK,
                "data_source": "0_30_s_academic_v0_1",
                "video": "academic_source/Charades/1F9F2.mp4",
            }
        ],
        (
            "academic_source/Charades/1F9F2.mp4",
            ["What happens?", "He runs."],
            {"data_source": "0_30_s_academic_v0_1"},
        ),
    ),
    "llava_onevision": (
        "train.parquet",
        [
            {
                "id": "33471",
                "image": {"bytes": b"\x89PNG", "path": "a.png"},
                "conversations": TALK,
                "data_source": "sharegpt4o",
            }
        ],
        ("record:", ["What happens?", "He runs."], {"data_source": "sharegpt4o"}),
    ),
    "llava_onevision_2": (
        "mid_training.jsonl",
        [
            {
                "id": "1",
                "videos": ["clips/1.mp4"],
                "messages": [
                    {"role": "user", "content": "<video>\nWhat happens?"},
                    {"role": "assistant", "content": "He runs."},
                ],
            }
        ],
        ("clips/1.mp4", ["What happens?", "He runs."], {}),
    ),
    "sharegpt4video": (
        "sharegpt4video_40k.jsonl",
        [
            {
                "video_id": "8efa85c6",
                "video_path": "panda/8efa85c6.mp4",
                "timestamp": ["00:00:00.000", "00:00:10.000"],
                "keyframe": [0, 49],
                "captions": [
                    {"idx": "0", "content": "A man."},
                    {"idx": "1", "content": "Now he runs."},
                    {"idx": "-1", "content": "A man stands, then runs."},
                ],
                "zip_folder": "panda_videos_1.zip",
            }
        ],
        (
            "panda/8efa85c6.mp4",
            ["Describe the video in detail.", "A man stands, then runs."],
            {"zip_folder": "panda_videos_1.zip"},
        ),
    ),
    "videoinstruct_100k": (
        "VideoInstruct_Dataset.json",
        [{"q": "What happens?", "a": "He runs.", "video_id": "v_k_ZXmr8pmrs"}],
        ("v_k_ZXmr8pmrs.mkv", ["What happens?", "He runs."], {}),
    ),
    "videochat2_it": (
        "video/conversation/videochatgpt/train.json",
        [
            {
                "video": "v_k.mp4",
                "QA": [
                    {"i": "Answer the questions.", "q": "What happens?", "a": "He runs."},
                    {"i": "", "q": "Where?", "a": "Outside."},
                ],
            }
        ],
        ("v_k.mp4", ["Answer the questions.\nWhat happens?", "He runs.", "Where?", "Outside."], {}),
    ),
    "finevideo": (
        "train-00000-of-01357.parquet",
        [
            {
                "mp4": b"\x00\x00\x00\x18ftyp",
                "json": {
                    "content_metadata": {
                        "qAndA": [
                            {"answer": "He runs.", "question": "What happens?"},
                            {"answer": "Outside.", "question": "Where?"},
                        ]
                    },
                    "youtube_title": "Runner",
                },
            }
        ],
        ("record:", ["What happens?", "He runs.", "Where?", "Outside."], {"title": "Runner"}),
    ),
    "vript": (
        "vript_short_videos_captions.jsonl",
        [
            {
                "meta": {"video_id": "02toZL7p4_0", "video_title": "Run", "num_clips": 2},
                "clip_id": "02toZL7p4_0-Scene-001",
                "caption": {
                    "shot_type": "Wide",
                    "camera_movement": "Still",
                    "content": "He runs.",
                    "scene_title": "Run",
                },
                "voiceover": [""],
            }
        ],
        (
            "02toZL7p4_0/02toZL7p4_0-Scene-001.mp4",
            ["Describe the video in detail.", "He runs."],
            {},
        ),
    ),
    "nextqa": (
        "val.csv",
        [
            {
                "video": 4010069381,
                "frame_count": 369,
                "width": 640,
                "height": 480,
                "question": "how do they get there",
                "answer": 3,
                "qid": 6,
                "type": "CH",
                **{"a0": "walk", "a1": "bus", "a2": "car", "a3": "run", "a4": "fly"},
            }
        ],
        (
            "4010069381.mp4",
            [
                "how do they get there\nA. walk\nB. bus\nC. car\nD. run\nE. fly\n"
                "Answer with the option's letter.",
                "D",
            ],
            {"task": "CH", "chance": 0.2, "answer": "D", "format": "choice"},
        ),
    ),
    "msrvtt_qa": (
        "test_qa.json",
        [{"answer": "couch", "category_id": 14, "id": 1, "question": "what?", "video_id": 7010}],
        (
            "video7010.mp4",
            ["what?", "couch"],
            {"answer": "couch", "format": "short", "chance": 0, "task": "open"},
        ),
    ),
    "activitynet_qa": (
        "test.parquet",
        [
            {
                "video_name": "1QIUV7WYKXg",
                "question": "is he running",
                "question_id": "v_1QIUV7WYKXg_1",
                "answer": "yes",
                "type": "3",
            }
        ],
        ("v_1QIUV7WYKXg.mp4", ["is he running", "yes"], {"task": "type 3", "format": "short"}),
    ),
    "alpaca": (
        "alpaca_data.json",
        [
            {
                "instruction": "Say it again.",
                "input": "He runs.",
                "output": "He is running.",
                "history": [["Hello.", "Good day."]],
            }
        ],
        (None, ["Hello.", "Good day.", "Say it again.\nHe runs.", "He is running."], {}),
    ),
    "swift": (
        "swift.jsonl",
        [
            {
                "query": "<video>What happens?",
                "response": "He runs.",
                "history": [],
                "videos": ["a.mp4"],
                "system": "Be brief.",
            }
        ],
        ("a.mp4", ["Be brief.", "What happens?", "He runs."], {}),
    ),
}


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            rows = csv.DictWriter(file, records[0])
            rows.writeheader()
            rows.writerows(records)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        path.write_text(json.dumps(records, indent=1))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_reads_its_data_set(tmp_path, name):
    file, records, (medium, texts, meta) = PUBLISHED[name]
    write(tmp_path / file, records)
    for clip in ("v_k_ZXmr8pmrs.mkv", "v_1QIUV7WYKXg.mp4"):  # of several endings
        (tmp_path / clip).touch()
    columns = columns_of({"preset": name})
    (example,) = read_annotations(tmp_path / file, tmp_path, "mine", columns=columns)
    assert isinstance(example, Example), example
    assert [turn.text.strip() for turn in example.turns] == texts
    paths = [ref.path.removeprefix(f"{tmp_path}/") for ref in example.media]
    assert (paths[0].startswith(medium) if medium else not paths) and len(paths) <= 1
    assert meta.items() <= example.meta.items()


def test_columns_are_put_on_top_of_a_preset():
    columns = columns_of({"preset": "msrvtt_qa", "columns": {"video": "{video_id}.avi"}})
    assert columns["video"] == "{video_id}.avi" and columns["format"] == "short"
    assert columns_of({"annotations": "x", "preset": "", "columns": None}) == {}
    with pytest.raises(AnnotationError, match="'msrvtt': known are .*msrvtt_qa"):
        columns_of({"preset": "msrvtt"})


@pytest.mark.parametrize(
    "name",
    ["sharegpt4video", "videoinstruct_100k", "videochat2_it", "finevideo", "vript", "alpaca"],
)
def test_a_file_in_such_a_layout_is_told_its_preset(tmp_path, name):
    file, records, _ = PUBLISHED[name]
    write(tmp_path / file, records)
    with pytest.raises(AnnotationError, match=f'"preset": "{name}" reads such records'):
        list(read_annotations(tmp_path / file, tmp_path, "mine"))


def test_a_set_whose_clips_are_not_read_is_told_the_map_that_reads_them(tmp_path):
    records = PUBLISHED["msrvtt_qa"][1]
    write(tmp_path / "qa.json", records)
    for there, wanted in (("", "{video_id}.mp4"), ("video7010.mp4", "video{video_id}.mp4")):
        (tmp_path / there).touch()
        with pytest.raises(AnnotationError) as caught:
            list(read_annotations(tmp_path / "qa.json", tmp_path, "mine"))
        assert f'"columns": {{"video": "{wanted}"}} in the set\'s entry' in str(caught.value)
    columns = {"video": "video{video_id}.mp4"}
    (example,) = read_annotations(tmp_path / "qa.json", tmp_path, "mine", columns=columns)
    assert example.media[0].path == f"{tmp_path}/video7010.mp4"


def test_nextqa_s_answer_is_a_place_where_the_options_are_numbers_too(tmp_path):
    counted = {**PUBLISHED["nextqa"][1][0], "answer": 2, **{f"a{i}": i + 1 for i in range(5)}}
    write(tmp_path / "val.csv", [counted])
    columns = columns_of({"preset": "nextqa"})
    (example,) = read_annotations(tmp_path / "val.csv", tmp_path, "mine", columns=columns)
    assert example.turns[0].text.split("\n")[3] == "C. 3" and example.turns[1].text == "C"
