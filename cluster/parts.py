"""What the flywheel needs in a cluster, each part from the manifests that its own module ships."""

import json
import subprocess
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from llm_flywheel.cluster.pki import Authority
from llm_flywheel.cluster.programs import module_dir

Body = dict[str, Any]
HERE = Path(__file__).parent / "objects"
MINIO = ("deployment", "--namespace=flywheel-storage", "minio")
STORAGE_SECRET = ("secret", "--namespace=flywheel", "flywheel-storage")
GATEWAY = {"name": "kserve-ingress-gateway", "namespace": "kserve"}


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: For people.
        present: Arguments of ``kubectl get``; one that shows something shows that a cluster has it.
        bodies: Makes its objects.
        images: Image name to (path in the image, program that is there), for a node without a registry.
        wait: Deployments to wait for, ``namespace/name``.
    """

    name: str
    present: tuple[tuple[str, ...], ...]
    bodies: Callable[[Path], list[Body]]
    images: dict[str, tuple[str, str]] = field(default_factory=dict)
    wait: tuple[str, ...] = ()


def kustomize(kubectl: Path, folder: Path) -> list[Body]:
    """The objects of a kustomization."""
    done = subprocess.run([str(kubectl), "kustomize", str(folder)], capture_output=True, text=True, check=True)
    return objects(done.stdout)


def objects(text: str) -> list[Body]:
    """The objects of a YAML stream."""
    return [body for body in yaml.safe_load_all(text) if body]


def of_file(name: str) -> list[Body]:
    """The objects of one of our own files."""
    return objects((HERE / name).read_text(encoding="utf-8"))


def gateway_api(kubectl: Path) -> list[Body]:
    """The CRDs of Gateway API, in the version that Traefik was built for."""
    folder = module_dir("traefik", "sigs.k8s.io/gateway-api") / "config" / "crd" / "standard"
    return [body for path in sorted(folder.glob("*.yaml")) for body in objects(path.read_text(encoding="utf-8"))]


def kserve(kubectl: Path) -> list[Body]:
    """KServe in Standard mode with Gateway API, its webhooks served with a certificate of our own making."""
    config = module_dir("kserve", "github.com/kserve/kserve") / "config"
    bodies: list[Body] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}]
    for name in ("crd/full", "rbac", "manager", "webhook", "configmap"):
        bodies += kustomize(kubectl, config / name)
    bodies += objects((config / "storagecontainers" / "default.yaml").read_text(encoding="utf-8"))
    service = "kserve-webhook-server-service"
    authority = Authority()
    pair = authority.issue(service, hosts=[f"{service}.kserve.svc", f"{service}.kserve.svc.cluster.local"])
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "kserve-webhook-server-cert", "namespace": "kserve"},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": pair.certificate.decode(), "tls.key": pair.key.decode()},
    }
    for body in bodies:
        _namespaced(body, "kserve")
        if body["kind"].endswith("WebhookConfiguration"):
            for webhook in body["webhooks"]:
                webhook["clientConfig"]["caBundle"] = b64encode(authority.pair.certificate).decode("ascii")
                webhook["clientConfig"]["service"].update(name=service, namespace="kserve")
        elif body["kind"] == "Deployment":
            _kserve_manager(body)
        elif body["kind"] == "ConfigMap" and body["metadata"]["name"] == "inferenceservice-config":
            _kserve_config(body)
        elif body["kind"] == "ClusterStorageContainer":
            _restricted(body["spec"]["container"], "docker.io/kserve/storage-initializer:v0.20.0")
    return [secret, *bodies]


def _kserve_manager(body: Body) -> None:
    pod = body["spec"]["template"]["spec"]
    container = pod["containers"][0]
    container["image"], container["imagePullPolicy"] = "docker.io/kserve/kserve-controller:v0.20.0", "IfNotPresent"
    # Upstream's limit of a tenth of a core makes a single node wait.
    container["resources"]["limits"] = {"memory": "1Gi"}
    container["readinessProbe"]["initialDelaySeconds"] = 1


def _kserve_config(body: Body) -> None:
    data = {key: value for key, value in body["data"].items() if key != "_example"}
    ingress = json.loads(data["ingress"])
    ingress.update(
        enableGatewayApi=True,
        kserveIngressGateway="{namespace}/{name}".format(**GATEWAY),
        disableIstioVirtualHost=True,
        # Answers of a language model take longer than KServe's minute.
        disableHTTPRouteTimeout=True,
    )
    data["ingress"] = json.dumps(ingress)
    data["deploy"] = json.dumps({"defaultDeploymentMode": "Standard"})
    body["data"] = data


def _restricted(container: Body, image: str) -> None:
    container["image"] = image
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def training_operator(kubectl: Path) -> list[Body]:
    """Training operator v1, with an init container for workers that Pod Security ``restricted`` lets in."""
    root = module_dir("training-operator", "github.com/kubeflow/training-operator")
    bodies = kustomize(kubectl, root / "manifests" / "overlays" / "standalone")
    template = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "training-operator-config", "namespace": "kubeflow"},
        "data": {"initContainer.yaml": (HERE / "init-container.yaml").read_text(encoding="utf-8")},
    }
    for body in bodies:
        if body["kind"] == "Deployment":
            pod = body["spec"]["template"]["spec"]
            container = pod["containers"][0]
            container["args"] = ["--pytorch-init-container-image=docker.io/library/debian:bookworm-slim"]
            container["volumeMounts"].append({"name": "config", "mountPath": "/etc/config"})
            pod["volumes"].append({"name": "config", "configMap": {"name": "training-operator-config"}})
            container["readinessProbe"].update(initialDelaySeconds=1, periodSeconds=2)
    return [body for body in bodies if not _is_empty_secret(body)] + [template] + _empty_secrets(bodies)


def trainer(kubectl: Path) -> list[Body]:
    """Trainer v2 with its torch runtime; it needs JobSet."""
    root = module_dir("trainer", "github.com/kubeflow/trainer/v2") / "manifests"
    bodies: list[Body] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubeflow-system"}}]
    for name in ("crds", "manager", "rbac", "webhook"):
        bodies += kustomize(kubectl, root / "base" / name)
    bodies += objects((root / "base" / "runtimes" / "torch_distributed.yaml").read_text(encoding="utf-8"))
    meta = {"name": "kubeflow-trainer-webhook-cert", "namespace": "kubeflow-system"}
    for body in bodies:
        _namespaced(body, "kubeflow-system")
        if body["kind"] == "Deployment":
            container = body["spec"]["template"]["spec"]["containers"][0]
            container["image"] = "ghcr.io/kubeflow/trainer/trainer-controller-manager:v2.1.0"
            container["readinessProbe"].update(initialDelaySeconds=1, periodSeconds=2)
        elif body["kind"].endswith("WebhookConfiguration"):
            for webhook in body["webhooks"]:
                webhook["clientConfig"]["service"]["namespace"] = "kubeflow-system"
    return [*bodies, {"apiVersion": "v1", "kind": "Secret", "metadata": meta}]


def jobset(kubectl: Path) -> list[Body]:
    """JobSet, which Trainer v2 builds on."""
    bodies = kustomize(kubectl, module_dir("jobset", "sigs.k8s.io/jobset") / "config" / "default")
    for body in bodies:
        if body["kind"] == "Deployment":
            container = body["spec"]["template"]["spec"]["containers"][0]
            container["image"] = "registry.k8s.io/jobset/jobset:v0.10.1"
            container["resources"]["requests"]["cpu"] = "50m"
            container["readinessProbe"].update(initialDelaySeconds=1, periodSeconds=2)
    return [body for body in bodies if not _is_empty_secret(body)] + _empty_secrets(bodies)


PARTS = (
    Part("Gateway API", (("crd", "httproutes.gateway.networking.k8s.io"),), gateway_api),
    Part(
        "KServe v0.20.0",
        (("crd", "inferenceservices.serving.kserve.io"),),
        kserve,
        {"docker.io/kserve/kserve-controller:v0.20.0": ("/manager", "kserve-manager")},
        ("kserve/kserve-controller-manager",),
    ),
    Part(
        "Traefik v3.5.3",
        (("gatewayclass",),),
        lambda _: of_file("traefik.yaml"),
        {"docker.io/library/traefik:v3.5.3": ("/usr/local/bin/traefik", "traefik")},
        ("traefik/traefik",),
    ),
    Part(
        "Training operator v1.9.4",
        (("crd", "pytorchjobs.kubeflow.org"),),
        training_operator,
        {"ghcr.io/kubeflow/training-v1/training-operator:v1-93c5489": ("/manager", "training-operator")},
        ("kubeflow/training-operator",),
    ),
    Part(
        "JobSet v0.10.1",
        (("crd", "jobsets.jobset.x-k8s.io"),),
        jobset,
        {"registry.k8s.io/jobset/jobset:v0.10.1": ("/manager", "jobset")},
        ("jobset-system/jobset-controller-manager",),
    ),
    Part(
        "Trainer v2.1.0",
        (("crd", "trainjobs.trainer.kubeflow.org"),),
        trainer,
        {"ghcr.io/kubeflow/trainer/trainer-controller-manager:v2.1.0": ("/manager", "trainer")},
        ("kubeflow-system/kubeflow-trainer-controller-manager",),
    ),
    Part(
        "MinIO and PostgreSQL",
        (MINIO, STORAGE_SECRET),
        lambda _: of_file("storage.yaml"),
        {"docker.io/minio/minio:RELEASE.2026-02-12T20-18-48Z": ("/usr/bin/minio", "minio")},
        ("flywheel-storage/minio", "flywheel-storage/postgres"),
    ),
)


def _namespaced(body: Body, namespace: str) -> None:
    cluster_wide = (
        "ClusterRole",
        "CustomResourceDefinition",
        "Namespace",
        "Webhook",
        "ClusterStorage",
        "ClusterTraining",
    )
    if not any(word in body["kind"] for word in cluster_wide):
        body["metadata"].setdefault("namespace", namespace)
    for subject in body.get("subjects") or []:
        subject["namespace"] = namespace


def _is_empty_secret(body: Body) -> bool:
    return body["kind"] == "Secret" and not body.get("data")


def _empty_secrets(bodies: list[Body]) -> list[Body]:
    """Without a type: a controller fills them, and applying them again must not empty them."""
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": body["metadata"]}
        for body in bodies
        if _is_empty_secret(body)
    ]
