"""MVBench (arXiv 2311.17005): 20 tasks of 200 questions, in two layouts.

Branch "main" has the publishers' clips, which five tasks cut by seconds, and folders of frames for
one; branch "video" has MP4s that are cut already, so that nothing is cut again.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, Compat
from evaluation.benchmarks.numbers import mean_over_tasks
from evaluation.benchmarks.prompts import choice_question, letter_of, lettered, lines
from evaluation.benchmarks.question import Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import compat

_NTU = "fine_grained_pose"  # clips that their owner does not let others hand on
_FRAMES_FPS = 3
# Where the clips of a task lie in branch "main".
_FOLDERS = {
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
    _NTU: "nturgbd",
    "character_order": "perception/videos",
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa/frames_fps3_hq",
    "counterfactual_inference": "clevrer/video_validation",
}


def read(source: Source, options: Mapping[str, Any]) -> Iterator[Question]:
    """From json/<task>.json of branch "main", or test.json of branch "video"."""
    if source.has("json/*.json"):
        for task, folder in _FOLDERS.items():
            for i, record in enumerate(source.rows(f"json/{task}.json")):
                yield _question(source, task, i, record, folder, cut=True)
        return
    path = source.one("test.json")
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        for task, records in whole["meta"].items():
            for i, record in enumerate(records):
                folder = whole["root"][task].strip("/")
                yield _question(source, task, i, record, folder, cut=False)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise source.fail(f'{path} is not {{"root": …, "meta": …}}: {error!r}') from error


def _question(
    source: Source, task: str, number: int, record: Mapping[str, Any], folder: str, *, cut: bool
) -> Question:
    choices = lettered(record["candidates"])
    answer = letter_of(record["answer"], choices)
    if not answer:
        raise source.fail(
            f"{task}, record {number}: the answer {record['answer']!r} is none of its candidates"
        )
    # Clips that were mended lie in an archive of their own, "data0613.zip".
    within = (f"data0613/{folder}", folder)
    bounds = (record.get("start"), record.get("end")) if cut else (None, None)
    video = source.video(
        record["video"],
        *within,
        clip=bounds,
        fps=_FRAMES_FPS if folder.endswith("frames_fps3_hq") else None,
    )
    text = f"Question:{record['question']}\nOption:\n{lines(choices, '({}) {}')}\n"
    return choice_question(
        f"{task}/{number}",
        (video, f"{text}Only give the best option."),
        choices,
        answer,
        task=task,
        cluster=f"{folder}/{record['video']}",
        asks=record["question"].strip(),
    )


MVBENCH = Benchmark(
    name="mvbench",
    title="MVBench",
    modality="video",
    repositories=("OpenGVLab/MVBench", "PKU-Alignment/MVBench"),
    rows=4000,
    files="json/*.json and video/*.zip (17 GB), or test.json and the clips of --revision video",
    read=read,
    aggregate=mean_over_tasks,
    compat=Compat(compat.mvbench, mean_over_tasks, ("mean_over_tasks",)),
    withdrawn=frozenset({_NTU}),
)
