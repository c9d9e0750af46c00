from types import SimpleNamespace

import pytest

from emoji_world import generate_emoji_world
from tests.emoji_world.small_packages import SIZES, write_registry


@pytest.fixture(scope="package")
def registry(tmp_path_factory):
    """A folder with packages, their pins, and the registries' addresses."""
    root = tmp_path_factory.mktemp("registry")
    pins = write_registry(root)
    addresses = {name: (root / name).as_uri() for name in ("npm", "pypi")}
    return SimpleNamespace(root=root, pins=pins, addresses=addresses)


@pytest.fixture(scope="package")
def emoji_world(registry, tmp_path_factory):
    """A world of a few dozen files."""
    folder = tmp_path_factory.mktemp("emoji")
    more = {"packages": folder / "packages", "pins": registry.pins, **registry.addresses}
    return generate_emoji_world(folder / "world", **SIZES, **more)
