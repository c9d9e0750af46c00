"""Writes tiny benchmarks in the official formats: published names, columns and layouts, real media.

A function for each benchmark, which writes into a folder what `hf download` would leave there.
"""

import base64
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from tests.input_pipeline.media_fixtures import painted_frame, write_clip


def picture(number: int = 0) -> bytes:
    """A JPEG of 64 x 48 pixels."""
    return cv2.imencode(".jpg", painted_frame(number, 96, 64))[1].tobytes()


def image(number: int = 0, name: str = "a.jpg") -> dict[str, Any]:
    """A picture as the "Image" feature of Hugging Face data sets stores it."""
    return {"bytes": picture(number), "path": name}


def clip(folder: Path, name: str = "clip.mp4", **options: Any) -> bytes:
    """The bytes of a clip of 12 frames at 6 frames a second."""
    folder.mkdir(parents=True, exist_ok=True)
    path = write_clip(folder / name, 12, fps=6, size=(96, 64), **options)
    data = path.read_bytes()
    path.unlink()
    return data


def table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)


def tsv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of VLMEvalKit; pictures as base64."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(rows[0])
    lines = ["\t".join(names)]
    for row in rows:
        values = [row[name] for name in names]
        texts = [base64.b64encode(v).decode() if isinstance(v, bytes) else str(v) for v in values]
        lines.append("\t".join(f'"{t}"' if "\n" in t else t for t in texts))
    path.write_text("\n".join(lines) + "\n")


def zipped(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    """A zip archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)


def tarred(path: Path, members: Mapping[str, bytes]) -> None:
    """A tar archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


# ── Pictures. ───────────────────────────────────────────────────────────────────────────────────

# fmt: off
MME_TASKS = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark",
    "artwork", "OCR", "commonsense_reasoning", "numerical_calculation", "text_translation",
    "code_reasoning",
)
# fmt: on


def mme_rows(tasks: Sequence[str] = MME_TASKS) -> list[dict[str, Any]]:
    """One picture a task, its second question far from its first."""
    return [
        {
            "question_id": f"{task}/0001.png",
            "image": image(i),
            "question": f"Is it {answer}? Please answer yes or no.",
            "answer": answer,
            "category": task,
        }
        for answer in ("Yes", "No")
        for i, task in enumerate(tasks)
    ]


def mme(folder: Path) -> None:
    """Two of four shards."""
    rows = mme_rows()
    for i in range(2):
        table(folder / f"data/test-{i:05}-of-00002-f00d.parquet", rows[i::2])


