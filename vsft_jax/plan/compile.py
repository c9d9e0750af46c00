"""The plan job: what a config's training step takes on a TPU topology, with no TPU at hand.

The step that `train` would run is compiled by libtpu for the topology, from shapes alone, and the
compiled program is read: memory by the compiler's own account, time by its static estimates.
"""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import topologies

from input_pipeline.batches import device_arrays, empty_row, stack_rows
from input_pipeline.files import write_atomically
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.parameters import flatten
from vsft_jax.plan.chips import Chip, parse_topology
from vsft_jax.plan.estimate import Estimator
from vsft_jax.plan.flops import ModelFlops, model_flops
from vsft_jax.plan.hlo import Program
from vsft_jax.plan.report import print_plan
from vsft_jax.plan.result import Plan
from vsft_jax.sharding import batch_sharding, batch_shards, make_mesh
from vsft_jax.train import make_trainer
from vsft_jax.train.step import Trainer

# What libtpu would otherwise find out about the machine that it runs on.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def plan(run: Run) -> Plan:
    """Compiles the step for `config.plan.topology`, prints what it takes and writes plan.json.

    Needs neither data, tokenizer nor a TPU, and allocates nothing of the model's size. With
    `config.plan.search` it also finds the largest number of rows a device that fits.

    Raises ConfigError where libtpu is missing or the config does not go with the topology.
    """
    settings = run.config.plan
    devices = topology_devices(settings.topology)
    found = plan_step(run, devices, settings.rows)
    if settings.search:
        found = dataclasses.replace(found, largest_rows=_largest_rows(run, devices, found))
    file = run.workdir / "plan.json"
    write_atomically(file, json.dumps(found.to_json(), indent=1) + "\n")
    print_plan(found)
    logging.info("wrote %s", file)
    return found


def topology_devices(name: str) -> Sequence[jax.Device]:
    """Devices to compile for, in place of real ones.

    Raises ConfigError where libtpu is not installed or does not know the topology.
    """
    try:
        parse_topology(name)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if importlib.util.find_spec("libtpu") is None:
        wanted = importlib.metadata.requires("jax") or []
        pinned = next((r.split(";")[0].strip() for r in wanted if r.startswith("libtpu")), "libtpu")
        raise ConfigError(
            f"--job=plan compiles with libtpu, which is not installed: pip install '{pinned}'"
        )
    # No TPU is looked for or locked, and nothing is asked of the cloud's metadata server.
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    jax.config.update("jax_platforms", "cpu")
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name).devices
    except Exception as error:  # libtpu's own, of several types
        raise ConfigError(f"config.plan.topology = {name!r}: libtpu says: {error}") from error


def plan_step(run: Run, devices: Sequence[jax.Device], rows: int) -> Plan:
    """Compiles the run's training step for devices of `config.plan.topology` and reads it.

    rows: packed rows a device and microbatch.
    """
    topology = run.config.plan.topology
    chip, torus = parse_topology(topology)
    shards = batch_shards(make_mesh(run.config.mesh, devices))
    run = run.with_settings(train={"batch_rows": rows * shards * run.config.train.accumulate})
    trainer = make_trainer(run, devices, abstract=True)
    batch = abstract_batch(run, trainer)
    known = dict(
        topology=topology,
        chip=chip.name,
        devices=len(devices),
        mesh=dict(trainer.mesh.shape),
        rows_per_device=rows,
        batch_rows=run.config.train.batch_rows,
        accumulate=run.config.train.accumulate,
        row_tokens=run.row_shape.tokens,
        row_patches=run.row_shape.patches,
        versions={name: importlib.metadata.version(name) for name in ("jax", "libtpu")},
    )
    logging.info("compiling the training step for %s", topology)
    start = time.monotonic()
    try:
        with (
            jax.set_mesh(trainer.mesh),
            _no_compilation_cache(),
            tempfile.TemporaryDirectory() as dump,
        ):
            lowered = trainer.step.lower(trainer.abstract_state, batch)
            options: dict[str, str | bool] = {"xla_dump_to": dump, "xla_dump_hlo_as_text": True}
            compiled = lowered.compile(compiler_options=options)
            seconds = time.monotonic() - start
            program, used = _program(dump), _buffers(dump, compiled)
    except jax.errors.JaxRuntimeError as error:
        needed, available = _out_of_memory(str(error), chip)
        seconds = time.monotonic() - start
        return Plan(
            **known, fits=False, needed=needed, available=available, compile_seconds=seconds
        )
    memory = _memory(compiled, used, trainer, batch)
    cost = Estimator(program, chip, torus).total()
    flops = _model_flops(run, trainer)
    return Plan(
        **known,
        fits=True,
        needed=sum(memory.values()),
        available=chip.hbm,
        compile_seconds=seconds,
        memory=memory,
        cost=cost,
        model_flops=flops,
        mfu=sum(flops) / (len(devices) * chip.peak * cost.seconds),
    )


