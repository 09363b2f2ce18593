"""Checks of a Kubernetes cluster: what it has for us, how that is set up, and what this account may do."""

import json
import shlex
import threading
from collections.abc import Callable, Iterable
from typing import Any

from llm_flywheel.components.common.cluster import Body, Cluster, Refused
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.finetune.config import ClusterJob
from llm_flywheel.components.finetune.kubernetes import trainjob_fields
from llm_flywheel.components.finetune.trainjob import API as TRAINER_API
from llm_flywheel.pipelines.checks import Check, Planned

DEPLOY = DeployConfig()
NAMESPACE = DEPLOY.namespace
ACCOUNTS = ("flywheel-pipeline", "flywheel-training", "flywheel-serving")

# On the cluster of KUBECONFIG it installs what is missing.
INSTALL = "make cluster"
APPLY = "kubectl apply --server-side -k manifests/base"
SETTINGS = (
    f"kubectl create configmap flywheel-settings -n {NAMESPACE} "
    "--from-literal=AWS_ENDPOINT_URL=http://HOST:PORT --from-literal=AWS_REGION=us-east-1"
)
STORAGE = (
    f"kubectl create secret generic flywheel-storage -n {NAMESPACE} "
    "--from-literal=AWS_ACCESS_KEY_ID=… --from-literal=AWS_SECRET_ACCESS_KEY=… && "
    f"kubectl annotate secret flywheel-storage -n {NAMESPACE} serving.kserve.io/s3-endpoint=HOST:PORT "
    "serving.kserve.io/s3-usehttps=0 serving.kserve.io/s3-region=us-east-1"
)

_READ = ("get", "list")
_WRITE = ("create", "get", "list", "patch", "delete")
Rules = dict[tuple[str, str], tuple[str, ...]]
# What a run does, verbs by API group and resource: the Roles in manifests/ grant this and nothing else.
IN_NAMESPACE: Rules = {
    ("kubeflow.org", "pytorchjobs"): _WRITE,
    ("trainer.kubeflow.org", "trainjobs"): _WRITE,
    ("trainer.kubeflow.org", "trainingruntimes"): _READ,
    ("serving.kserve.io", "inferenceservices"): _WRITE,
    ("serving.kserve.io", "servingruntimes"): _READ,
    ("gateway.networking.k8s.io", "httproutes"): _WRITE,
    ("", "pods"): _READ,
    ("", "events"): _READ,
    ("apps", "deployments"): _READ,
    ("", "pods/log"): ("get",),
    ("", "pods/proxy"): ("get",),
    ("", "configmaps"): ("get",),
}
AT_GATEWAY: Rules = {("gateway.networking.k8s.io", "gateways"): ("get",)}
IN_CLUSTER: Rules = {("trainer.kubeflow.org", "clustertrainingruntimes"): ("get",)}

# What Pod Security "restricted" asks of a container.
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def kserve(cluster: Cluster) -> Check:
    """KServe's kinds are there; with its version where this account may see it."""
    kinds = {"InferenceService": "serving.kserve.io/v1beta1", "ServingRuntime": "serving.kserve.io/v1alpha1"}
    missing = [kind for kind, version in kinds.items() if not cluster.serves(version, kind)]
    if missing:
        return Check("KServe", False, f"no {', '.join(missing)}", INSTALL)
    try:
        manager = cluster.object_at("/apis/apps/v1/namespaces/kserve/deployments/kserve-controller-manager")
    except Refused:
        return Check("KServe", True, "there; its version is not for this account to see")
    return Check("KServe", True, str(manager["spec"]["template"]["spec"]["containers"][0]["image"]))


def kserve_settings(cluster: Cluster) -> Check:
    """KServe routes through the Gateway API; the deployment mode is set per InferenceService."""

    def judge(found: Body) -> Check:
        name = "KServe settings"
        ingress = json.loads(found["data"].get("ingress") or "{}")
        mode = json.loads(found["data"].get("deploy") or "{}").get("defaultDeploymentMode", "its default")
        if ingress.get("enableGatewayApi") is True:
            return Check(name, True, f"Gateway API, through {ingress.get('kserveIngressGateway')}; mode {mode}")
        ours = {
            "enableGatewayApi": True,
            "kserveIngressGateway": f"{DEPLOY.gateway.namespace}/{DEPLOY.gateway.name}",
            "disableIstioVirtualHost": True,
        }
        change = shlex.quote(json.dumps({"data": {"ingress": json.dumps(ingress | ours)}}))
        fix = (
            f"kubectl patch configmap inferenceservice-config -n kserve --type merge -p {change} && "
            "kubectl rollout restart deployment kserve-controller-manager -n kserve"
        )
        return Check(name, False, "ingress.enableGatewayApi is not true", fix)

    return _at(
        cluster, "KServe settings", "/api/v1/namespaces/kserve/configmaps/inferenceservice-config", INSTALL, judge
    )


