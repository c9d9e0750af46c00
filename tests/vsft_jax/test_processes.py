"""What two processes tell each other, and what they do together when they go on."""

import contextlib

import numpy as np

from tests.vsft_jax import several_processes
from vsft_jax.checkpoints import Checkpoints

_TOGETHER = """
from pathlib import Path
import numpy as np
from input_pipeline.errors import UserError
from vsft_jax.checkpoints import make_ready
from vsft_jax.processes import first_finds, gather, is_first
from vsft_jax.sharding import make_mesh
from vsft_jax.train.resume import recent_losses
from vsft_jax.workdir_lock import WorkdirInUse, working_in

me = jax.process_index()
assert gather({"process": me, "x": "é" * me}) == [{"process": 0, "x": ""}, {"process": 1, "x": "é"}]
assert first_finds(lambda: [me, None]) == [0, None]

def refuse():
    raise UserError("this is wrong")

try:
    first_finds(refuse)
except UserError as error:
    assert "this is wrong" in str(error)
else:
    raise AssertionError("not refused")

# Both compare half of the files, and hear what the other one found.
workdir = Path(sys.argv[3])
make_ready(workdir / "checkpoints", verify=True)
assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["1", "2.damaged"]

with working_in(workdir, "train"):
    try:
        with working_in(workdir, "train"):
            pass
    except UserError as error:
        assert "--job=train" in str(error) and isinstance(error, WorkdirInUse) == is_first()
    else:
        raise AssertionError("two jobs")

replicated = jax.sharding.NamedSharding(
    make_mesh({"data": 2, "fsdp": 1, "tensor": 1}), jax.sharding.PartitionSpec()
)
like = jax.ShapeDtypeStruct((3,), np.float32, sharding=replicated)
found = recent_losses({"recent_losses": [None, 0.5, 2.5]}, like)
np.testing.assert_array_equal(jax.device_get(found), [np.nan, 0.5, 2.5])

# Who waits for process 0 says for what, goes on waiting while something moves there, and gives up.
import os, time
from input_pipeline.progress import Progress
from vsft_jax import processes
processes._SIGN_SECONDS = 0.2

def count_sheep():
    with Progress("sheep", total=20) as progress:
        for _ in range(10):
            time.sleep(0.2)
            progress.advance()
    return "asleep"

assert first_finds(count_sheep, "count sheep", patience=1.5) == "asleep"
try:
    first_finds(lambda: time.sleep(4) or os._exit(0), "wake up", patience=0.5)
except UserError as error:
    assert "process 1 on " in str(error) and "waits for process 0 to wake up, for" in str(error)
    assert "(sheep: 10 of 20 examples): nothing has moved there" in str(error), error
    os._exit(0)
raise AssertionError("not given up")
"""


def test_two_processes_agree_on_what_they_go_on_from(tmp_path):
    params = {"a": np.arange(1000.0), "b": np.ones(7)}
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, params, params, {"step": step})
    (path,) = (tmp_path / "checkpoints" / "2" / "meta").glob("metadata")
    path.write_bytes(path.read_bytes()[:-1])
    several_processes.finish(several_processes.start(_TOGETHER, str(tmp_path)))
