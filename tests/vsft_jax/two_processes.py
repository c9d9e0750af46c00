"""Two JAX processes on this machine, with a device each, that run the same program together."""

import os
import socket
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_JOIN = """
import sys
import jax
jax.distributed.initialize("localhost:" + sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
assert jax.device_count() == 2 and jax.local_device_count() == 1
"""


def start(program: str, *arguments: str) -> list[subprocess.Popen]:
    """Both processes at work. The program finds its arguments in sys.argv[3:]."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    environment = {name: os.environ[name] for name in os.environ if name[:4] in ("JAX_", "XLA_")}
    environment |= {"JAX_NUM_CPU_DEVICES": "1", "PATH": "", "PYTHONPATH": str(_ROOT)}
    return [
        subprocess.Popen(
            [sys.executable, "-c", _JOIN + program, port, str(i), *arguments],
            cwd=_ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]


def finish(workers: list[subprocess.Popen], returncode: int = 0) -> None:
    """Waits for both, which must end like this."""
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == returncode, errors[-3000:]