def storage_initializer(cluster: Cluster) -> Check:
    """The container that downloads models is let in by Pod Security ``restricted``."""

    def judge(found: Body) -> Check:
        context = found["spec"]["container"].get("securityContext") or {}
        missing = [key for key, value in _RESTRICTED.items() if context.get(key) != value]
        change = shlex.quote(json.dumps({"spec": {"container": {"securityContext": _RESTRICTED}}}))
        fix = f"kubectl patch clusterstoragecontainer default --type merge -p {change}"
        detail = f"its securityContext lacks {', '.join(missing)}" if missing else "restricted"
        return Check("storage initializer", not missing, detail, fix if missing else "")

    path = "/apis/serving.kserve.io/v1alpha1/clusterstoragecontainers/default"
    return _at(cluster, "storage initializer", path, INSTALL, judge)


def training(cluster: Cluster) -> Check:
    """A kind of training job is there that we can write; TrainJobs have had several shapes under one version."""
    found = ["PyTorchJob"] if cluster.serves("kubeflow.org/v1", "PyTorchJob") else []
    if cluster.serves(TRAINER_API, "TrainJob"):
        fields = trainjob_fields(cluster)
        shape = next((name for name in ("runtimePatches", "podTemplateOverrides") if name in fields), "")
        if not found and not shape:
            return Check(
                "training jobs", False, "TrainJob has neither runtimePatches nor podTemplateOverrides", INSTALL
            )
        found += [f"TrainJob with {shape}"] if shape else []
    return Check(
        "training jobs", bool(found), ", ".join(found) or "no PyTorchJob, no TrainJob", "" if found else INSTALL
    )


def training_runtime(cluster: Cluster) -> Check:
    """The runtime that TrainJobs name is there; a PyTorchJob needs none."""
    if not cluster.serves(TRAINER_API, "TrainJob"):
        return Check("training runtime", True, "not needed without TrainJobs")

    def judge(found: Body) -> Check:
        return Check("training runtime", True, str(found["metadata"]["name"]))

    path = f"/apis/{TRAINER_API}/namespaces/{NAMESPACE}/trainingruntimes/{ClusterJob().runtime}"
    return _at(cluster, "training runtime", path, APPLY.replace("base", "overlays/trainjob"), judge)


def gateway(cluster: Cluster) -> Check:
    """The Gateway that splits traffic is there and has an address."""
    if not cluster.serves("gateway.networking.k8s.io/v1", "HTTPRoute"):
        return Check("Gateway", False, "no HTTPRoute", INSTALL)

    def judge(found: Body) -> Check:
        addresses = [item["value"] for item in (found.get("status") or {}).get("addresses") or ()]
        name = f"{DEPLOY.gateway.namespace}/{DEPLOY.gateway.name}"
        why = f"kubectl describe gateway {DEPLOY.gateway.name} -n {DEPLOY.gateway.namespace}"
        detail = f"{name} at {', '.join(addresses)}" if addresses else f"{name} has no address"
        return Check("Gateway", bool(addresses), detail, "" if addresses else why)

    place = f"namespaces/{DEPLOY.gateway.namespace}/gateways/{DEPLOY.gateway.name}"
    return _at(cluster, "Gateway", f"/apis/gateway.networking.k8s.io/v1/{place}", INSTALL, judge)


def serving_runtime(cluster: Cluster) -> Check:
    """The runtime that InferenceServices name is there."""

    def judge(found: Body) -> Check:
        return Check("ServingRuntime", True, f"{DEPLOY.serving_runtime}: {found['spec']['containers'][0]['image']}")

    path = f"/apis/serving.kserve.io/v1alpha1/namespaces/{NAMESPACE}/servingruntimes/{DEPLOY.serving_runtime}"
    return _at(cluster, "ServingRuntime", path, APPLY, judge)


def storage_settings(cluster: Cluster) -> Check:
    """Pods are told where the object storage is."""
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/flywheel-settings"
    return _at(
        cluster, "storage address", path, SETTINGS, _with_keys("storage address", ("AWS_ENDPOINT_URL",), SETTINGS)
    )


