"""Writes a study directory as `run_study` leaves it, from a seeded simulation.

The cells, their names and their frame policies are what `run_study` plans for
configs/demo.py, and every file goes through the writer that the product uses. What is
simulated are the answers: each question has a difficulty and a number of frames that it needs.
Fine-tuning adds video skill that grows with the frames trained on and takes image skill; seeds
scatter around that. So the report's sections have something plausible, and known, to show.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from configs import demo
from evaluation.held_texts import perplexities
from evaluation.results import Prediction, Provenance, save_evaluation, summarise
from evaluation.study import cell_folder, plan_cells
from evaluation.study_files import Budget, Cell, IndexSummary
from input_pipeline.frame_budget import canonical_spec, resolve_spec, spec_label

HYBRID = "hybrid"
CONTROL = "random-matched"
POLICIES = ("fixed-2", "fixed-4", "fixed-8", "fixed-16", HYBRID, CONTROL)
IMAGE_TASKS = ("attribute", "counting", "position", "text")
TEXT_TASKS = ("colour", "place")
VIDEO_TASKS = ("action", "appearance", "direction", "event count", "order", "speed")
BUDGETS = (2, 4, 8, 16)
# Logits added by fine-tuning: to video answers, to image answers.
GAIN = {
    "fixed-2": (0.35, -0.12),
    "fixed-4": (0.55, -0.15),
    "fixed-8": (0.80, -0.28),
    "fixed-16": (0.95, -0.45),
    HYBRID: (1.00, -0.16),
    CONTROL: (0.70, -0.24),
}


def demo_policies(hybrid_budgets: Sequence[int] = BUDGETS) -> dict[str, dict[str, Any]]:
    """The resolved specs of the full demo's frame policies, by label.

    hybrid_budgets: what the hybrid rule gives to the training videos, for its control.
    """
    entries = demo.get_config("full").study.frames.values()
    clips = [(999, frames) for frames in hybrid_budgets]  # all have more frames than are given
    resolved = [resolve_spec(entry.to_dict(), lambda _: clips) for entry in entries]
    return {spec_label(spec): canonical_spec(spec) for spec in resolved}


def write_study(
    directory: Path,
    *,
    seeds: int = 1,
    questions: int = 400,
    policies: Sequence[str] = POLICIES,
    remedies: Sequence[str] = (),
    text: bool = False,
    infer_frames: Sequence[int] = (),
) -> Path:
    """Writes a complete study and returns its directory. policies: labels. remedies: of the demo's
    by name; what they do is not simulated. text: whether models are asked about text too, and how
    likely they find texts. infer_frames: every model is asked at these too."""
    world = _questions(questions, text)
    known = demo_policies([question["needs"] for question in world if question["needs"]])
    specs = [known[label] for label in policies]
    config = demo.get_config("full")
    config.study.seeds = tuple(range(seeds))
    config.study.infer_frames = tuple(infer_frames)
    config.study.remedies = ConfigDict({name: demo.REMEDIES[name] for name in remedies})
    for number, planned in enumerate(plan_cells(config, directory, specs)):
        cell, folder = planned.cell, cell_folder(directory, planned.cell)
        cell.save(folder)
        if cell.role == "base":
            _write_training(folder, 1.0, 8, 400, cell.seed)
            for spec in planned.asked:
                _write_evaluation(folder, cell, spec, world, clips_alone=spec != specs[0])
        else:
            number = (number - 1) % len(specs)
            _write_training(folder, 0.6, 6 / (1 + number), 150, cell.seed)
            for spec in planned.asked:
                others = spec != cell.frame_policy
                _write_evaluation(folder, cell, spec, world, clips_alone=others)
    _write_index_summary(directory, world, specs)
    return directory


def _questions(count: int, text: bool) -> list[dict]:
    generator = np.random.default_rng(11)
    rows = []
    asked = {"world_image": IMAGE_TASKS, "world_video": VIDEO_TASKS}
    for benchmark, names in (asked | ({"world_text": TEXT_TASKS} if text else {})).items():
        for number in range(count):
            task = names[number % len(names)]
            rows.append(
                {
                    "id": f"{benchmark}/{number:04d}",
                    "benchmark": benchmark,
                    "task": task,
                    "difficulty": generator.normal(0, 1.2),
                    "needs": int(generator.choice(BUDGETS, p=(0.4, 0.3, 0.2, 0.1)))
                    if benchmark == "world_video"
                    else 0,
                    "luck": generator.uniform(),
                    "fresh": generator.uniform(),
                }
            )
    videos = [row for row in rows if row["needs"]]
    for row, other in zip(videos, generator.permutation(len(videos)), strict=True):
        row["others_need"] = videos[other]["needs"]
    return rows


def _budget(spec: Mapping, question: Mapping) -> tuple[int, str]:
    match spec["kind"]:
        case "fixed":
            return spec["frames"], f"{spec['frames']}: fixed"
        case "hybrid":
            return question["needs"], f"{question['needs']}: asks about {question['task']}, 6.0 s"
    # The control has the same budgets as hybrid, given to other questions.
    return question["others_need"], "drawn at random from the histogram of hybrid"


def _write_evaluation(
    folder: Path, cell: Cell, spec: Mapping, world, clips_alone: bool = False
) -> None:
    trained_with = spec_label(cell.frame_policy) if cell.frame_policy else None
    # A seed's models answer a question with common luck, as models of one family do.
    generator = np.random.default_rng([cell.seed, sum(map(ord, spec_label(spec))), 3])
    video_gain, image_gain = GAIN.get(trained_with, (0.0, 0.0))
    scatter = np.random.default_rng([cell.seed, sum(map(ord, cell.name))]).normal(0, 0.06, size=2)
    predictions = []
    for question in world:
        chance = 0.25 if question["task"] not in ("attribute", "text") else 0.5
        if question["needs"]:
            frames, why = _budget(spec, question)
            enough = math.log2(min(frames, question["needs"]) / question["needs"])
            logit = 0.1 + 0.45 * enough - question["difficulty"] + video_gain + scatter[0]
            if question["task"] == "appearance":
                logit -= video_gain * 1.1
        else:
            frames, why = None, ""
            logit = 0.9 - question["difficulty"] + image_gain + scatter[1]
            if question["task"] == "text":
                logit += 2 * image_gain
        skill = chance + (1 - chance) / (1 + math.exp(-logit))
        fresh = generator.uniform()
        if not question["needs"] and trained_with is None:
            fresh = question["fresh"]  # a frame policy does not reach the base's image answers
        luck = 0.8 * question["luck"] + 0.2 * fresh
        right = luck < skill
        parsed = right or generator.uniform() > 0.03
        predictions.append(
            Prediction(
                id=question["id"],
                benchmark=question["benchmark"],
                task=question["task"],
                format="choice" if chance == 0.25 else "yes_no",
                frames=frames,
                why=why,
                prediction="B" if right else ("A" if parsed else ""),
                answer="B",
                score=float(right),
                parsed=bool(parsed),
                visual_tokens=12 * (frames or 2) // 2,
                chance=chance,
                question=f"What happens in {question['id']}?",
            )
        )
    asked = {"world_video": "video"}
    if not clips_alone:
        asked |= {"world_image": "image"}
        if any(question["benchmark"] == "world_text" for question in world):
            asked |= {"world_text": "text", "world_held": "held_text"}
            predictions += _held_texts(image_gain + scatter[1])
    predictions = [p for p in predictions if p.benchmark in asked]
    results = [
        summarise(
            [p for p in predictions if p.benchmark == benchmark],
            benchmark=benchmark,
            modality=modality,
            masked=1 if modality == "video" else 0,
            provenance=Provenance(
                frame_policy=spec,
                trained_with=trained_with,
                checkpoint={"step": 150, "path": str(folder)},
                config=dict(cell.config),
                examples_per_second=21.5,
                generation={"max_new_tokens": 24},
            ),
            metrics=perplexities([p for p in predictions if p.benchmark == benchmark])
            if modality == "held_text"
            else {},
        )
        for benchmark, modality in asked.items()
    ]
    save_evaluation(folder, spec, results, predictions)


def _held_texts(gain: float) -> list[Prediction]:
    """Texts of 100 bytes and 25 tokens, as likely as the gain in image skill makes them."""
    found = []
    for number, of_text in enumerate(np.random.default_rng(12).normal(70, 8, size=20)):
        nats = float(of_text - 10 * gain)
        said = json.dumps({"nats": nats, "tokens": 25, "bytes": 100})
        name = f"world_held/{number}"
        shown = (None, "", said, "", math.exp(-nats / 100), True, 0)
        found.append(
            Prediction(name, "world_held", "text", "held_text", *shown, cluster=name, media=[])
        )
    return found


def _write_training(folder: Path, level: float, speed: float, steps: int, seed: int) -> None:
    generator = np.random.default_rng([seed, steps, int(speed * 10)])
    rows = []
    for step in range(10, steps + 1, 10):
        loss = level + 2.5 * math.exp(-step / (10 + 5 * speed)) + generator.normal(0, 0.05)
        rows.append(
            {
                "step": step,
                "loss": loss,
                "learning_rate": 1e-3 * min(1, step / 20) * (1 - step / steps),
                "grad_norm": 0.8 + generator.uniform(0, 0.4),
                "examples_per_second": 8 * speed + generator.normal(0, 0.3),
                "tokens_per_second": 1500 * speed + generator.normal(0, 30),
                "visual_tokens_per_second": 900 * speed + generator.normal(0, 20),
                "data_wait_fraction": max(0.0, 0.03 + generator.normal(0, 0.01)),
                "token_fill": 0.93 + generator.normal(0, 0.005),
                "patch_fill": 0.71 + generator.normal(0, 0.01),
                "masked": 1 if step == 50 else 0,
                "seconds": step * 0.4,
            }
        )
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_index_summary(directory: Path, world, specs: Sequence[Mapping]) -> None:
    videos = [question for question in world if question["needs"]]
    budgets = []
    for spec in specs:
        chosen = [_budget(spec, question) for question in videos]
        counts = {n: sum(frames == n for frames, _ in chosen) for n in BUDGETS}
        examples = {
            frames: {
                "id": question["id"],
                "instruction": f"How often does the <red> ball bounce? ({question['task']})",
                "frames": frames,
                "why": why,
            }
            for question, (frames, why) in zip(reversed(videos), reversed(chosen), strict=True)
        }
        budgets.append(
            Budget(
                frame_policy=spec,
                histogram={str(n): count for n, count in counts.items() if count},
                visual_tokens=sum(6 * frames for frames, _ in chosen),
                examples=[examples[n] for n in sorted(examples)],
            )
        )
    datasets = {
        "videos": {
            "examples": 2500,
            "kept": 2488,
            "quarantined": {"corrupt": 7, "missing": 3, "too_long": 2},
            "shrunk": {"pixels": 41, "frames": 5},
            "left_out": 2,
        },
        "images": {"examples": 4000, "kept": 4000, "quarantined": {}, "shrunk": {}, "left_out": 0},
    }
    IndexSummary(datasets, budgets).save(directory)
