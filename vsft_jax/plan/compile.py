"""The plan job: what a config's training step takes on a TPU topology, with no TPU at hand.

The step that `train` would run is given to libtpu for the topology, from shapes alone, and what it
makes of it is read: memory by the compiler's own account, time by static estimates.
"""

import dataclasses
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from input_pipeline.files import write_atomically
from vsft_jax.config import Run
from vsft_jax.parameters import flatten
from vsft_jax.plan.chips import parse_topology
from vsft_jax.plan.corpus import corpus_of
from vsft_jax.plan.flops import ModelFlops, model_flops
from vsft_jax.plan.passes import Compiled, OutOfMemory, compile_whole, run_passes
from vsft_jax.plan.program import (
    EVERY_BLOCK,
    Cost,
    Estimator,
    Price,
    expected_price,
    roofline_price,
    written_price,
)
from vsft_jax.plan.report import print_plan, print_search
from vsft_jax.plan.result import Plan
from vsft_jax.plan.rows import PackedRows, packed_rows
from vsft_jax.plan.search import search
from vsft_jax.plan.step import Step, make_step, topology_devices
from vsft_jax.train.step import TrainState


def plan(run: Run) -> Plan:
    """Plans the step for `config.plan.topology`, prints what it takes and writes plan.json.

    Needs neither data, tokenizer nor a TPU, and allocates nothing of the model's size. With
    `config.plan.search` other settings are planned too, see `search`; with `config.plan.compile`
    code is generated, which takes minutes.

    Raises ConfigError where libtpu is missing or the config does not go with the topology.
    """
    settings = run.config.plan
    devices = topology_devices(settings.topology, settings.slices)
    found = plan_step(run, devices, settings.rows)
    file = run.workdir / "plan.json"
    write_atomically(file, json.dumps(found.to_json(), indent=1) + "\n")
    print_plan(found)
    logging.info("wrote %s", file)
    if settings.search:
        print_search(search(run, found, lambda run: plan_step(run, devices, run.config.plan.rows)))
    return found


def plan_step(run: Run, devices: Sequence[jax.Device], rows: int) -> Plan:
    """Plans the run's training step for devices of `config.plan.topology`.

    rows: packed rows a device and microbatch.
    """
    settings = run.config.plan
    chip, torus = parse_topology(settings.topology)
    step = make_step(run, devices, rows)
    run = step.run
    rows_are = packed_rows(run, corpus_of(run))
    visits = rows_are.visits if rows_are else EVERY_BLOCK
    # Of the loops of a step on TPU only the loss's is as long as its data.
    chunks = (
        rows_are.loss_chunks if rows_are else run.row_shape.tokens / run.config.train.loss_chunk
    )
    plan = Plan(
        topology=settings.topology,
        chip=chip.name,
        devices=len(devices),
        mesh=dict(step.trainer.mesh.shape),
        rows_per_device=rows,
        batch_rows=run.config.train.batch_rows,
        accumulate=run.config.train.accumulate,
        row_tokens=run.row_shape.tokens,
        row_patches=run.row_shape.patches,
        versions={name: importlib.metadata.version(name) for name in ("jax", "libtpu")},
        available=chip.hbm,
        code_generated=settings.compile,
        rows=rows_are,
    )
    logging.info("compiling the training step for %s", settings.topology)
    try:
        if settings.compile:
            compiled = compile_whole(step)
        else:
            compiled = run_passes(step, settings.topology, settings.slices, rows)
    except OutOfMemory as error:
        return dataclasses.replace(
            plan,
            needed=error.needed,
            available=error.available if error.available > 0 else chip.hbm,
        )
    memory = _memory(compiled, step.trainer.abstract_state, step.batch)
    needed = sum(memory.values())
    program = compiled.program

    def cost(price: Price) -> Cost:
        return Estimator(program, chip, torus, price, visits, chunks).total()

    return dataclasses.replace(
        plan,
        fits=needed <= chip.hbm,
        needed=needed,
        compile_seconds=compiled.seconds,
        memory=memory,
        cost=cost(written_price(chip) if settings.compile else expected_price(program, chip)),
        roofline=cost(roofline_price(program, chip)),
        peak=len(devices) * chip.peak,
        model_flops=_model_flops(step),
        useful_flops=_model_flops(step, rows_are) if rows_are else None,
    )


def bytes_per_device(tree: Any) -> int:
    """Bytes of one device's shards of a tree of sharded shapes."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _memory(
    compiled: Compiled, state: TrainState, batch: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, float]:
    """Part -> bytes a device. The first four go by shapes, the rest by the compiler's account."""
    parts: dict[str, float] = {
        "parameters": bytes_per_device(state.params),
        "optimiser": bytes_per_device(state.opt_state),
        "batch": bytes_per_device(batch),
        "gradients": bytes_per_device(state.trainable),
    }
    padding = compiled.arguments - sum(parts.values()) + parts["gradients"]
    temporaries = compiled.used - compiled.arguments - parts["gradients"]
    if temporaries < 0:  # the gradients never exist all at once
        parts["gradients"], temporaries = parts["gradients"] + temporaries, 0
    return parts | {
        "activations and other temporaries": temporaries,
        "padding and program": padding + compiled.code,
    }


def _model_flops(step: Step, rows: PackedRows | None = None) -> ModelFlops:
    """Of full rows, each a single segment; of the corpus's with `rows`, where padding counts as
    nothing and the tower's attention is known."""
    run, trainer = step.run, step.trainer
    shapes = {path: leaf.shape for path, leaf in flatten(trainer.abstract_state.params).items()}
    vision = run.architecture.vision
    # Qwen2.5-VL names the layers that see whole frames; in every other tower all of them do.
    full = len(getattr(vision, "fullatt_block_indexes", range(vision.depth)))
    return model_flops(
        shapes,
        trainer.trains,
        run.family.component_of,
        run.architecture.text,
        rows=run.config.train.batch_rows,
        row_tokens=run.row_shape.tokens * (rows.token_fill if rows else 1),
        row_patches=run.row_shape.patches * (rows.patch_fill if rows else 1),
        patches_per_unit=run.layout.patches_per_unit,
        predicting=rows.text_tokens if rows else None,
        text_pairs=(rows.text_pairs, rows.near_pairs) if rows else None,
        tower_scores=vision.width
        * (full * rows.frame_pairs + (vision.depth - full) * rows.window_pairs)
        if rows
        else 0.0,
    )
