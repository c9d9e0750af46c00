"""Who imports whom, and what must not be needed."""

import importlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    *("bench", "configs", "demo_world", "emoji_world", "evaluation", "front"),
    *("input_pipeline", "vsft_jax"),
)
MOST_MODULES = 12  # at one level of a folder; what has more is parted


def test_rooms_import_in_one_direction_inside_packages_too():
    """pyproject.toml has the order, [tool.importlinter]."""
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as lint; lint()",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_module_is_part_of_a_circle():
    grimp = importlib.import_module("grimp")
    modules = grimp.build_graph(*PACKAGES)
    networkx = importlib.import_module("networkx")
    graph = networkx.DiGraph(
        (module, imported)
        for module in modules.modules
        for imported in modules.find_modules_directly_imported_by(module)
    )
    circles = [
        circle for circle in networkx.strongly_connected_components(graph) if len(circle) > 1
    ]
    assert not circles


@pytest.mark.parametrize("package", PACKAGES)
def test_a_folder_can_be_taken_in_at_a_glance(package):
    for folder in [ROOT / package, *(ROOT / package).rglob("*/")]:
        names = [path.name for path in folder.glob("*.py") if not path.name.startswith("__")]
        limit = MOST_MODULES + (package == "demo_world")  # one subject, many scenes
        assert len(names) <= limit, f"{folder}: {sorted(names)}"
        if names and package != "configs":
            text = (folder / "__init__.py").read_text()
            assert text.startswith('"""'), f"{folder}/__init__.py does not say what is in there"


def test_the_picture_of_the_rooms_is_that_of_the_code(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    rooms = importlib.import_module("rooms")
    described = ElementTree.parse(rooms.PICTURE).find(
        ".//{http://purl.org/dc/elements/1.1/}description"
    )
    assert described.text == rooms.described(rooms.arrows()), "run `python docs/rooms.py`"


_WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("tensorflow", "torch", "transformers", "tensorboard"):
            raise ImportError(f"{name} must not be needed")

sys.meta_path.insert(0, Refuse())
import evaluation.report, evaluation.run_study, front.configs, front.console
import vsft_jax.export, vsft_jax.plan, vsft_jax.predict
"""


def test_no_job_needs_tensorflow_or_torch():
    command = [sys.executable, "-c", _WITHOUT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
