"""The table of steps on pods, of plans that are made up."""

from bench.tpu.__main__ import line
from bench.tpu.cases import CASES
from vsft_jax.plan.flops import ModelFlops
from vsft_jax.plan.program import Cost, Visits
from vsft_jax.plan.result import Plan
from vsft_jax.plan.rows import PackedRows


def test_each_step_is_held_against_text_alone_on_the_same_pod():
    for case in CASES:
        config = case.run().config
        assert config.plan.topology == case.topology
        alone = config.optimizer.learning_rate.tower == 0
        assert alone == (case.what == "text alone") == (config.layout.row_patches < 100)


def test_a_line_of_the_table():
    packed = PackedRows("made up", 2.5, 0.9, 0.9, 640, Visits(), 9.0, 1.0, 9.0, 9.0, 9.0)
    given = dict(topology="v5e:4x4", chip="TPU v5e", devices=16, mesh={}, rows_per_device=1)
    given |= dict(batch_rows=16, accumulate=1, row_tokens=256, row_patches=640, versions={})
    given |= dict(available=16.0, needed=2**30, peak=1.0, cost=Cost(4.0), roofline=Cost(2.0))
    ours = Plan(**given, rows=packed, useful_flops=ModelFlops(1.0, 0.2, 0.0))
    text = Plan(**given, model_flops=ModelFlops(1.4, 0.2))
    assert line("hybrid", ours, text) == (
        "| hybrid | 1.0 | 2.00–4.00 | 0.300–0.600 | 0.75–0.75 | 10–20, 2.5 × |"
    )
