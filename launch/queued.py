"""TPU VMs by queued resources: gcloud commands that make them, set them up, run a job and end it.

Each step is a command line for a shell. `ssh --worker=all` runs on every host of every slice.
"""

import shlex

from launch.slices import Job

_CODE = "vsft-jax"  # folder of the code on each host
_TPU = ("gcloud", "compute", "tpus", "queued-resources")
_SSH = ("gcloud", "alpha", "compute", "tpus", "queued-resources")


def steps(job: Job, *, zone: str, repository: str) -> dict[str, str]:
    """Command lines by what they do, in order. repository: that git clones on each host."""
    kind, where = job.slice.kind, ["--zone", zone]
    several = job.slices > 1
    nodes = ["--node-count", str(job.slices), "--node-prefix", job.name]
    create = [
        *(*_TPU, "create", job.name, *where),
        *(nodes if several else ["--node-id", job.name]),
        *("--accelerator-type", job.slice.accelerator_type, "--runtime-version", kind.runtime),
        *(["--spot"] if job.spot else []),
    ]
    everywhere = ["--worker=all", *(["--node=all"] if several else [])]

    def run(command: str) -> str:
        return shlex.join([*_SSH, "ssh", job.name, *where, *everywhere, f"--command={command}"])

    setup = (
        f"test -d {_CODE} || git clone {shlex.quote(repository)} {_CODE}; cd {_CODE} && "
        "make .venv/.user && .venv/bin/pip install -q -e '.[gs,tpu]'"
    )
    work = (
        f"cd {_CODE} && LIBTPU_INIT_ARGS={shlex.quote(job.slice.flags(job.slices))} "
        f".venv/bin/vsft {shlex.join(job.arguments)}"
    )
    return {
        "make": shlex.join(create),
        "look": shlex.join([*_TPU, "describe", job.name, *where]),
        "set up": run(setup),
        "run": run(work),
        "end": shlex.join([*_TPU, "delete", job.name, *where, "--force", "--quiet"]),
    }
