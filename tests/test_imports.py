"""Who imports whom, and what must not be needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "configs": {"configs"},
    "input_pipeline": {"input_pipeline"},
    "vsft_jax": {"vsft_jax", "input_pipeline"},
    "evaluation": {"evaluation", "vsft_jax", "input_pipeline"},
}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_in_one_direction(package):
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            own = {name.split(".")[0] for name in names} & set(MAY_IMPORT)
            assert own <= MAY_IMPORT[package], f"{path} imports {own}"


_WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("tensorflow", "torch", "transformers", "tensorboard"):
            raise ImportError(f"{name} must not be needed")

sys.meta_path.insert(0, Refuse())
import main
"""


def test_no_job_needs_tensorflow_or_torch():
    command = [sys.executable, "-c", _WITHOUT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
