"""GKE through xpk, which makes clusters for TPUs and queues jobs there."""

import shlex

from launch.slices import Job, LaunchError


def command(job: Job, *, cluster: str) -> str:
    """The command line that starts a job. Raises LaunchError."""
    if not (job.image and cluster):
        raise LaunchError("xpk needs --image=ADDRESS and --cluster=NAME")
    flags = shlex.quote(job.slice.flags(job.slices))
    return shlex.join(
        [
            *("xpk", "workload", "create", "--cluster", cluster, "--workload", job.name),
            *("--tpu-type", job.slice.accelerator_type, "--num-slices", str(job.slices)),
            *("--docker-image", job.image, "--max-restarts", str(job.restarts)),
            *(["--spot"] if job.spot else []),
            *("--command", f"LIBTPU_INIT_ARGS={flags} vsft {shlex.join(job.arguments)}"),
        ]
    )
