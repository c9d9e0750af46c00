"""A JobSet of GKE: a job for each slice, a pod for each host, all started again when one fails.

GKE tells libtpu and JAX of the other hosts where a JobSet has a headless service and a pod asks for
TPUs, and of the other slices (MEGASCALE_…) where there are several. A restart goes on from the
newest checkpoint.
"""

from typing import Any

from launch.slices import Job, LaunchError

_GRACE_SECONDS = 120  # for a checkpoint, between SIGTERM and the end of a pod


def manifest(job: Job) -> dict[str, Any]:
    """The JobSet as an object of its API (jobset.x-k8s.io/v1alpha2). Raises LaunchError."""
    if not job.image:
        raise LaunchError("--image=ADDRESS: a JobSet needs a container, see Dockerfile")
    chips = job.slice.chips // job.slice.hosts
    select = {
        "cloud.google.com/gke-tpu-accelerator": job.slice.kind.gke,
        "cloud.google.com/gke-tpu-topology": job.slice.sides,
    }
    if job.spot:
        select["cloud.google.com/gke-spot"] = "true"
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "nodeSelector": select,
        "tolerations": [{"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [
            {
                "name": "vsft",
                "image": job.image,
                "command": ["vsft", *job.arguments],
                "env": [{"name": "LIBTPU_INIT_ARGS", "value": job.slice.flags(job.slices)}],
                # 8471: libtpu of the hosts of a slice; 8080: between slices.
                "ports": [{"containerPort": 8471}, {"containerPort": 8080}],
                "resources": {"limits": {"google.com/tpu": chips}},
            }
        ],
    }
    of_slice = {
        "parallelism": job.slice.hosts,
        "completions": job.slice.hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,  # one pod less is a job that waits for ever: all begin again
        "template": {"spec": pod},
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": job.name,
            # A slice is a node pool, and each job has one for itself.
            "annotations": {
                "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
            },
        },
        "spec": {
            "failurePolicy": {"maxRestarts": job.restarts},
            "network": {"enableDNSHostnames": True},
            "replicatedJobs": [
                {"name": "slice", "replicas": job.slices, "template": {"spec": of_slice}}
            ],
        },
    }
