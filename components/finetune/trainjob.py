"""The TrainJob (Kubeflow Trainer v2) that trains on a cluster, in each of the shapes that v1alpha1 has had."""

from collections.abc import Collection
from typing import Any, Literal

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.finetune import pod
from llm_flywheel.components.finetune.pod import Training

API = "trainer.kubeflow.org/v1alpha1"
NODE = "node"  # the job, and its container, that every torch runtime has


def trainjob_body(
    training: Training, fields: Collection[str], runtime_kind: Literal["TrainingRuntime", "ClusterTrainingRuntime"]
) -> dict[str, Any]:
    """A TrainJob as a plain dict.

    Args:
        training: The job.
        fields: The fields that ``spec`` has on this cluster; they tell Trainer 2.0, 2.1 and later ones apart.
        runtime_kind: Of ``cluster.runtime``.

    Raises:
        FlywheelError: The cluster's TrainJob is of no known shape, or cannot carry what the config asks for.
    """
    config, cluster = training.config, training.config.cluster
    if cluster.priority_class:
        raise FlywheelError(
            "a TrainJob has no PriorityClass of its own",
            where="finetune.cluster.priority_class",
            fix=f"set priorityClassName in the runtime {cluster.runtime}, or --set finetune.launcher=pytorchjob",
            reason="launcher",
        )
    spec: dict[str, Any] = {
        "runtimeRef": {"apiGroup": API.partition("/")[0], "kind": runtime_kind, "name": cluster.runtime},
        "trainer": {
            "image": training.image,
            "command": training.command,
            "args": training.args,
            "env": pod.environment(config),
            "numNodes": cluster.workers,
            "numProcPerNode": config.nproc_per_node,
            "resourcesPerNode": pod.resources(cluster),
        },
        **_overrides(training, fields),
    }
    if cluster.run_timeout_seconds and cluster.queue_timeout_seconds and "activeDeadlineSeconds" in fields:
        spec["activeDeadlineSeconds"] = cluster.run_timeout_seconds + cluster.queue_timeout_seconds
    return {"apiVersion": API, "kind": "TrainJob", "metadata": training.metadata, "spec": spec}


def _overrides(training: Training, fields: Collection[str]) -> dict[str, Any]:
    """What the pods need beyond the runtime. Before Trainer 2.2 their security is the runtime's alone."""
    cluster = training.config.cluster
    volumes, mounts = pod.volumes(cluster)
    metadata = {"labels": training.labels, "annotations": pod.ANNOTATIONS}
    container: dict[str, Any] = {"name": NODE, "volumeMounts": mounts}
    spec = {**pod.placement(cluster), "volumes": volumes, "containers": [container]}
    target = {"targetJobs": [{"name": NODE}]}
    if "runtimePatches" in fields:
        container["securityContext"] = pod.CONTAINER_SECURITY
        template = {"metadata": metadata, "spec": {**spec, "securityContext": pod.POD_SECURITY}}
        jobs = [{"name": NODE, "template": {"spec": {"template": template}}}]
        patch = {
            "manager": "flywheel.dev/finetune",
            "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}},
        }
        return {"runtimePatches": [patch]}
    if "podTemplateOverrides" in fields:
        return {"podTemplateOverrides": [{**target, "metadata": metadata, "spec": spec}]}
    if "podSpecOverrides" in fields:
        return {"podSpecOverrides": [{**target, **spec}]}
    raise FlywheelError(
        f"this cluster's TrainJob has an unknown shape: spec has {', '.join(sorted(fields)) or 'no fields'}",
        where=f"finetune.launcher: trainjob ({API})",
        fix="install Kubeflow Trainer 2.0 or later, or --set finetune.launcher=pytorchjob",
        reason="launcher",
    )
