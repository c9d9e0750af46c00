"""What libtpu makes of a step: the program and the memory, with or without code for a chip.

By far most of a compilation goes into code generation, and what a plan needs is known before it:
the instructions, their order and the buffers. libtpu has no switch to stop there. So the passes
run in a process of their own, which is ended as soon as it has written them down.

That process finds the run in a folder, and writes there (`compile_in`).
"""

import contextlib
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from vsft_jax.config import Run
from vsft_jax.plan.program import Program
from vsft_jax.plan.step import Step, make_step, topology_devices

_RUN, _ERROR, _LOG = "run.pickle", "error.txt", "log.txt"
# The last of the texts that are written before code generation.
_LAST = "after_optimizations_after_buffer_assignment.txt"
_REPORT = "after_optimizations-memory-usage-report.txt"
_POLL_S = 0.1


class Compiled(NamedTuple):
    """A program, and what it takes of a device's memory.

    used: bytes of all buffers at once, arguments among them. code: bytes of the program itself, 0
    where none was generated. seconds: that it took.
    """

    program: Program
    used: int
    arguments: int
    code: int
    seconds: float


class OutOfMemory(Exception):
    """The step does not fit. needed, available: bytes of a device, as far as the compiler says."""

    def __init__(self, needed: float, available: float):
        super().__init__(needed, available)
        self.needed, self.available = needed, available


def run_passes(step: Step, topology: str, slices: int, rows: int) -> Compiled:
    """The program as it is before code generation.

    topology, slices, rows: that the step was made for. Raises OutOfMemory; RuntimeError where it
    does not compile.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        given = (step.run.config, step.run.workdir, topology, slices, rows)
        Path(folder, _RUN).write_bytes(pickle.dumps(given))
        _compile_apart(folder)
        text, report = _written(folder, "after_optimizations.txt"), _written(folder, _REPORT)
        if not (text and report):
            raise _failure(Path(folder))
        return Compiled(
            program=Program.parse(text),
            used=_buffers(report),
            arguments=_arguments(_written(folder, "after_optimizations-buffer-assignment.txt")),
            code=0,
            seconds=time.monotonic() - start,
        )


def compile_whole(step: Step) -> Compiled:
    """The program with the code of every kernel.

    Raises OutOfMemory; RuntimeError where it does not compile.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            compiled = _compile(step, folder)
        except jax.errors.JaxRuntimeError as error:
            raise _error(str(error)) from error
        text, report = _written(folder, "after_codegen.txt"), _written(folder, _REPORT)
        if "estimated_cycles" not in text:
            raise RuntimeError(
                "this libtpu writes no program with estimated cycles: try another one"
            )
        sizes: Any = compiled.memory_analysis()
        # `memory_analysis` of libtpu 0.0.42 counts more temporaries than there are at once.
        outputs = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
        counted = outputs + sizes.argument_size_in_bytes + sizes.temp_size_in_bytes
        return Compiled(
            program=Program.parse(text),
            used=_buffers(report) if report else counted,
            arguments=sizes.argument_size_in_bytes,
            code=sizes.generated_code_size_in_bytes,
            seconds=time.monotonic() - start,
        )


def _compile_apart(folder: str) -> None:
    """Compiles in a process, until that ended or wrote what is wanted."""
    call = f"compile_in({folder!r})"
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    with Path(folder, _LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import compile_in; {call}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        try:
            while process.poll() is None and not _written(folder, _LAST):
                time.sleep(_POLL_S)
        finally:
            process.kill()
            process.wait()


def _compile(step: Step, folder: str) -> jax.stages.Compiled:
    """Compiles into a folder of texts. A compiled object's `as_text` fails on some topologies over
    asynchronous instructions."""
    options: dict[str, str | bool] = {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}
    lowered = step.lower()
    with jax.set_mesh(step.trainer.mesh), _no_compilation_cache():
        return lowered.compile(compiler_options=options)


@contextlib.contextmanager
def _no_compilation_cache() -> Iterator[None]:
    """A program from the cache could be neither timed nor read."""
    before: bool = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]  # no stub
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)


def _written(folder: str, ending: str) -> str:
    """The largest file of this kind that the compiler wrote: that of the step."""
    found = (path.read_text() for path in Path(folder).glob(f"*.{ending}"))
    return max(found, key=len, default="")


def _buffers(report: str) -> int:
    """Bytes of the device's memory that the program's buffers take at once, with its arguments."""
    found = re.search(r"Memory Space: default.*\nTotal bytes: (\d+)", report)
    if not found:
        raise RuntimeError("this libtpu's report of memory is not understood: try another one")
    return int(found[1])


def _arguments(assignment: str) -> int:
    """Bytes of the program's parameters, by the compiler's assignment of buffers."""
    return sum(map(int, re.findall(r"^allocation \d+: size (\d+), parameter", assignment, re.M)))


def _failure(folder: Path) -> Exception:
    """Why the process left nothing."""
    error = folder / _ERROR
    if error.exists():
        return _error(error.read_text())
    return RuntimeError(f"the compiler ended early: {(folder / _LOG).read_text()[-2000:]}")


def _error(message: str) -> Exception:
    """What the compiler's words mean."""
    if "RESOURCE_EXHAUSTED" not in message:
        return RuntimeError(f"the step does not compile: {message}")
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    sizes = [
        float(n) * units[unit] for n, unit in re.findall(r"\b(\d+(?:\.\d+)?)([KMG])\b", message)
    ]
    return OutOfMemory(*(sizes[:2] if len(sizes) > 1 else (float("nan"), float("nan"))))


def compile_in(folder: str) -> None:
    """Compiles the run that lies in a folder, into that folder."""
    config, workdir, topology, slices, rows = pickle.loads(Path(folder, _RUN).read_bytes())
    step = make_step(Run(config, workdir), topology_devices(topology, slices), rows)
    try:
        _compile(step, folder)
    except jax.errors.JaxRuntimeError as error:
        Path(folder, _ERROR).write_text(str(error))
