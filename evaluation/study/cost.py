"""What a study's training takes, from the prepared indexes alone, before anything is trained.

Steps, examples and tokens are counted as `train` would plan them. Chip-hours follow where the plan
job has priced a step for rows of the same size in the study's folder: what a row takes there, times
the rows. They are its estimate between a memory roofline and the compiler's price, of training
without evaluation, and of a step without a remedy: a projected gradient takes a second one.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.study.cells import Planned
from input_pipeline.frame_budget import spec_label
from input_pipeline.index import ExampleStore
from vsft_jax.config import Run, as_json
from vsft_jax.prepare import prepare_training
from vsft_jax.row_plan import batch_plan
from vsft_jax.train import with_schedule

PLAN_FILE = "plan.json"  # of the plan job


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the training of some models takes together.

    name: the frame policy's label, or the base's name. rows: of packed examples, in all steps.
    tokens: of text and vision in them; visual_tokens: of these. chip_hours: from a roofline and at
    the compiler's price; None where no step is priced.
    """

    name: str
    models: int = 0
    steps: int = 0
    rows: int = 0
    examples: int = 0
    tokens: int = 0
    visual_tokens: int = 0
    chip_hours: tuple[float, float] | None = None

    def __add__(self, other: "Cost") -> "Cost":
        hours = None
        if self.chip_hours and other.chip_hours:
            hours = (
                self.chip_hours[0] + other.chip_hours[0],
                self.chip_hours[1] + other.chip_hours[1],
            )
        numbers = ("models", "steps", "rows", "examples", "tokens", "visual_tokens")
        sums = {key: getattr(self, key) + getattr(other, key) for key in numbers}
        return Cost(self.name, chip_hours=hours, **sums)


def costs_of(workdir: Path, planned: Sequence[Planned]) -> list[Cost]:
    """A cost for each frame policy of the cells that are trained, in their order, the base's first.

    workdir: of the study, whose plan.json prices rows. Prepares training sets that are not yet.
    """
    stores: dict[str, Mapping[str, ExampleStore]] = {}
    found: dict[str, Cost] = {}
    for each in planned:
        if each.trains:
            run = Run(each.config, workdir)
            key = _decides_index(each)
            if key not in stores:
                stores[key] = prepare_training(run).stores()
            policy = each.cell.frame_policy
            name = spec_label(policy) if policy else each.cell.name
            cost = _of_training(name, run, stores[key], _chip_seconds_a_row(run))
            found[name] = found[name] + cost if name in found else cost
    return list(found.values())


def cost_lines(costs: Sequence[Cost]) -> list[str]:
    """A table as text, a line for each cost and one for all of them together."""
    if not costs:
        return ["every model is trained"]
    total = sum(costs[1:], start=costs[0])
    rows = [*costs, dataclasses.replace(total, name="together")]
    columns: dict[str, Callable[[Cost], str]] = {
        "": lambda cost: cost.name,
        "models": lambda cost: f"{cost.models:,}",
        "steps": lambda cost: f"{cost.steps:,}",
        "examples": lambda cost: f"{cost.examples:,}",
        "text tokens": lambda cost: f"{cost.tokens - cost.visual_tokens:,}",
        "visual tokens": lambda cost: f"{cost.visual_tokens:,}",
        "chip-hours": lambda cost: _hours(cost.chip_hours),
    }
    table = [list(columns), *[[text(cost) for text in columns.values()] for cost in rows]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in table
    ]
    if total.chip_hours is None:
        lines.append("–: --job=plan with this workdir has not priced a step of rows of that size")
    return lines


def _hours(hours: tuple[float, float] | None) -> str:
    if hours is None:
        return "–"
    low, high = (f"{each:,.0f}" if each >= 10 else f"{each:.2g}" for each in hours)
    return f"{low}–{high}"


def _of_training(
    name: str,
    run: Run,
    stores: Mapping[str, ExampleStore],
    a_row: tuple[float, float] | None,
) -> Cost:
    """Of one model; examples and tokens as in the first epoch, on average."""
    run = with_schedule(run, stores)
    train = run.config.train
    plan = batch_plan(run, stores).pack_plan(0)
    store = ExampleStore.concatenate(list(stores.values()))
    rows = train.steps * train.batch_rows
    epochs = rows / plan.rows
    return Cost(
        name=name,
        models=1,
        steps=train.steps,
        rows=rows,
        examples=round(epochs * len(plan.members)),
        tokens=round(epochs * int(store.tokens[plan.members].sum())),
        visual_tokens=round(epochs * int(store.visual_tokens[plan.members].sum())),
        chip_hours=a_row and (rows * a_row[0] / 3600, rows * a_row[1] / 3600),
    )


def _chip_seconds_a_row(run: Run) -> tuple[float, float] | None:
    """What the plan job found a row of training to take, from a roofline and at the compiler's
    price; None without a plan, for rows of another size, and for a step that did not fit."""
    try:
        plan = json.loads((run.workdir / PLAN_FILE).read_text(encoding="utf-8"))
        shape = (plan["row_tokens"], plan["row_patches"])
        if shape != (run.row_shape.tokens, run.row_shape.patches) or not plan["fits"]:
            return None
        chips = plan["devices"] / plan["batch_rows"]
        return chips * plan["roofline"]["seconds"], chips * plan["cost"]["seconds"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _decides_index(each: Planned) -> str:
    """What the training indexes of a cell follow from: cells that share it share them."""
    values: dict[str, Any] = as_json(each.config)
    return json.dumps([values[key] for key in ("frames", "data", "layout", "model", "tokenizer")])
