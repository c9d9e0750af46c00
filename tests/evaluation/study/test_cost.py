"""What a study's training takes is what its indexes hold, and what the plan job priced."""

import json

import pytest

from configs import common
from evaluation.study import Cost, cost_lines, costs_of, plan_cells
from input_pipeline.frame_budget import canonical_spec
from vsft_jax.config import Run
from vsft_jax.prepare import prepare_training


@pytest.fixture(scope="module")
def config(shared_config):
    """One epoch, a row a step: so that nothing is taken twice to complete a step."""
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=0, epochs=1.0, batch_rows=1)
    config.study.seeds = (0, 1)
    for entry in config.data.train.values():
        entry.weight = float(entry.weight > 0)
    return config


@pytest.fixture(scope="module")
def planned(config, tmp_path_factory):
    words = (common.frame_spec(word, (2, 4, 8, 16)) for word in ("4", "hybrid"))
    return plan_cells(config, tmp_path_factory.mktemp("cost"), list(map(canonical_spec, words)))


def test_an_epoch_is_what_the_index_holds(config, planned, tmp_path, one_device):
    base, four, hybrid = costs_of(tmp_path, planned)
    assert (base.name, four.name, hybrid.name) == ("base", "fixed-4", "hybrid")
    assert (base.models, four.models, hybrid.models) == (1, 2, 2), "two seeds"
    summaries = prepare_training(Run(planned[1].config, tmp_path)).summaries.values()
    assert four.examples == 2 * sum(each["kept"] for each in summaries)
    assert four.tokens == 2 * sum(each["tokens"] for each in summaries)
    assert four.visual_tokens == 2 * sum(each["visual_tokens"] for each in summaries)
    assert four.steps == four.rows and four.chip_hours is None
    assert hybrid.examples == four.examples and hybrid.visual_tokens != four.visual_tokens


def test_rows_cost_what_the_plan_says_a_row_takes(config, planned, tmp_path, one_device):
    """Four chips take half an hour to an hour for eight rows: a row is 0.25 to 0.5 chip-hours."""
    plan = {
        "devices": 4,
        "batch_rows": 8,
        "fits": True,
        "row_tokens": config.layout.row_tokens,
        "row_patches": config.layout.row_patches,
        "roofline": {"seconds": 1800.0},
        "cost": {"seconds": 3600.0},
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    cost = costs_of(tmp_path, planned)[1]
    assert cost.chip_hours == pytest.approx((cost.rows * 0.25, cost.rows * 0.5))
    for other in ({"row_tokens": 7}, {"fits": False}, {"cost": 1}):
        (tmp_path / "plan.json").write_text(json.dumps(plan | other))
        assert costs_of(tmp_path, planned)[1].chip_hours is None


def test_the_table_adds_up():
    costs = [
        Cost("base", 1, 10, 20, 30, 400, 100, (1.0, 2.0)),
        Cost("hybrid", 3, 30, 60, 90, 4000, 3000, (10.0, 22.0)),
    ]
    heads, base, hybrid, together = cost_lines(costs)
    assert heads.split()[:3] == ["models", "steps", "examples"]
    assert base.split() == ["base", "1", "10", "30", "300", "100", "1–2"]
    assert hybrid.split() == ["hybrid", "3", "30", "90", "1,000", "3,000", "10–22"]
    assert together.split() == ["together", "4", "40", "120", "1,300", "3,100", "11–24"]
    unpriced = cost_lines([costs[0], Cost("hybrid", 3, 30, 60, 90, 4000, 3000)])
    assert unpriced[2].endswith("–") and "--job=plan" in unpriced[-1]
    assert cost_lines([]) == ["every model is trained"]
