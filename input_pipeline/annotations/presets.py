"""Column maps of public data sets, by name: what docs/data.md lists, with where clips lie.

Each is what a config could say under "columns" itself; what it says there is put on top.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from input_pipeline.annotations.columns import ColumnMap, reads
from input_pipeline.annotations.rejected import AnnotationError

_DESCRIBE = "Describe the video in detail."

PRESETS: dict[str, dict[str, Any]] = {
    # huggingface.co/datasets/lmms-lab/LLaVA-Video-178K
    "llava_video_178k": {"conversations": "{conversations}", "video": "{video}"},
    # lmms-lab/LLaVA-OneVision-Data, mvp-lab/LLaVA-OneVision-1.5-Instruct-Data: some without images
    "llava_onevision": {"conversations": "{conversations}", "image": "{image?}"},
    # The records that LLaVA-OneVision-1.5's and -2's trainers take: "images", "videos" beside them.
    "llava_onevision_2": {"messages": "{messages}"},
    # ShareGPT4Video/ShareGPT4Video, sharegpt4video_40k.jsonl: captions of key frames, and with
    # "idx" -1 of the whole clip
    "sharegpt4video": {
        "id": "{video_id}",
        "video": "{video_path}",
        "question": _DESCRIBE,
        "answer": "{captions.idx=-1.content}",
        "captions": None,
        "timestamp": None,  # of the key frames, which no question asks about
    },
    # MBZUAI/VideoInstruct-100K: clips of ActivityNet, which have several endings
    "videoinstruct_100k": {"video": "{video_id}.*", "question": "{q}", "answer": "{a}"},
    # OpenGVLab/VideoChat2-IT: an instruction with each question; in captions no question
    "videochat2_it": {"questions": {"each": "{QA}", "question": "{i?}\n{q?}", "answer": "{a}"}},
    # HuggingFaceFV/finevideo: Parquet with the clips inside
    "finevideo": {
        "video": "{mp4}",
        "questions": {
            "each": "{json.content_metadata.qAndA}",
            "question": "{question}",
            "answer": "{answer}",
        },
        "title": "{json.youtube_title?}",
        "json": None,
    },
    # Mutonix/Vript, vript_captions/*.jsonl: a line a scene
    "vript": {
        "id": "{clip_id}",
        "video": "{meta.video_id}/{clip_id}.mp4",
        "question": _DESCRIBE,
        "answer": "{caption.content}",
    },
    # doc-doc/NExT-QA, multiple choice: train.csv, val.csv, test.csv
    "nextqa": {
        "id": "{video}_{qid}",
        "video": "{video}.mp4",
        "options": ["{a0}", "{a1}", "{a2}", "{a3}", "{a4}"],
        "answer_place": "{answer}",  # also where the options are numbers
        "task": "{type}",
        "chance": 0.2,
    },
    # MSR-VTT-QA: train_qa.json, val_qa.json, test_qa.json
    "msrvtt_qa": {
        "video": "video{video_id}.mp4",
        "task": "open",
        "format": "short",
        "chance": 0,
    },
    # lmms-lab/ActivityNetQA: its authors' questions and answers in one file
    "activitynet_qa": {
        "id": "{question_id}",
        "video": "v_{video_name}.*",
        "task": "type {type}",
        "format": "short",
        "chance": 0,
    },
    # tatsu-lab/alpaca and its kin, with the earlier turns that LLaMA-Factory adds
    "alpaca": {
        "questions": {"each": "{history?}", "question": "{0}", "answer": "{1}"},
        "question": "{instruction}\n{input?}",
        "answer": "{output}",
    },
    # ms-swift
    "swift": {
        "questions": {"each": "{history?}", "question": "{0}", "answer": "{1}"},
        "question": "{query}",
        "answer": "{response}",
    },
}


def columns_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The column map of a data set's entry: its "preset", and its "columns" on top.

    Raises AnnotationError for an unknown preset and for a map that means nothing.
    """
    name = entry.get("preset") or ""
    if name and name not in PRESETS:
        raise AnnotationError(f"preset {name!r}: known are {', '.join(PRESETS)}")
    columns = {**PRESETS.get(name, {}), **(entry.get("columns") or {})}
    ColumnMap(columns)
    return columns


def preset_for(records: Sequence[Any]) -> str | None:
    """The preset that reads these records, whose keys are of no known format; None without one."""
    found = [record for record in records if isinstance(record, Mapping)]
    fits = (name for name, columns in PRESETS.items() if found and reads(columns, found[0]))
    return next(fits, None)