def storage_secret(cluster: Cluster) -> Check:
    """Pods find the credentials of the object storage."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/flywheel-storage"
    return _at(cluster, "storage credentials", path, STORAGE, _with_keys("storage credentials", keys, STORAGE))


def accounts(cluster: Cluster) -> Check:
    """The service accounts of `manifests/base` are there."""

    def judge(found: Body) -> Check:
        missing = sorted(set(ACCOUNTS) - {item["metadata"]["name"] for item in found["items"]})
        detail = f"no {', '.join(missing)}" if missing else ", ".join(ACCOUNTS)
        return Check("service accounts", not missing, detail, APPLY if missing else "")

    return _at(cluster, "service accounts", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", APPLY, judge)


def permissions(cluster: Cluster) -> Check:
    """The account may do what a run does."""
    scopes = ((IN_NAMESPACE, NAMESPACE), (AT_GATEWAY, DEPLOY.gateway.namespace), (IN_CLUSTER, ""))
    needed = [
        (verb, group, resource, namespace)
        for rules, namespace in scopes
        for (group, resource), verbs in rules.items()
        for verb in verbs
    ]
    denied = [(verb, resource) for verb, group, resource, namespace in needed if not cluster.allowed(
        verb, group, resource, namespace)]  # fmt: skip
    if not denied:
        return Check("permissions", True, f"all {len(needed)} that a run needs")
    fix = f"{APPLY} && kubectl create token {ACCOUNTS[0]} -n {NAMESPACE}"
    return Check("permissions", False, f"may not {'; '.join(_grouped(denied))}", fix)


class Connection:
    """One cluster for all checks; when it does not answer, one check says why and the others say only that.

    Args:
        connect: Makes the client.
    """

    def __init__(self, connect: Callable[[], Cluster]) -> None:
        self._connect, self._lock = connect, threading.Lock()
        self._made: tuple[Cluster, str] | FlywheelError | None = None

    def check(self) -> Check:
        """The API server answers."""
        made = self._once()
        if isinstance(made, FlywheelError):
            raise made
        return Check("Kubernetes", True, f"{made[0].server} {made[1]}, namespace {NAMESPACE}")

    def cluster(self) -> Cluster:
        """The cluster; raises FlywheelError when it does not answer."""
        made = self._once()
        if isinstance(made, FlywheelError):
            raise FlywheelError("not checked, since the cluster does not answer", reason="kubernetes")
        return made[0]

    def _once(self) -> tuple[Cluster, str] | FlywheelError:
        with self._lock:
            if self._made is None:
                try:
                    cluster = self._connect()
                    self._made = cluster, cluster.version()
                except FlywheelError as error:
                    fix = (
                        "sign in again: kubectl auth whoami says who you are"
                        if isinstance(error, Refused)
                        else error.fix or "make cluster, or another context: kubectl config get-contexts"
                    )
                    self._made = FlywheelError(error.what, where=error.where, fix=fix, reason="kubernetes")
            return self._made


def cluster_checks(connect: Callable[[], Cluster] = Cluster) -> list[Planned]:
    """All checks of a cluster, on one connection; it is made when the first one runs.

    Args:
        connect: Makes the client; default: from the kubeconfig or the pod's service account.
    """
    connection = Connection(connect)

    def planned(name: str, check: Callable[[Cluster], Check]) -> Planned:
        return Planned(name, lambda: check(connection.cluster()))

    return [
        Planned("Kubernetes", connection.check),
        planned("KServe", kserve),
        planned("KServe settings", kserve_settings),
        planned("storage initializer", storage_initializer),
        planned("training jobs", training),
        planned("training runtime", training_runtime),
        planned("Gateway", gateway),
        planned("ServingRuntime", serving_runtime),
        planned("storage address", storage_settings),
        planned("storage credentials", storage_secret),
        planned("service accounts", accounts),
        planned("permissions", permissions),
    ]


def _at(cluster: Cluster, name: str, path: str, fix: str, judge: Callable[[Body], Check]) -> Check:
    """Judge what the cluster keeps at a path; what this account may not see is a note, neither good nor bad."""
    try:
        found = cluster.object_at(path)
    except Refused as error:
        if error.status == 404:
            return Check(name, False, f"no {' '.join(path.split('/')[-2:])}", fix)
        if error.status == 403:
            return Check(name, False, "not for this account to see", required=False)
        raise
    return judge(found)


def _with_keys(name: str, keys: Iterable[str], fix: str) -> Callable[[Body], Check]:
    def judge(found: Body) -> Check:
        data: dict[str, Any] = found.get("data") or {}
        missing = [key for key in keys if not data.get(key)]
        detail = f"lacks {', '.join(missing)}" if missing else str(found["metadata"]["name"])
        return Check(name, not missing, detail, fix if missing else "")

    return judge


def _grouped(denied: Iterable[tuple[str, str]]) -> list[str]:
    verbs: dict[str, list[str]] = {}
    for verb, resource in denied:
        verbs.setdefault(resource, []).append(verb)
    return [f"{', '.join(found)} {resource}" for resource, found in verbs.items()]