def abstract_batch(run: Run, trainer: Trainer) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, dtypes and shardings of a step's batch, taken from one empty row."""
    row = empty_row(run.layout, run.row_shape)
    return {
        name: jax.ShapeDtypeStruct(
            (run.config.train.batch_rows, *array.shape[1:]),
            array.dtype,
            sharding=batch_sharding(trainer.mesh),
        )
        for name, array in device_arrays(stack_rows([row])).items()
    }


@contextlib.contextmanager
def _no_compilation_cache() -> Iterator[None]:
    """A program from the cache could be neither timed nor read."""
    before: bool = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]  # no stub
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)


def bytes_per_device(tree: Any) -> int:
    """Bytes of one device's shards of a tree of sharded shapes."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _memory(
    compiled: jax.stages.Compiled,
    used: int,
    trainer: Trainer,
    batch: Mapping[str, jax.ShapeDtypeStruct],
) -> dict[str, float]:
    """Part -> bytes a device. The first four go by shapes, the rest by the compiler's account.

    used: see `_buffers`.
    """
    state = trainer.abstract_state
    found: Any = compiled.memory_analysis()
    parts = {
        "parameters": bytes_per_device(state.params),
        "optimiser": bytes_per_device(state.opt_state),
        "batch": bytes_per_device(batch),
        "gradients": bytes_per_device(state.trainable),
    }
    padding = found.argument_size_in_bytes - sum(parts.values()) + parts["gradients"]
    temporaries = used - found.argument_size_in_bytes - parts["gradients"]
    if temporaries < 0:  # the gradients never exist all at once
        parts["gradients"], temporaries = parts["gradients"] + temporaries, 0
    return parts | {
        "activations and other temporaries": temporaries,
        "padding and program": padding + found.generated_code_size_in_bytes,
    }


def _out_of_memory(message: str, chip: Chip) -> tuple[float, float]:
    """(needed, available) bytes from the compiler's error; raises it anew if it is another one."""
    if "RESOURCE_EXHAUSTED" not in message:
        raise RuntimeError(f"the step does not compile for {chip.name}: {message}")
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    sizes = [
        float(n) * units[unit] for n, unit in re.findall(r"\b(\d+(?:\.\d+)?)([KMG])\b", message)
    ]
    return (sizes[0], sizes[1]) if len(sizes) > 1 else (float("nan"), chip.hbm)


def _program(dump: str) -> Program:
    """The compiled program, as the compiler wrote it into a directory.

    A compiled object's `as_text` fails on some topologies over asynchronous instructions. Of the
    compiler's several texts, the one after code generation carries estimates of cycles.
    """
    text = _written(dump, "after_codegen.txt")
    if "estimated_cycles" not in text:
        raise RuntimeError("this libtpu writes no program with estimated cycles: try another one")
    return Program.parse(text)


def _buffers(dump: str, compiled: jax.stages.Compiled) -> int:
    """Bytes of the device's memory that the program's buffers take at once, with its arguments.

    From the compiler's assignment of buffers; where it writes none, from `memory_analysis`, which
    in libtpu 0.0.42 counts more temporaries than there are at once.
    """
    text = _written(dump, "after_optimizations-memory-usage-report.txt")
    found = re.search(r"Memory Space: default.*\nTotal bytes: (\d+)", text)
    if found:
        return int(found[1])
    sizes: Any = compiled.memory_analysis()
    outputs: int = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return outputs + sizes.argument_size_in_bytes + sizes.temp_size_in_bytes


def _written(dump: str, ending: str) -> str:
    """The largest file of this kind that the compiler wrote: that of the step."""
    return max((path.read_text() for path in Path(dump).glob(f"*.{ending}")), key=len, default="")


def _model_flops(run: Run, trainer: Trainer) -> ModelFlops:
    shapes = {path: leaf.shape for path, leaf in flatten(trainer.abstract_state.params).items()}
    return model_flops(
        shapes,
        trainer.trains,
        run.family.component_of,
        run.architecture.text,
        rows=run.config.train.batch_rows,
        row_tokens=run.row_shape.tokens,
        row_patches=run.row_shape.patches,
        patches_per_unit=run.layout.patches_per_unit,
    )


def _largest_rows(run: Run, devices: Sequence[jax.Device], first: Plan) -> int:
    """The most rows a device and microbatch that fit: doubling, then halving the interval."""

    def fits(rows: int) -> bool:
        found = plan_step(run, devices, rows)
        logging.info("%d rows a device %s", rows, "fit" if found.fits else "do not fit")
        return found.fits

    good, bad = (first.rows_per_device, None) if first.fits else (0, first.rows_per_device)
    while bad is None:
        good, bad = (2 * good, None) if fits(2 * good) else (good, 2 * good)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good
