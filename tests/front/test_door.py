"""What becomes of what goes wrong in a job: an exit code and what is printed."""

import errno
import gc
import signal
import subprocess
import sys
import time

import pytest

from front import door, main
from vsft_jax.errors import ConfigError

PLAN = ["--config=configs/tiny.py", "--job=plan"]


def _plan_that_raises(monkeypatch, error):
    def raises(_):
        raise error

    monkeypatch.setitem(door.DO, "plan", raises)


@pytest.mark.parametrize(
    "error, line",
    [
        (ConfigError("config.plan.rows = -1: too few"), "error: config.plan.rows = -1: too few\n"),
        (ConfigError("config.layout: config.model: no"), "error: config.model: no\n"),
        (ConfigError("config.layout: config.seed = 1: no"), "error: config.seed = 1: no\n"),
        (FileNotFoundError(errno.ENOENT, "Gone", "a.json"), "error: a.json: Gone (--debug shows"),
        (FileNotFoundError("no tokenizer.json in /here"), "error: no tokenizer.json in /here ("),
        (
            OSError(errno.ENOSPC, "No space left on device", "a"),
            "error: a: No space left on device: make room (--debug shows",
        ),
        (OSError(errno.EFBIG, "File too large", "a"), "error: a: File too large (--debug shows"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), "error: a device's memory is full"),
        (ConfigError("\n".join("abcdefgh")), "error: a\nb\nc\nd\n… 4 more lines with --debug\n"),
    ],
)
def test_errors_of_the_user_are_told(error, line, monkeypatch, tmp_path, capfd):
    _plan_that_raises(monkeypatch, error)
    assert main([*PLAN, f"--workdir={tmp_path}"]) == 2
    told = capfd.readouterr().err
    assert told.startswith(line)
    assert "Traceback" not in told


def test_debug_shows_where_and_everything(monkeypatch, tmp_path, capfd):
    _plan_that_raises(monkeypatch, ConfigError("\n".join("abcdefgh")))
    assert main([*PLAN, f"--workdir={tmp_path}", "--debug"]) == 2
    told = capfd.readouterr().err
    assert told.startswith("Traceback") and told.endswith("g\nh\n") and "in raises" in told


@pytest.mark.parametrize("error", [ValueError("a slip"), OSError("odd"), KeyError("key")])
def test_faults_of_the_program_keep_their_traceback(error, monkeypatch, tmp_path, capfd):
    _plan_that_raises(monkeypatch, error)
    assert main([*PLAN, f"--workdir={tmp_path}"]) == 1
    told = capfd.readouterr().err
    assert told.startswith("Traceback") and "in raises" in told
    assert told.splitlines()[-1].startswith("error: this is a fault of vsft-jax: please report")


def test_ctrl_c_is_one_line(monkeypatch, tmp_path, capfd):
    _plan_that_raises(monkeypatch, KeyboardInterrupt())
    assert main([*PLAN, f"--workdir={tmp_path}"]) == 130
    told = capfd.readouterr().err
    assert told == "stopped; the same command goes on from what is finished\n"


def test_ctrl_c_that_a_library_turns_into_another_error_is_one_line(monkeypatch, tmp_path, capfd):
    def plan(_):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as stopped:  # as extension modules do while they are imported
            raise ImportError("an error while initializing the extension") from stopped

    monkeypatch.setitem(door.DO, "plan", plan)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert main([*PLAN, f"--workdir={tmp_path}"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    told = capfd.readouterr().err
    assert told == "stopped; the same command goes on from what is finished\n"


def test_ctrl_c_comes_when_an_import_is_done(monkeypatch, tmp_path):
    module = "import signal\nsignal.raise_signal(signal.SIGINT)\nDONE = True\n"
    (tmp_path / "interrupted_module.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        door._import_whole("interrupted_module")
    assert sys.modules.pop("interrupted_module").DONE


def test_what_must_not_be_interrupted_is_imported_first(monkeypatch, tmp_path):
    imported = []
    monkeypatch.setattr(door, "_import_whole", imported.append)
    monkeypatch.setitem(door.DO, "plan", lambda request: imported.append("the job"))
    assert main([*PLAN, f"--workdir={tmp_path}"]) == 0
    assert imported == ["numpy", "jax", "the job"]


def test_answers_need_somewhere_to_go(monkeypatch, tmp_path, capfd):
    monkeypatch.setitem(door.DO, "predict", lambda request: None)
    monkeypatch.setattr(sys, "stdout", None)
    flags = ["--config=configs/tiny.py", f"--workdir={tmp_path}", "--prompt=Why?"]
    assert main([*flags, "--job=predict"]) == 2
    said = "error: --job=predict prints its answers, but stdout is closed\n"
    assert capfd.readouterr().err.endswith(said)


def test_no_file_takes_the_place_of_a_closed_stream():
    code = "import os; from front import door; door._open_closed_streams(); os.fstat(1)\n"
    code += "assert os.open('/dev/null', os.O_RDONLY) > 2"
    subprocess.run(["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, code], check=True)


def test_ctrl_c_in_a_callback_is_not_lost(monkeypatch, tmp_path, capfd):
    def plan(_):
        def collecting(phase, _):
            if phase == "start":
                gc.callbacks.remove(collecting)
                signal.raise_signal(signal.SIGINT)

        gc.callbacks.append(collecting)
        gc.collect()
        time.sleep(20)

    monkeypatch.setitem(door.DO, "plan", plan)
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    start = time.monotonic()
    try:
        assert main([*PLAN, f"--workdir={tmp_path}"]) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
    assert time.monotonic() - start < 15 and sys.unraisablehook is hook
    assert capfd.readouterr().err == "stopped; the same command goes on from what is finished\n"


def test_a_job_may_end_with_a_code_of_its_own(monkeypatch, tmp_path, capfd):
    _plan_that_raises(monkeypatch, SystemExit(143))
    with pytest.raises(SystemExit) as ended:
        main([*PLAN, f"--workdir={tmp_path}"])
    assert ended.value.code == 143 and capfd.readouterr().err == ""


def test_a_section_is_replaced_as_a_whole(monkeypatch, tmp_path):
    given = []
    monkeypatch.setitem(door.DO, "plan", lambda request: given.append(request))
    budget = "{'kind': 'fixed', 'frames': 4}"
    overrides = [f"--config.frames={budget}", "--config.study.seeds=(1, 2)", "--config.seed", "7"]
    assert main([*PLAN, f"--workdir={tmp_path}", *overrides, "--noconfig.plan.search"]) == 0
    config = given[0].config
    assert config.frames.to_dict() == {"kind": "fixed", "frames": 4}
    assert config.study.seeds == (1, 2) and config.seed == 7 and config.plan.search is False
