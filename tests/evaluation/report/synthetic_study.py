"""Writes a study directory as a real study leaves it, from a seeded simulation.

Each question has a difficulty and a number of frames that it needs. Fine-tuning adds video skill
that grows with the frames trained on and takes image skill; seeds scatter around that. So the
report's sections have something plausible, and known, to show.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluation.results import Prediction, summarise, write_predictions

HYBRID = "hybrid"
CONTROL = "random-matched(hybrid)"
POLICIES = ("fixed-2", "fixed-4", "fixed-8", "fixed-16", HYBRID, CONTROL)
IMAGE_TASKS = ("attribute", "counting", "position", "text")
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


def write_study(
    directory: Path, *, seeds: int = 1, questions: int = 400, policies: Sequence[str] = POLICIES
) -> Path:
    """Writes a complete study and returns its directory."""
    world = _questions(questions)
    for seed in range(seeds):
        base = f"base-seed{seed}"
        _write_cell(directory, base, "base", "scratch", None, seed)
        _write_training(directory / "cells" / base, 1.0, 8, 400, seed)
        for label in policies:
            _write_evaluation(directory, base, label, None, world, seed)
        for number, label in enumerate(policies):
            name = f"{label}-seed{seed}"
            _write_cell(directory, name, "sft", base, label, seed)
            _write_training(directory / "cells" / name, 0.6, 6 / (1 + number), 150, seed)
            _write_evaluation(directory, name, label, label, world, seed)
    _write_index_summary(directory, world, policies)
    return directory


def _questions(count: int) -> list[dict]:
    generator = np.random.default_rng(11)
    rows = []
    for benchmark, names in (("world_image", IMAGE_TASKS), ("world_video", VIDEO_TASKS)):
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


def _budget(label: str, question: Mapping) -> tuple[int, str]:
    if label.startswith("fixed-"):
        return int(label[6:]), f"{label[6:]}: fixed"
    if label == HYBRID:
        return question["needs"], f"{question['needs']}: asks about {question['task']}, 6.0 s"
    # The control has the same budgets as hybrid, given to other questions.
    return question["others_need"], "drawn at random from the histogram of hybrid"


def _write_evaluation(directory, cell, label, trained_with, world, seed) -> None:
    # A seed's models answer a question with common luck, as models of one family do.
    generator = np.random.default_rng([seed, sum(map(ord, label)), 3])
    video_gain, image_gain = GAIN.get(trained_with, (0.0, 0.0))
    scatter = np.random.default_rng([seed, sum(map(ord, cell))]).normal(0, 0.06, size=2)
    predictions = []
    for question in world:
        chance = 0.25 if question["task"] not in ("attribute", "text") else 0.5
        if question["needs"]:
            frames, why = _budget(label, question)
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
            )
        )
    folder = directory / "cells" / cell / "eval" / label
    for benchmark, modality in (("world_image", "image"), ("world_video", "video")):
        summarise(
            [p for p in predictions if p.benchmark == benchmark],
            benchmark=benchmark,
            modality=modality,
            masked=1 if modality == "video" else 0,
            frame_policy={"kind": label},
            frame_policy_label=label,
            trained_with=trained_with,
            checkpoint={"step": 150, "path": "checkpoints/150"},
            examples_per_second=21.5,
            config={"max_new_tokens": 24},
        ).save(folder / f"{benchmark}.json")
    write_predictions(folder / "predictions.jsonl", predictions)


def _write_cell(directory, name, role, start, label, seed) -> None:
    record = {"name": name, "role": role, "start": start, "strategy": "full"}
    folder = directory / "cells" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cell.json").write_text(json.dumps(record | {"frames": label, "seed": seed}))


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


def _write_index_summary(directory: Path, world, policies) -> None:
    videos = [question for question in world if question["needs"]]
    budgets = {}
    for label in policies:
        chosen = [_budget(label, question) for question in videos]
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
        budgets[label] = {
            "histogram": {str(n): count for n, count in counts.items() if count},
            "mean_frames": float(np.mean([frames for frames, _ in chosen])),
            "visual_tokens": sum(6 * frames for frames, _ in chosen),
            "examples": [examples[n] for n in sorted(examples)],
        }
    most = max(budget["visual_tokens"] for budget in budgets.values())
    for budget in budgets.values():
        budget["saved_against_largest_fixed"] = 1 - budget["visual_tokens"] / most
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
    summary = {"datasets": datasets, "budgets": budgets}
    (directory / "index_summary.json").write_text(json.dumps(summary))
