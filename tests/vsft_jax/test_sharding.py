"""Where the rows of a batch go."""

import jax
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vsft_jax import sharding
from vsft_jax.sharding import (
    AXES,
    batch_sharding,
    local_rows,
    make_mesh,
    on_mesh,
    put_batch,
    rows_only,
)


def _mesh(devices):
    return Mesh(devices, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def test_rows_keep_their_places_whatever_the_order_of_the_devices():
    devices = np.array(jax.devices())[[3, 1, 7, 5, 0, 2, 6, 4]].reshape(2, 1, 2, 2)
    mesh = _mesh(devices)
    assert local_rows(mesh, 8).tolist() == list(range(8))
    rows = np.arange(24).reshape(8, 3)
    placed = put_batch({"rows": rows}, mesh, 8)["rows"]
    np.testing.assert_array_equal(placed, rows)
    assert placed.sharding == batch_sharding(mesh)


class OnSomeDevices:
    """A sharding of which only some devices are this process's."""

    def __init__(self, mesh, here):
        self._sharding, self._here = batch_sharding(mesh), here

    def addressable_devices_indices_map(self, shape):
        every = self._sharding.devices_indices_map(shape)
        return {device: places for device, places in every.items() if device in self._here}


@pytest.mark.parametrize(
    ("shape", "here", "rows"),
    [
        ((1, 1, 8, 1), [0, 5], [0, 1, 10, 11]),  # no neighbours
        ((2, 1, 2, 2), [0, 1], [0, 1, 2, 3]),  # two devices that split the same rows
        ((1, 1, 2, 4), [2, 3], [0, 1, 2, 3, 4, 5, 6, 7]),  # the other half of them is elsewhere
        ((1, 4, 2, 1), [0, 2], [0, 1, 2, 3, 4, 5, 6, 7]),  # two shares of the same rows
    ],
)
def test_a_process_has_the_rows_of_its_devices(monkeypatch, shape, here, rows):
    devices = jax.devices()
    mesh = _mesh(np.array(devices).reshape(shape))
    found = OnSomeDevices(mesh, [devices[i] for i in here])
    monkeypatch.setattr(sharding, "batch_sharding", lambda mesh: found)
    assert local_rows(mesh, 16).tolist() == rows


@pytest.mark.parametrize(
    ("topology", "shape"),
    [
        ("v5p:4x4x4", (2, 1, 32, 1)),
        ("v6e:16x16", (2, 1, 128, 1)),
        ("v5e:16x16", (1, 8, 32, 1)),
    ],
)
def test_meshes_that_cut_across_the_wiring(topology, shape):
    pytest.importorskip("libtpu")
    from vsft_jax.plan.compile import topology_devices

    mesh = make_mesh(dict(zip(AXES, shape, strict=True)), topology_devices(topology))
    assert mesh.devices.shape == shape
    assert len(set(mesh.devices.flat)) == np.prod(shape)


def test_devices_that_share_rows_get_contiguous_shares():
    mesh = _mesh(np.array(jax.devices())[[3, 1, 7, 5, 0, 2, 6, 4]].reshape(1, 4, 2, 1))
    rows = {"tokens": np.arange(64).reshape(8, 8), "keys": np.arange(24).reshape(8, 3)}
    placed = put_batch(rows, mesh, 8)
    for name, values in rows.items():
        np.testing.assert_array_equal(placed[name], values)
    shares = {shard.device: shard.data for shard in placed["tokens"].addressable_shards}
    np.testing.assert_array_equal(
        shares[mesh.devices[0, 1, 1, 0]], np.arange(64).reshape(8, 8)[4:, 2:4]
    )
    # What does not divide is not split.
    assert {shard.data.shape for shard in placed["keys"].addressable_shards} == {(4, 3)}


def test_for_short_rows_every_device_has_its_own_and_parameters_stay_where_they_are():
    mesh = make_mesh({"data": 2, "context": 2, "fsdp": 2, "tensor": 1})
    rows = rows_only(mesh)
    assert dict(rows.shape) == {"data": 4, "context": 1, "fsdp": 2, "tensor": 1}
    placed = jax.device_put(np.arange(8.0), NamedSharding(mesh, PartitionSpec("fsdp")))
    moved = on_mesh({"scale": placed}, rows)["scale"]
    assert moved.sharding == NamedSharding(rows, PartitionSpec("fsdp"))
    assert _buffers(moved) == _buffers(placed)


def _buffers(array):
    return {s.device: s.data.unsafe_buffer_pointer() for s in array.addressable_shards}


def test_slices_lie_along_data():
    """Each slice holds whole 'fsdp' groups, so that only the sum over 'data' leaves it."""
    pytest.importorskip("libtpu")
    from vsft_jax.plan.compile import topology_devices

    topology_devices("v5e:2x2")  # sets libtpu up
    devices = topologies.get_topology_desc("v5e:2x2", "tpu", num_slices=2).devices
    shuffled = [devices[i] for i in (5, 0, 3, 6, 1, 4, 7, 2)]
    mesh = make_mesh({"data": -1, "context": 2, "fsdp": 2, "tensor": 1}, shuffled)
    found = np.vectorize(lambda device: device.slice_index)(mesh.devices)
    np.testing.assert_array_equal(found.reshape(2, 4), [[0] * 4, [1] * 4])
    with pytest.raises(ValueError, match=r"config.mesh.data = 1: expected a multiple of 2, since"):
        make_mesh({"data": 1, "fsdp": -1}, devices)
