"""Where the rows of a batch go."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from vsft_jax import sharding
from vsft_jax.sharding import AXES, batch_sharding, local_rows, make_mesh, put_batch


def test_rows_keep_their_places_whatever_the_order_of_the_devices():
    devices = np.array(jax.devices())[[3, 1, 7, 5, 0, 2, 6, 4]].reshape(2, 2, 2)
    mesh = Mesh(devices, AXES, axis_types=(AxisType.Auto,) * 3)
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
        ((1, 8, 1), [0, 5], [0, 1, 10, 11]),  # no neighbours
        ((2, 2, 2), [0, 1], [0, 1, 2, 3]),  # two devices that split the same rows
        ((1, 2, 4), [2, 3], [0, 1, 2, 3, 4, 5, 6, 7]),  # the other half of them is elsewhere
    ],
)
def test_a_process_has_the_rows_of_its_devices(monkeypatch, shape, here, rows):
    devices = jax.devices()
    mesh = Mesh(np.array(devices).reshape(shape), AXES, axis_types=(AxisType.Auto,) * 3)
    found = OnSomeDevices(mesh, [devices[i] for i in here])
    monkeypatch.setattr(sharding, "batch_sharding", lambda mesh: found)
    assert local_rows(mesh, 16).tolist() == rows


@pytest.mark.parametrize(
    ("topology", "shape"), [("v5p:4x4x4", (2, 32, 1)), ("v6e:16x16", (2, 128, 1))]
)
def test_meshes_that_cut_across_the_wiring(topology, shape):
    pytest.importorskip("libtpu")
    from vsft_jax.plan.compile import topology_devices

    mesh = make_mesh(dict(zip(AXES, shape, strict=True)), topology_devices(topology))
    assert mesh.devices.shape == shape
    assert len(set(mesh.devices.flat)) == np.prod(shape)
