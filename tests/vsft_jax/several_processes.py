"""JAX processes on this machine, with a device each, that run the same program together."""

import os
import socket
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_JOIN = """
import sys
import jax
port, place = sys.argv[1], int(sys.argv[2])
jax.distributed.initialize("localhost:" + port, num_processes=count, process_id=place)
assert jax.device_count() == count and jax.local_device_count() == 1
"""


def start(program: str, *arguments: str, count: int = 2) -> list[subprocess.Popen]:
    """The processes at work. The program finds its arguments in sys.argv[3:]."""
    port, environment = _free_port(), _environment()
    program = f"count = {count}\n{_JOIN}{program}"
    return [
        subprocess.Popen(
            [sys.executable, "-c", program, port, str(i), *arguments],
            cwd=_ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


def start_hosts(count: int, folder: Path, *arguments: str) -> list[subprocess.Popen]:
    """`vsft` with these arguments on so many hosts, whose disks are folders of `folder`."""
    coordinator = [f"--coordinator=localhost:{_free_port()}", f"--processes={count}"]
    storage = ("GCS", "STORAGE_", "TENSORSTORE_", "GOOGLE_", "NO_GCE", "GCE_")
    reached = {name: os.environ[name] for name in os.environ if name.startswith(storage)}
    return [
        subprocess.Popen(
            [
                sys.executable,
                "main.py",
                *arguments,
                "--distributed",
                *coordinator,
                f"--process={i}",
            ],
            cwd=_ROOT,
            env={**_environment(), **reached, "XDG_CACHE_HOME": str(folder / f"host-{i}")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return str(free.getsockname()[1])


def _environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in os.environ if name[:4] in ("JAX_", "XLA_")}
    return found | {"JAX_NUM_CPU_DEVICES": "1", "PATH": "", "PYTHONPATH": str(_ROOT)}


def finish(workers: list[subprocess.Popen], returncode: int = 0) -> None:
    """Waits for all, which must end like this."""
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == returncode, errors[-3000:]
