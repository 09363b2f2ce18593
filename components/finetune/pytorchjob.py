"""The PyTorchJob (Training Operator v1) that trains on a cluster; a pure function from job to body."""

from typing import Any

from llm_flywheel.components.finetune import pod
from llm_flywheel.components.finetune.config import ClusterJob
from llm_flywheel.components.finetune.pod import Training


def pytorchjob_body(training: Training) -> dict[str, Any]:
    """A ``kubeflow.org/v1`` PyTorchJob as a plain dict: one Master, and Workers when there is more than one pod."""
    cluster = training.config.cluster
    replicas = {"Master": _replica(training, 1)}
    if cluster.workers > 1:
        replicas["Worker"] = _replica(training, cluster.workers - 1)
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": training.metadata,
        "spec": {
            "nprocPerNode": str(training.config.nproc_per_node),
            "runPolicy": _policy(cluster),
            "pytorchReplicaSpecs": replicas,
        },
    }


def _policy(cluster: ClusterJob) -> dict[str, Any]:
    policy = {"cleanPodPolicy": "Running", "ttlSecondsAfterFinished": cluster.ttl_seconds}
    if cluster.run_timeout_seconds and cluster.queue_timeout_seconds:
        # For a job that nobody waits for any more; it counts from the creation, a queue included.
        policy["activeDeadlineSeconds"] = cluster.run_timeout_seconds + cluster.queue_timeout_seconds
    return policy


def _replica(training: Training, count: int) -> dict[str, Any]:
    cluster = training.config.cluster
    volumes, mounts = pod.volumes(cluster)
    container = {
        "name": "pytorch",  # the operator looks for a container of this name
        "image": training.image,
        "command": training.command,
        "args": training.args,
        "env": pod.environment(training.config),
        "resources": pod.resources(cluster),
        "volumeMounts": mounts,
        "securityContext": pod.CONTAINER_SECURITY,
    }
    spec = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": volumes,
        "securityContext": pod.POD_SECURITY,
        **pod.placement(cluster),
    }
    if cluster.priority_class:
        spec["priorityClassName"] = cluster.priority_class
    return {
        "replicas": count,
        # The others cannot go on without a pod that failed, and its status names the cause as long as it is kept.
        "restartPolicy": "Never",
        "template": {"metadata": {"labels": training.labels, "annotations": pod.ANNOTATIONS}, "spec": spec},
    }
