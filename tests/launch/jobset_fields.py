"""What a JobSet may hold: the fields of the published schema that launches could have use for.

Written by hand after the custom resource definition of jobset.x-k8s.io/v1alpha2 (JobSet 0.8) and
the Kubernetes API of jobs and pods. A name that is not here is refused, as servers do under strict
validation. "!" after a name: it must be there. A list holds the kind of its items.
"""

from typing import Any

_TEXTS = {"*": str}
_METADATA = {"name": str, "namespace": str, "labels": _TEXTS, "annotations": _TEXTS}
_ENV = {"name!": str, "value": str, "valueFrom": {"fieldRef": {"fieldPath!": str}}}
_CONTAINER = {
    "name!": str,
    "image": str,
    "imagePullPolicy": str,
    "command": [str],
    "args": [str],
    "env": [_ENV],
    "ports": [{"containerPort!": int, "name": str, "protocol": str}],
    "resources": {"limits": {"*": int}, "requests": {"*": int}},
    "securityContext": {"privileged": bool},
    "volumeMounts": [{"name!": str, "mountPath!": str, "readOnly": bool}],
    "workingDir": str,
}
_POD = {
    "restartPolicy": str,
    "terminationGracePeriodSeconds": int,
    "nodeSelector": _TEXTS,
    "tolerations": [{"key": str, "operator": str, "value": str, "effect": str}],
    "serviceAccountName": str,
    "hostNetwork": bool,
    "dnsPolicy": str,
    "priorityClassName": str,
    "containers!": [_CONTAINER],
    "volumes": [{"name!": str, "emptyDir": {"medium": str, "sizeLimit": str}}],
}
_JOB = {
    "parallelism": int,
    "completions": int,
    "completionMode": str,
    "backoffLimit": int,
    "activeDeadlineSeconds": int,
    "template!": {"metadata": _METADATA, "spec": _POD},
}
JOBSET: dict[str, Any] = {
    "apiVersion!": str,
    "kind!": str,
    "metadata!": _METADATA,
    "spec!": {
        "failurePolicy": {"maxRestarts": int, "restartStrategy": str},
        "network": {
            "enableDNSHostnames": bool,
            "subdomain": str,
            "publishNotReadyAddresses": bool,
        },
        "replicatedJobs": [
            {
                "name!": str,
                "replicas": int,
                "groupName": str,
                "template!": {"metadata": _METADATA, "spec": _JOB},
            }
        ],
        "suspend": bool,
        "ttlSecondsAfterFinished": int,
    },
}


def problems(value: Any, kind: Any, where: str = "") -> list[str]:
    """What of a value is not of a kind, with its place."""
    if isinstance(kind, list):
        if not isinstance(value, list):
            return [f"{where}: not a list"]
        return [p for i, item in enumerate(value) for p in problems(item, kind[0], f"{where}[{i}]")]
    if not isinstance(kind, dict):
        right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        return [] if right else [f"{where}: {value!r} is not {kind.__name__}"]
    if not isinstance(value, dict):
        return [f"{where}: not an object"]
    kinds = {name.rstrip("!"): of for name, of in kind.items()}
    found = [f"{where}.{n[:-1]}: missing" for n in kind if n[-1] == "!" and n[:-1] not in value]
    for name, item in value.items():
        of = kinds.get(name, kinds.get("*"))
        found += problems(item, of, f"{where}.{name}") if of else [f"{where}.{name}: no such field"]
    return found
