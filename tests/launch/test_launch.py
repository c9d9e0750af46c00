"""What launch prints: manifests that the API takes, command lines that shells split as meant."""

import os
import shlex
import subprocess
import sys

import pytest
import yaml

from front.arguments import parse
from launch.__main__ import main
from launch.slices import FLAGS, KINDS, Slice
from tests.launch.jobset_fields import JOBSET, problems

VSFT = ["--", "--config=configs/forkme.py:frames=8", "--workdir=gs://bucket/run"]


def _printed(capsys, *words, of=VSFT):
    assert main([*words, "--print", *of]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("tpu", ["v5e:4x4", "v5e:16x16", "v5p:2x2x4", "v6e:4x8"])
@pytest.mark.parametrize("slices", [1, 2])
def test_a_jobset_has_a_pod_for_each_host_and_only_fields_of_the_api(capsys, tpu, slices):
    flags = [f"--tpu={tpu}", f"--slices={slices}", "--image=eu.pkg.dev/p/vsft:1", "--spot"]
    manifest = yaml.safe_load(_printed(capsys, "jobset", "--name=run-a", *flags))
    assert problems(manifest, JOBSET) == []
    (jobs,) = manifest["spec"]["replicatedJobs"]
    pods = jobs["template"]["spec"]
    (container,) = pods["template"]["spec"]["containers"]
    chips = container["resources"]["limits"]["google.com/tpu"]
    assert jobs["replicas"] == slices
    assert pods["parallelism"] == pods["completions"] == Slice.of(tpu).hosts
    assert chips * Slice.of(tpu).hosts == Slice.of(tpu).chips
    typed = parse(container["command"][1:], "vsft")
    assert typed.distributed and typed.workdir == "gs://bucket/run"
    (flags,) = container["env"]
    assert ("data_parallel" in flags["value"]) == (slices > 1)


def test_the_check_of_manifests_finds_what_is_wrong(capsys):
    words = ("jobset", "--name=run-a", "--tpu=v5e:4x4", "--image=i")
    manifest = yaml.safe_load(_printed(capsys, *words))
    manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["container"] = 1
    manifest["spec"]["failurePolicy"]["maxRestarts"] = "3"
    del manifest["spec"]["replicatedJobs"][0]["name"]
    assert len(problems(manifest, JOBSET)) == 3


def test_queued_resources_run_on_every_worker(capsys):
    flags = ["--tpu=v5e:4x4", "--zone=us-east5-a", "--repository=https://example.org/vsft"]
    lines = _printed(capsys, "queued", "--name=run-a", *flags).splitlines()
    steps = {
        does[2:]: shlex.split(line) for does, line in zip(lines[::2], lines[1::2], strict=True)
    }
    assert "v5litepod-16" in steps["make"] and "v2-alpha-tpuv5-lite" in steps["make"]
    assert "--worker=all" in steps["run"] and "--node=all" not in steps["run"]
    (command,) = (word for word in steps["run"] if word.startswith("--command="))
    inner = shlex.split(command.removeprefix("--command="))
    assert parse(inner[inner.index(".venv/bin/vsft") + 1 :], "vsft").distributed
    flags.append("--slices=2")
    assert "--node=all" in _printed(capsys, "queued", "--name=run-a", *flags, "--step=run")


def test_xpk_names_the_slice_as_it_does(capsys):
    flags = ["--tpu=v5p:4x4x4", "--slices=2", "--image=i", "--cluster=c"]
    words = shlex.split(_printed(capsys, "xpk", "--name=run-a", *flags))
    assert words[:3] == ["xpk", "workload", "create"]
    assert words[words.index("--tpu-type") + 1] == "v5p-128"
    assert words[words.index("--num-slices") + 1] == "2"
    assert words[-1].endswith("--workdir=gs://bucket/run --distributed")


@pytest.mark.parametrize(
    "words, said",
    [
        (["--tpu=v5x:4x4"], "no TPU v5x; did you mean v5"),
        (["--tpu=v5p:4x4"], "a v5p has 3 axes"),
        (["--tpu=v5e:3x3"], "hosts have 4 chips each"),
        (["--tpu=v5e:4"], "2 axes"),
        (["--tpu=v5e:4x4", "--name=Run_1"], "expected letters a-z, digits and -"),
        (["--tpu=v5e:4x4", "--slices=0"], "expected 1 or more"),
        (["--tpu=v5e:4x4"], "needs a container, see Dockerfile"),
        (["--tpu=v5e:4x4", "--image=i", "--", "--workdir=runs/a"], "4 hosts share no disk"),
    ],
)
def test_mistakes(capsys, words, said):
    words = words if "--" in words else [*words, *VSFT]
    name = [] if any(w.startswith("--name") for w in words) else ["--name=run-a"]
    assert main(["jobset", *name, "--print", *words]) == 2
    assert said in capsys.readouterr().err


def test_libtpu_knows_the_flags():
    """An unknown one ends the process."""
    assert FLAGS.keys() == KINDS.keys()
    program = (
        "from jax.experimental import topologies\n"
        "topologies.get_topology_desc(platform='tpu', topology_name='v5e:2x2')"
    )
    flags = {flag for name in KINDS for flag in _flags(name)}
    environment = {
        **os.environ,
        "LIBTPU_INIT_ARGS": " ".join(sorted(flags)),
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # other tests may have loaded it
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _flags(name):
    sides = "x".join("2" * KINDS[name].dimensions)
    return Slice.of(f"{name}:{sides}").flags(2).split()
