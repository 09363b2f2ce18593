"""The PyTorchJob (Training Operator v1) that trains on a cluster; a pure function from config to body."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from llm_flywheel.components.finetune.config import ClusterJob, FinetuneConfig

MODULE = "llm_flywheel.components.finetune.train"
LABEL = "llm-flywheel.dev"


def job_name(run_id: str, task: str) -> str:
    """A name that a retry of the same task of the same run finds again: ``ft-`` and 16 hex digits."""
    return f"ft-{hashlib.sha256(f'{run_id}/{task}'.encode()).hexdigest()[:16]}"


def pytorchjob_body(
    config: FinetuneConfig,
    *,
    name: str,
    base: str,
    dataset: str,
    output: str,
    image: str,
    run_id: str = "",
    env: Mapping[str, str] | None = None,
    owners: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Build the body.

    Args:
        config: The finetune section; ``cluster`` says what to ask for.
        name: Of the job, see `job_name`.
        base: Base model, as a path or URI that the pods can read, or a Hub id.
        dataset: Curated dataset, as a path that the pods can read.
        output: Where the model goes, as a path that the pods can write.
        image: Trainer image; ``cluster.image`` overrides it.
        run_id: Pipeline run, for a label.
        env: Plain variables of the pods; secrets come from ``cluster.env_from_secrets``.
        owners: Owner references: the job is collected with its owner.

    Returns:
        A ``kubeflow.org/v1`` PyTorchJob as a plain dict.
    """
    cluster = config.cluster
    labels = {"app.kubernetes.io/name": "llm-flywheel", "app.kubernetes.io/component": "finetune"}
    if run_id:
        labels[f"{LABEL}/run-id"] = run_id[:63]
    if cluster.queue:
        labels["kueue.x-k8s.io/queue-name"] = cluster.queue
    job = {"config": config.model_dump(exclude={"cluster"}), "base": base, "dataset": dataset, "output": output}
    container = _container(config, image, job, env or {})
    metadata: dict[str, Any] = {"name": name, "namespace": cluster.namespace, "labels": labels}
    if owners:
        metadata["ownerReferences"] = [dict(owner) for owner in owners]
    replicas = {"Master": _replica(1, container, cluster, labels)}
    if cluster.workers > 1:
        replicas["Worker"] = _replica(cluster.workers - 1, container, cluster, labels)
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": metadata,
        "spec": {
            "nprocPerNode": str(config.nproc_per_node),
            "runPolicy": _policy(cluster),
            "pytorchReplicaSpecs": replicas,
        },
    }


def _policy(cluster: ClusterJob) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "cleanPodPolicy": "Running",
        "backoffLimit": cluster.backoff_limit,
        "ttlSecondsAfterFinished": cluster.ttl_seconds,
    }
    if cluster.deadline_seconds is not None:
        policy["activeDeadlineSeconds"] = cluster.deadline_seconds
    return policy


def _container(config: FinetuneConfig, image: str, job: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    cluster = config.cluster
    resources = {"cpu": cluster.cpu, "memory": cluster.memory}
    if cluster.gpus:
        resources[cluster.gpu_resource] = str(cluster.gpus)
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if cluster.volume_claim:
        mounts.append({"name": "workspace", "mountPath": "/workspace"})
    plain = {"HOME": "/tmp", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", **env}  # noqa: S108
    secret = [
        {"name": item.name, "valueFrom": {"secretKeyRef": {"name": item.secret, "key": item.key}}}
        for item in cluster.env_from_secrets
    ]
    return {
        "name": "pytorch",  # the operator looks for a container of this name
        "image": cluster.image or image,
        "command": ["torchrun"],
        # The operator sets PET_NNODES, PET_NPROC_PER_NODE, PET_NODE_RANK and the master's address.
        "args": ["--max-restarts=0", "-m", MODULE, "--config", json.dumps(job, sort_keys=True)],
        "env": [{"name": name, "value": value} for name, value in sorted(plain.items())] + secret,
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _replica(
    count: int, container: Mapping[str, Any], cluster: ClusterJob, labels: Mapping[str, str]
) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": cluster.shared_memory}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if cluster.volume_claim:
        volumes.append({"name": "workspace", "persistentVolumeClaim": {"claimName": cluster.volume_claim}})
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "containers": [dict(container)],
        "volumes": volumes,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    optional = {
        "serviceAccountName": cluster.service_account,
        "priorityClassName": cluster.priority_class,
        "nodeSelector": dict(cluster.node_selector),
        "tolerations": [dict(item) for item in cluster.tolerations],
    }
    pod |= {key: value for key, value in optional.items() if value}
    return {
        "replicas": count,
        # A preempted or evicted pod (exit above 128) comes back; a bug in the program (exit 1) does not.
        "restartPolicy": "ExitCode",
        # An Istio sidecar would outlive the training and keep the pod, and the job, running.
        "template": {
            "metadata": {"labels": dict(labels), "annotations": {"sidecar.istio.io/inject": "false"}},
            "spec": pod,
        },
    }
