"""The command as its user starts it."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VSFT = Path(sys.executable).with_name("vsft")


def _python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize("command", [[VSFT], [sys.executable, "main.py"]], ids=["vsft", "main.py"])
def test_help_answers_at_once(command):
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        done = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True)
        seconds.append(time.monotonic() - start)
    assert done.returncode == 0 and re.search(r"^  predict +answer one --prompt", done.stdout, re.M)
    assert min(seconds) < 0.5


def test_help_imports_nothing_heavy():
    code = """
import sys
from front import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
print(sorted({"absl", "jax", "ml_collections", "numpy", "rich"} & set(sys.modules)))
"""
    assert _python(code).stdout.endswith("\n[]\n")


def test_an_answer_needs_no_report():
    """What predict imports, up to the model that is not there."""
    code = """
import sys
from front import main
code = main(["--config=configs/tiny.py", "--workdir=" + sys.argv[1], "--job=predict", "--prompt=x"])
slow = ("matplotlib", "scipy.stats", "evaluation.report", "tensorflow_datasets", "tensorboardX")
print(code, "vsft_jax.inference" in sys.modules, [name for name in slow if name in sys.modules])
"""
    done = _python(code, str(ROOT / "tests"))
    assert done.stdout == "2 True []\n", done.stderr


PRINTS = """
import sys
from front import door

def plan(request):
    for number in range(int(sys.argv[2])):
        print(number)

door.DO["plan"] = plan
sys.exit(door.main(["--config=configs/tiny.py", "--workdir=" + sys.argv[1], "--job=plan"]))
"""


def test_a_reader_that_leaves_costs_a_line(tmp_path):
    """As `vsft … | head -1` does."""
    command = [sys.executable, "-c", PRINTS, str(tmp_path), "100000"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        told = process.stderr.read()
    assert told == "error: whoever read the output has closed it\n"
    assert process.returncode == 2


@pytest.mark.parametrize("lines", [1, 100000])
def test_output_that_does_not_fit_costs_a_line(tmp_path, lines):
    command = [sys.executable, "-c", PRINTS, str(tmp_path), str(lines)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.stderr.startswith("error: [Errno 28] No space left on device: make room (")
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 2


def test_a_mistake_as_it_is_seen(tmp_path):
    command = [VSFT, "--config=configs/tiny.py", f"--workdir={tmp_path}", "--config.train.stepz=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: config.train.stepz: no such key; did you mean train.steps?\n"


_WAITS = """
import time


def get_config():
    try:
        print("waiting", flush=True)
        time.sleep(60)
    finally:
        print("ending", flush=True)
        time.sleep({seconds})
"""


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(times, tmp_path):
    config = tmp_path / "waits.py"
    config.write_text(_WAITS.format(seconds=60 if times == 2 else 0))
    command = [VSFT, f"--config={config}", f"--workdir={tmp_path}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        for line in ("waiting\n", "ending\n")[:times]:
            assert process.stdout.readline() == line
            process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    if times == 1:
        assert process.returncode == 130
        assert told == "stopped; the same command goes on from what is finished\n"
    else:
        assert process.returncode == -signal.SIGINT and told == ""
