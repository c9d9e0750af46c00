import pytest

from demo_world import generate_world
from tests.demo_world.small_world import SMALL


@pytest.fixture(scope="package")
def world(tmp_path_factory):
    """A world of a few dozen files."""
    return generate_world(tmp_path_factory.mktemp("demo") / "world", **SMALL)