def mmstar_rows() -> list[dict[str, Any]]:
    return [
        {
            "index": i,
            "question": "Which?\nOptions: A: red, B: blue, C: green, D: none",
            "image": image(i),
            "answer": "ABCD"[i % 4],
            "category": ["math", "logical reasoning"][i // 3],
            "l2_category": ["geometry", "diagram"][i % 2],
            "meta_info": {"source": "X", "split": "val", "image_path": f"{i}.jpg"},
        }
        for i in range(6)
    ]


def mmstar(folder: Path) -> None:
    table(folder / "mmstar.parquet", mmstar_rows())


def mmbench_rows(index: type) -> list[dict[str, Any]]:
    """Two questions: of four options in four rotations, of two options in two."""
    rows = []
    for base, options in ((241, ["red", "blue", "green", "grey"]), (242, ["yes", "no"])):
        for turn in range(len(options)):
            turned = options[turn:] + options[:turn]
            texts = turned + ["nan"] * (4 - len(options))
            rows.append(
                {
                    "index": index(base + 1_000_000 * turn),
                    "question": "Which colour?",
                    "hint": "Look at it." if base == 241 else "nan",
                    "answer": "ABCD"[turned.index(options[0])],
                    **dict(zip("ABCD", texts, strict=True)),
                    "category": "attribute_recognition",
                    "image": image(base),
                    "source": "x",
                    "L2-category": "coarse_perception",
                    "comment": "nan",
                    "split": "dev",
                }
            )
    return rows


def mmbench(folder: Path) -> None:
    """English, with an index of text; Chinese and "cc", with numbers."""
    table(folder / "en/dev-00000-of-00001.parquet", mmbench_rows(str))
    table(folder / "cn/dev-00000-of-00001.parquet", mmbench_rows(int))
    gone = ("hint", "L2-category", "comment", "split")
    rows = [{k: v for k, v in row.items() if k not in gone} for row in mmbench_rows(int)]
    table(folder / "cc/test-00000-of-00001.parquet", rows)


def pope_rows(category: str) -> list[dict[str, Any]]:
    return [
        {
            "id": str(i),
            "question_id": str(i + 1),
            "question": f"Is there a {thing} in the image?",
            "answer": "yes" if i % 2 == 0 else "no",
            "image_source": f"COCO_val2014_{i // 3:012}",
            "image": image(i // 3),
            "category": category,
        }
        for i, thing in enumerate(("dog", "cat", "car", "bus", "cup", "hat"))
    ]


def pope(folder: Path) -> None:
    rows = [row for name in ("adversarial", "popular", "random") for row in pope_rows(name)]
    table(folder / "data/test-00000-of-00001.parquet", rows)


def pope_full(folder: Path) -> None:
    """The same as config "Full"."""
    for name in ("adversarial", "popular", "random"):
        table(folder / f"Full/{name}-00000-of-00001.parquet", pope_rows(name))


# ── Clips. ──────────────────────────────────────────────────────────────────────────────────────

SRT = """\ufeff1
00:00:00,000 --> 00:00:00,800
<font color="white">Hello &amp; welcome</font>

2
00:00:00,900 --> 00:00:01,200
Hello &amp; welcome

3
00:00:01,300 --> 00:00:02,000
to two
lines.
"""


def videomme(folder: Path) -> None:
    """Three videos in two zips, one deflated, one with another ending; subtitles of one."""
    names = {"short": "aBcDeFgHiJ0", "medium": "abcdefghij0", "long": "_-XyZ_012-3"}
    rows = [
        {
            "video_id": f"{i + 1:03}",
            "duration": duration,
            "domain": "Knowledge",
            "sub_category": "Humanity & History",
            "url": f"https://www.youtube.com/watch?v={name}",
            "videoID": name,
            "question_id": f"{i + 1:03}-{j}",
            "task_type": "Counting Problem",
            "question": "What happens?",
            "options": ["A. This.", "B. That.", "C. Both.", "D. Neither."],
            "answer": "ABC"[j - 1],
        }
        for i, (duration, name) in enumerate(names.items())
        for j in (1, 2, 3)
    ]
    table(folder / "videomme/test-00000-of-00001.parquet", rows)
    one, two, three = names.values()
    zipped(
        folder / "videos_chunked_01.zip",
        {f"data/{one}.mp4": clip(folder), f"data/{two}.mkv": clip(folder, "c.mkv")},
    )
    zipped(
        folder / "videos_chunked_02.zip", {f"data/{three}.MP4": clip(folder)}, zipfile.ZIP_DEFLATED
    )
    zipped(folder / "subtitle.zip", {f"subtitle/{one}.srt": SRT.encode()})


MVBENCH_FOLDERS = {
    "action_sequence": "star/Charades_v1_480",
    "action_prediction": "star/Charades_v1_480",
    "action_antonym": "ssv2_video",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "unexpected_action": "FunQA_test/test",
    "object_existence": "clevrer/video_validation",
    "object_interaction": "star/Charades_v1_480",
    "object_shuffle": "perception/videos",
    "moving_direction": "clevrer/video_validation",
    "action_localization": "sta/sta_video",
    "scene_transition": "scene_qa/video",
    "action_count": "perception/videos",
    "moving_count": "clevrer/video_validation",
    "moving_attribute": "clevrer/video_validation",
    "state_change": "perception/videos",
    "fine_grained_pose": "nturgbd",
    "character_order": "perception/videos",
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa/frames_fps3_hq",
    "counterfactual_inference": "clevrer/video_validation",
}
_BOUND = ("star/", "sta/", "tvqa/")
_ENDINGS = {"ssv2_video": ".webm", "scene_qa/video": ".gif", "tvqa/frames_fps3_hq": ""}


def _mvbench_record(task: str, i: int, folder: str) -> dict[str, Any]:
    return {
        "video": f"{task}_{i}{_ENDINGS.get(folder, '.mp4')}",
        "question": "What did he do?",
        "candidates": ["He sat.", "He stood.", "He left."],
        "answer": "He stood.",
    }


def mvbench(folder: Path) -> None:
    """Branch "main": two questions a task, without the clips of NTU."""
    media = {"": clip(folder), ".webm": clip(folder, "c.webm", codec="libvpx-vp9")}
    media[".gif"] = clip(folder, "c.gif", codec="gif", pixel_format="rgb8")
    archives: dict[str, dict[str, bytes]] = {}
    for task, place in MVBENCH_FOLDERS.items():
        records = [_mvbench_record(task, i, place) for i in range(2)]
        if place.startswith(_BOUND):
            records = [record | {"start": 0.5, "end": 1.2} for record in records]
        (folder / "json").mkdir(exist_ok=True)
        (folder / "json" / f"{task}.json").write_text(json.dumps(records))
        top = place.partition("/")[0]
        members = archives.setdefault(top, {})
        for record in records if top != "nturgbd" else ():
            name = f"{place}/{record['video']}"
            if top == "tvqa":
                members |= {f"{name}/{k + 1:05}.jpg": picture(k) for k in range(6)}
            else:
                members[name] = media.get(Path(name).suffix, media[""])
    mended = "clevrer/video_validation/moving_count_0.mp4"
    archives["data0613"] = {f"data0613/{mended}": clip(folder, "d.mp4")}
    archives["clevrer"][mended] = b"spoilt"
    for name, members in archives.items():
        if members:
            zipped(folder / "video" / f"{name}.zip", members)


def mvbench_video(folder: Path) -> None:
    """Branch "video": clips that are cut already, all there."""
    cut = {
        "star/Charades_v1_480": "star/Charades_segment",
        "sta/sta_video": "sta/sta_video_segment",
        "tvqa/frames_fps3_hq": "tvqa/video_fps3_hq_segment",
        "nturgbd": "nturgbd_convert",
        "ssv2_video": "ssv2_video_mp4",
    }
    data = clip(folder)
    meta: dict[str, list[dict[str, Any]]] = {}
    for task, place in MVBENCH_FOLDERS.items():
        record = _mvbench_record(task, 0, "") | {"start": 0.5, "end": 1.2}
        meta[task] = [record]
        path = folder / cut.get(place, place) / record["video"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    root = {task: cut.get(place, place) + "/" for task, place in MVBENCH_FOLDERS.items()}
    (folder / "test.json").write_text(json.dumps({"root": root, "meta": meta}))


def tempcompass(folder: Path) -> None:
    """All four formats."""
    rows: dict[str, list[dict[str, Any]]] = {
        "multi-choice": [
            {
                "video_id": "17",
                "question": "What happens?\nA. he sits\nB. he runs",
                "answer": "B. he runs",
                "dim": "action",
            }
        ],
        "yes_no": [
            {"video_id": "17_reverse", "question": "Does he run?", "answer": "no", "dim": "speed"}
        ],
        "caption_matching": [
            {
                "video_id": "18",
                "question": f"Which fits?\n{word}{a}: he sits\n{word}{b}: he runs",
                "answer": f"{word}{a}: he sits",
                "dim": "order",
            }
            for word, a, b in (("Option ", 1, 2), ("Sentence ", "A", "B"), ("Caption ", "A", "B"))
        ],
        "captioning": [
            {
                "video_id": "18",
                "question": "Describe it.",
                "answer": "he sits",
                "dim": "order",
                "mc_question": "…",
                "mc_answer": "A. he sits",
            }
        ],
    }
    for name, records in rows.items():
        table(folder / name / "test-00000-of-00001.parquet", records)
    data = clip(folder)
    names = ("17", "17_reverse", "18")
    zipped(folder / "tempcompass_videos.zip", {f"videos/{name}.mp4": data for name in names})


def videommmu(folder: Path) -> None:
    """Adaptation has an open question, and one without a picture."""
    plain = {"question_type": "multiple-choice", "options": ["1 m", "2 m", "3 m"], "answer": "B"}
    tracks = {
        "Perception": [{"id": "new_Art_1", "question": "Seen?", **plain}],
        "Comprehension": [{"id": "dev_Basic_Medical_Science_3", "question": "Meant?", **plain}],
        "Adaptation": [
            {"id": "validation_Math_2", "question": "How long?", **plain, "image": image(1)},
            {
                "id": "validation_Math_4",
                "question": "How many?",
                "question_type": "open",
                "options": [],
                "answer": "12.5",
                "image": None,
            },
        ],
    }
    for name, rows in tracks.items():
        table(folder / name / "test-00000-of-00001.parquet", rows)
    data = clip(folder)
    zipped(folder / "Art.zip", {"Art/new_Art_1.mp4": data})
    zipped(folder / "Medicine.zip", {"Medicine/dev_Basic_Medical_Science_3.mp4": data})
    names = ("validation_Math_2", "validation_Math_4")
    zipped(folder / "Science.zip", {f"Science/{name}.mp4": data for name in names})
    zipped(
        folder / "question_only_videos.zip",
        {f"question_only/{name}_image.mp4": data for name in names},
    )


def videomme_v2(folder: Path) -> None:
    """Four groups, of each kind and structure; subtitles of one, word by word."""
    kinds = [("relevance", None), ("logic", "[1,2,3,4]"), ("logic", "[1, [2, 3], 4]")]
    kinds.append(("logic", "[[1, 2], 3, 4]"))
    rows = [
        {
            "video_id": f"{i + 1:03}",
            "url": "https://…",
            "group_type": kind,
            "group_structure": structure,
            "question_id": f"{i + 1:03}-{j}",
            "question": "What happens?",
            "options": "\n".join(f"{letter}. {letter.lower()}x" for letter in "ABCDEFGH"),
            "answer": "ABCD"[j - 1],
            "level": j % 3 + 1 if kind == "logic" else None,
            "second_head": "Order",
            "third_head": "Order of two",
        }
        for i, (kind, structure) in enumerate(kinds)
        for j in (4, 1, 3, 2)  # not in their order
    ]
    table(folder / "test.parquet", rows)
    data = clip(folder)
    zipped(folder / "videos/001-002.zip", {"001.mp4": data, "002.mp4": data})
    zipped(folder / "videos/003-004.zip", {"003.mp4": data, "004.mp4": data})
    words = [{"text": word, "start_time": 0.1, "end_time": 0.2} for word in ("so", "it", "is")]
    (folder / "subtitle").mkdir()
    (folder / "subtitle/001.jsonl").write_text("\n".join(map(json.dumps, words)))


# fmt: off
MLVU_TASKS = (
    "1_plotQA", "2_needle", "3_ego", "4_count", "5_order", "6_anomaly_reco", "7_topic_reasoning",
)
# fmt: on


def mlvu(folder: Path) -> None:
    """The publisher's folders; clips as files."""
    data = clip(folder)
    for task in MLVU_TASKS:
        name = f"{task[2:]}_1.mp4"
        record = {
            "video": name,
            "duration": 2.0,
            "question": "What is it?",
            "candidates": ["red", "blue", "green", "grey"],
            "answer": "blue",
            "question_type": task[2:],
        }
        (folder / "MLVU/json").mkdir(parents=True, exist_ok=True)
        (folder / f"MLVU/json/{task}.json").write_text(json.dumps([record]))
        path = folder / f"MLVU/video/{task}/{name}"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    written = [{"video": "x.mp4", "question": "Tell.", "answer": "…"}]
    (folder / "MLVU/json/9_summary.json").write_text(json.dumps(written))


def mlvu_dev(folder: Path) -> None:
    """The table of `sy1998/MLVU_dev`: options inside the question."""
    question = "What is it?\n(A) red\n(B) blue\n(C) green"
    rows = [
        {"video_name": "1_plotQA/a.mp4", "question": question, "answer": "B", "task_type": task}
        for task in ("plotQA", "needle")
    ]
    table(folder / "data/test-00000-of-00001.parquet", rows)
    zipped(folder / "video_part_1.zip", {"1_plotQA/a.mp4": clip(folder)})


def longvideobench(folder: Path) -> None:
    """Videos in a tar of three parts, subtitles in a whole one."""
    base = {
        "question": "What did she hold?",
        "candidates": ["a cup", "a hat"],
        "correct_choice": 1,
        "question_category": "S2E",
        "starting_timestamp_for_subtitles": 0,
    }
    lengths = (15, 60, 600, 3600)
    rows = [
        {
            **base,
            "id": f"v{i}_0",
            "video_path": f"v{i}.mp4",
            "subtitle_path": f"v{i}_en.json",
            "duration_group": length,
            "duration": float(length),
        }
        for i, length in enumerate(lengths)
    ]
    (folder / "lvb_val.json").write_text(json.dumps(rows))
    data = clip(folder)
    tarred(folder / "whole.tar", {f"videos/v{i}.mp4": data for i in range(4)})
    whole = (folder / "whole.tar").read_bytes()
    (folder / "whole.tar").unlink()
    size = -(-len(whole) // 3)
    for i, letter in enumerate("abc"):
        part = folder / f"videos.tar.part.a{letter}"
        part.write_bytes(whole[i * size : (i + 1) * size])
    lines = [{"start": "00:00:00.1", "end": "00:00:00.9", "line": "Look at this."}]
    tarred(folder / "subtitles.tar", {"subtitles/v1_en.json": json.dumps(lines).encode()})


def charades_sta(folder: Path) -> None:
    rows = [
        {"video": "3MSZA.mp4", "caption": "person turn a light on.", "timestamp": [0.3, 1.5]},
        {"video": "3MSZA.mp4", "caption": "person sits down.", "timestamp": [1.0, 7.0]},
    ]
    table(folder / "data/test-00000-of-00001.parquet", rows)
    zipped(folder / "Charades_v1_480.zip", {"Charades_v1_480/3MSZA.mp4": clip(folder)})


def tomato(folder: Path) -> None:
    rows = [
        {
            "video_path": f"videos/human/{i}.mp4",
            "question": "Which way?",
            "options": ["Left", "Right", "Not at all"],
            "answer": i,
            "reason_type": ["direction", "count"][i],
        }
        for i in range(2)
    ]
    table(folder / "data/test-00000-of-00001.parquet", rows)
    data = clip(folder)
    zipped(folder / "videos.zip", {f"videos/human/{i}.mp4": data for i in range(2)})


def lvbench(folder: Path) -> None:
    question = "What year is it?\n(A) 1636\n(B) 1366\n(C) 1363\n(D) 1633"
    rows = [
        {
            "video_path": "Cm73ma6Ibcs.mp4",
            "question": question,
            "answer": "D",
            "question_type": kinds,
            "uid": str(i),
        }
        for i, kinds in enumerate((["key information retrieval"], ["reasoning", "summarization"]))
    ]
    table(folder / "data/train-00000-of-00001.parquet", rows)
    zipped(folder / "video_chunks/a.zip", {"Cm73ma6Ibcs.mp4": clip(folder)})


def egoschema(folder: Path) -> None:
    name = "0074f737-11cb-497d-8d07-77c3a8127391"
    row = {
        "question_idx": "17",
        "question": "What is she doing?",
        "video_idx": name,
        "option": [f"{letter}. c does {letter}" for letter in "ABCDE"],
        "answer": "3",
    }
    table(folder / "Subset/test-00000-of-00001.parquet", [row])
    table(folder / "MC/test-00000-of-00001.parquet", [row | {"answer": None}])
    zipped(folder / "videos_chunked_01.zip", {f"videos/{name}.mp4": clip(folder)})


def nextqa(folder: Path) -> None:
    rows = [
        {
            "video": 4010069381,
            "frame_count": 369,
            "question": "how do the two man play",
            "answer": i,
            "qid": i,
            "type": kind,
            **{f"a{k}": text for k, text in enumerate(("roll", "tap", "strum", "hit", "pat"))},
        }
        for i, kind in enumerate(("CH", "TN", "DC"))
    ]
    table(folder / "MC/test-00000-of-00001.parquet", rows)
    zipped(folder / "videos.zip", {"NExTVideo/4010069381.mp4": clip(folder)})


# ── More pictures. ──────────────────────────────────────────────────────────────────────────────


def textvqa(folder: Path) -> None:
    row = {
        "image_id": "003a8ae2ef43b901",
        "question_id": 34602,
        "question": "what is the BRAND of this camera?",
        "image": image(),
        "answers": ["nous les gosses", "dakota", "clos culombu", *["dakota digital"] * 6, ""],
        "ocr_tokens": ["DAKOTA"],
    }
    table(folder / "data/validation-00000-of-00001.parquet", [row])


def ai2d(folder: Path) -> None:
    row = {"question": "which?", "options": ["a", "c", "b", "d"], "answer": "2", "image": image()}
    table(folder / "data/test-00000-of-00001.parquet", [row])


def realworldqa(folder: Path) -> None:
    ask = "Please answer directly with only the letter of the correct option and nothing else."
    rows = [
        {
            "image": image(),
            "question": f"Which way?\nA. Left.\nB. Right.\nC. Straight.\n{ask}",
            "answer": "B",
        },
        {
            "image": image(1),
            "question": "How many? Please answer directly with a single word or number.",
            "answer": "3",
        },
    ]
    table(folder / "data/test-00000-of-00001.parquet", rows)


def ocrbench(folder: Path) -> None:
    rows = [
        {
            "dataset": "IIIT5K",
            "question": "what is written in the image?",
            "question_type": "Regular Text Recognition",
            "answer": ["CENTRE"],
            "image": image(),
        },
        {
            "dataset": "HME100k",
            "question": "Please write out the expression using LaTeX format.",
            "question_type": "Handwritten Mathematical Expression Recognition",
            "answer": ["4 9 \\div 6 = 8"],
            "image": image(1),
        },
    ]
    table(folder / "data/test-00000-of-00001.parquet", rows)


def mmmu(folder: Path) -> None:
    """A question with two pictures, one of them in an option, and an open one."""
    rows = [
        {
            "id": "validation_Basic_Medical_Science_3",
            "question": "What is in <image 1>? See <image 1>.",
            "options": "['<image 2>', \"it's a bone\", 'none']",
            "question_type": "multiple-choice",
            "answer": "B",
            "image_1": image(1),
            "image_2": image(2),
            "image_3": None,
            "subfield": "Anatomy",
        },
        {
            "id": "validation_Math_7",
            "question": "<image 1> How long?",
            "options": "[]",
            "question_type": "open",
            "answer": "['12.5', '12.5 m']",
            "image_1": image(3),
            "image_2": None,
            "image_3": None,
            "subfield": "Geometry",
        },
    ]
    table(folder / "data/validation-00000-of-00001.parquet", rows)


def mmlu(folder: Path) -> None:
    """Two subjects, one with two questions."""
    rows = [
        {"question": "Find the degree.", "subject": "abstract_algebra", "answer": 1},
        {"question": "What is the order of 2?\n", "subject": "abstract_algebra", "answer": 3},
        {"question": "Which bone?", "subject": "anatomy", "answer": 0},
    ]
    options = [["0", "4", "2", "6"], ["8", "2", "24", "120"], ["hyoid", "ulna", "femur", "none"]]
    rows = [row | {"choices": each} for row, each in zip(rows, options, strict=True)]
    table(folder / "all/test-00000-of-00001.parquet", rows)
    table(folder / "all/dev-00000-of-00001.parquet", rows[:1])


# Name → its writer, and the folder that it may lie in.
WRITERS = {
    "mme": (mme, "lmms-lab/MME"),
    "mmstar": (mmstar, "MMStar"),
    "mmbench": (mmbench, "mmbench"),
    "pope": (pope, "POPE"),
    "videomme": (videomme, "lmms-lab/Video-MME"),
    "mvbench": (mvbench, "MVBench"),
    "tempcompass": (tempcompass, "TempCompass"),
    "videommmu": (videommmu, "VideoMMMU"),
    "videomme_v2": (videomme_v2, "Video-MME-v2"),
    "mlvu": (mlvu, "MVLU"),
    "longvideobench": (longvideobench, "longvideobench"),
    "charades_sta": (charades_sta, "charades_sta"),
    "tomato": (tomato, "datasets--lmms-lab--TOMATO/snapshots/0123abc"),
    "lvbench": (lvbench, "LVBench"),
    "egoschema": (egoschema, "egoschema"),
    "nextqa": (nextqa, "lmms-eval__NExTQA"),
    "textvqa": (textvqa, "textvqa"),
    "ai2d": (ai2d, "ai2d"),
    "realworldqa": (realworldqa, "lmms-lab-encoder/RealWorldQA"),
    "ocrbench": (ocrbench, "OCRBench"),
    "mmmu": (mmmu, "MMMU"),
    "mmlu": (mmlu, "cais/mmlu"),
}
