"""The training step of a run, for devices that are not there."""

import importlib.metadata
import importlib.util
import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax.experimental import topologies

from input_pipeline.batches import device_arrays, empty_row, stack_rows
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.plan.chips import parse_topology
from vsft_jax.sharding import batch_shards, field_sharding, make_mesh
from vsft_jax.train import make_trainer
from vsft_jax.train.step import Trainer

# What libtpu would otherwise find out about the machine that it runs on.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Step(NamedTuple):
    """A run with the batch rows that it is planned for, its trainer and a step's batch as shapes,
    dtypes and shardings."""

    run: Run
    trainer: Trainer
    batch: dict[str, jax.ShapeDtypeStruct]

    def lower(self) -> jax.stages.Lowered:
        """The step as the compiler is given it."""
        # Made before: under the mesh nothing can be computed on this machine.
        step, state = self.trainer.step, self.trainer.abstract_state
        with jax.set_mesh(self.trainer.mesh):
            return step.lower(state, self.batch)


def topology_devices(name: str, slices: int = 1) -> Sequence[jax.Device]:
    """Devices to compile for, in place of real ones; those of all slices.

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
        return topologies.get_topology_desc(
            platform="tpu", topology_name=name, num_slices=slices
        ).devices
    except Exception as error:  # libtpu's own, of several types
        raise ConfigError(f"config.plan.topology = {name!r}: libtpu says: {error}") from error


def make_step(run: Run, devices: Sequence[jax.Device], rows: int) -> Step:
    """The step on devices of a topology.

    rows: packed rows a device and microbatch, or a share of devices that split rows.
    """
    shards = batch_shards(make_mesh(run.config.mesh, devices))
    run = run.with_settings(train={"batch_rows": rows * shards * run.config.train.accumulate})
    trainer = make_trainer(run, devices, abstract=True)
    return Step(run, trainer, abstract_batch(run, trainer))


def abstract_batch(run: Run, trainer: Trainer) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, dtypes and shardings of a step's batch, taken from one empty row."""
    row = empty_row(run.layout, run.row_shape)
    rows = run.config.train.batch_rows
    shapes = {
        name: ((rows, *array.shape[1:]), array.dtype)
        for name, array in device_arrays(stack_rows([row])).items()
    }
    return {
        name: jax.ShapeDtypeStruct(shape, dtype, sharding=field_sharding(trainer.mesh, shape))
        for name, (shape, dtype) in shapes.items()
    }
