"""The search for settings, over plans that are made up."""

import dataclasses
import io

import pytest
from rich.console import Console

from configs import tiny
from vsft_jax.config import Run
from vsft_jax.plan.flops import ModelFlops
from vsft_jax.plan.program import Cost, Visits
from vsft_jax.plan.report import print_search
from vsft_jax.plan.result import Plan
from vsft_jax.plan.rows import PackedRows
from vsft_jax.plan.search import search

_SECONDS = {"full": 4.0, "attention": 3.0, "qkv": 2.5, "mlp": 2.0}
_GIB = {"full": 1, "attention": 2, "qkv": 4, "mlp": 9}


@pytest.fixture
def run():
    config = tiny.get_config()
    config.model.remat = "full"
    return Run(config.lock(), "")


def _plan(run):
    """Sixteen chips of 16 bytes whose state is 64 bytes; each kind of remat takes some, and
    every further copy of the state makes a step shorter."""
    config = run.config
    data = config.mesh.data
    fsdp = 16 // data
    patches = config.layout.row_patches
    rows = config.plan.rows
    seconds = rows * _SECONDS[config.model.remat] * (1 + 1 / data) * (1 + abs(patches - 640) / 640)
    needed = 64 / fsdp + rows * _GIB[config.model.remat]
    packed = PackedRows("made up", 2.0, 0.9, 0.9, 640, Visits(), 100.0, 1.0, 9.0, 9.0, 9.0)
    return Plan(
        topology="v5e:4x4",
        chip="TPU v5e",
        devices=16,
        mesh={"data": data, "context": 1, "fsdp": fsdp, "tensor": 1},
        rows_per_device=rows,
        batch_rows=16 * rows,
        accumulate=1,
        row_tokens=256,
        row_patches=patches,
        available=16.0,
        versions={},
        fits=needed <= 16,
        needed=needed,
        memory={"parameters": 64 / fsdp},
        cost=Cost(seconds),
        roofline=Cost(seconds / 2),
        peak=1.0,
        rows=packed,
        useful_flops=ModelFlops(0.1 * rows, 0.0),
    )


def test_the_best_that_fits_comes_first_with_the_arguments_that_choose_it(run):
    tried = []

    def plan(run):
        tried.append(_plan(run))
        return tried[-1]

    found = search(run, _plan(run), plan)
    best = found[0]
    # Two copies of the state take half of the memory; with them, "mlp" takes 1 too much of it.
    assert best.overrides == {
        "layout.row_patches": 640,
        "mesh.data": 2,
        "mesh.fsdp": -1,
        "model.remat": "qkv",
        "model.tower_remat": "",
    }
    assert all(each.plan.fits for each in found)
    assert [each.score for each in found] == sorted((e.score for e in found), reverse=True)
    assert len(tried) <= 10
    console = Console(file=io.StringIO(), width=100)
    print_search(found, console)
    line = "--config.layout.row_patches=640 --config.mesh.data=2 --config.mesh.fsdp=-1"
    assert line in console.file.getvalue().replace("\n", " ")
    assert "--config.train.batch_rows=16" in best.line


def test_where_nothing_fits_it_says_what_makes_a_step_smaller(run):
    def plan(run):
        return dataclasses.replace(_plan(run), fits=False)

    found = search(run, plan(run), plan)
    console = Console(file=io.StringIO(), width=100)
    print_search(found, console)
    assert not found and "config.mesh.fsdp" in console.file.getvalue()
