"""What every training pod looks like, whichever kind of job makes it; plain dicts from the config."""

import json
from dataclasses import dataclass
from typing import Any

from llm_flywheel.components.finetune.config import ClusterJob, FinetuneConfig

LABEL = "flywheel.dev"

# Pod Security `restricted`.
POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# An Istio sidecar would outlive the training and keep the pod, and the job, running.
ANNOTATIONS = {"sidecar.istio.io/inject": "false"}


@dataclass(frozen=True)
class Training:
    """One training job on a cluster.

    Attributes:
        config: The finetune section; ``cluster`` says what to ask for.
        name: Of the job.
        run_id: Pipeline run, for a label.
        image: Trainer image.
        base: Base model: a URI, or a Hub id.
        dataset: URI of the curated dataset.
        output: URI for the model.
    """

    config: FinetuneConfig
    name: str
    run_id: str
    image: str
    base: str
    dataset: str
    output: str

    @property
    def command(self) -> list[str]:
        """What a pod runs."""
        return ["python3", "-m", "llm_flywheel.components.finetune.node"]

    @property
    def args(self) -> list[str]:
        """Its arguments: the whole job, without what is no business of the pods."""
        job = {"base": self.base, "dataset": self.dataset, "output": self.output}
        config = self.config.model_dump(exclude={"cluster", "tiny_recipe", "launcher"})
        return ["--config", json.dumps({"config": config, **job}, sort_keys=True)]

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the job."""
        labels = dict(self.labels)
        if self.config.cluster.queue:
            labels["kueue.x-k8s.io/queue-name"] = self.config.cluster.queue
        return {"name": self.name, "namespace": self.config.cluster.namespace, "labels": labels, "annotations": {}}

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the job and of its pods."""
        names = {"name": "llm-flywheel", "component": "finetune"}
        return {f"app.kubernetes.io/{key}": value for key, value in names.items()} | {
            f"{LABEL}/run-id": self.run_id[:63].rstrip("-_.")
        }


def environment(config: FinetuneConfig) -> list[dict[str, Any]]:
    """Variables of a pod. Credentials are references to Secrets, never values."""
    cluster = config.cluster
    found: dict[str, dict[str, Any]] = {}
    if config.nproc_per_node == 1:
        # A container sees all cores of its node, and may use those of its limit.
        found["OMP_NUM_THREADS"] = {"valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION"):  # both have a default, that of AWS itself
        reference = {"name": cluster.settings_map, "key": name, "optional": True}
        found[name] = {"valueFrom": {"configMapKeyRef": reference}}
    secrets = [(name, cluster.storage_secret, name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    for name, secret, key in [*secrets, *((item.name, item.secret, item.key) for item in cluster.env_from_secrets)]:
        found[name] = {"valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
    # All but /tmp is read-only. The user id is not in the image's passwd file, and getpass.getuser() must find a name.
    plain = {"HOME": "/tmp", "USER": "flywheel", "LOGNAME": "flywheel", "PYTHONUNBUFFERED": "1"}  # noqa: S108
    found |= {name: {"value": value} for name, value in (plain | cluster.env).items()}
    return [{"name": name, **source} for name, source in found.items()]


def resources(cluster: ClusterJob) -> dict[str, dict[str, str]]:
    """Requests and limits of a pod."""
    requests = {"cpu": cluster.cpu, "memory": cluster.memory}
    if cluster.gpus:
        requests[cluster.gpu_resource] = str(cluster.gpus)
    return {"requests": requests, "limits": requests | {"cpu": cluster.cpu_limit or cluster.cpu}}


def volumes(cluster: ClusterJob) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes of a pod, and where its container mounts them."""
    made: list[dict[str, Any]] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": cluster.shared_memory}},
        {"name": "tmp", "emptyDir": {}},
    ]
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if cluster.volume_claim:
        claim = {"claimName": cluster.volume_claim, "readOnly": True}
        made.append({"name": "workspace", "persistentVolumeClaim": claim})
        mounts.append({"name": "workspace", "mountPath": "/workspace"})
    return made, mounts


def placement(cluster: ClusterJob) -> dict[str, Any]:
    """The fields of a pod that say who it is and where it may run; empty ones are left out."""
    fields = {
        "serviceAccountName": cluster.service_account,
        "nodeSelector": dict(cluster.node_selector),
        "tolerations": [dict(item) for item in cluster.tolerations],
    }
    return {name: value for name, value in fields.items() if value}
