"""Checks of a Kubernetes cluster: reachable, has the kinds we create, and lets us create them."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.pipelines.checks import Check, Planned

TIMEOUTS_S = (3.0, 8.0)  # connect, read

INSTALL_KSERVE = "kubectl apply --server-side -k 'https://github.com/kserve/kserve//config/default?ref=v0.20.0'"
INSTALL_TRAINING = (
    "kubectl apply --server-side "
    "-k 'https://github.com/kubeflow/training-operator.git/manifests/overlays/standalone?ref=v1.9.4'"
)
INSTALL_GATEWAY_API = (
    "kubectl apply --server-side "
    "-f https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.5.1/standard-install.yaml"
)


@dataclass(frozen=True)
class Kind:
    """A kind of object that a run creates: API group, version and plural name."""

    group: str
    version: str
    plural: str


INFERENCE_SERVICE = Kind("serving.kserve.io", "v1beta1", "inferenceservices")
SERVING_RUNTIME = Kind("serving.kserve.io", "v1alpha1", "servingruntimes")
PYTORCH_JOB = Kind("kubeflow.org", "v1", "pytorchjobs")
TRAIN_JOB = Kind("trainer.kubeflow.org", "v1alpha1", "trainjobs")
HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "httproutes")


class Cluster:
    """The cluster of a kubeconfig's current context; every question fails fast with a FlywheelError.

    Args:
        kubeconfig: Path; None for what kubectl uses, or the pod's service account.

    Raises:
        FlywheelError: There is no usable kubeconfig, or the client is not installed.
    """

    def __init__(self, kubeconfig: Path | None = None) -> None:
        try:
            from kubernetes import client, config
        except ImportError:
            raise FlywheelError(
                "the kubernetes client is not installed", fix="pip install 'llm-flywheel[cluster]'", reason="package"
            ) from None
        self._client = client
        configuration = client.Configuration()
        self.namespace = "default"
        try:
            config.load_kube_config(str(kubeconfig) if kubeconfig else None, client_configuration=configuration)
            _, current = config.list_kube_config_contexts(str(kubeconfig) if kubeconfig else None)
            self.namespace = (current.get("context") or {}).get("namespace") or "default"
        except Exception as error:  # yaml, OS and config errors alike: the file is of no use
            try:
                config.load_incluster_config(configuration)
            except config.ConfigException:
                raise FlywheelError(
                    f"no usable kubeconfig: {_one_line(error)}",
                    fix="export KUBECONFIG=/path/to/kubeconfig (kind create cluster makes one)",
                    reason="kubeconfig",
                ) from None
        configuration.retries = 0
        self.server = str(configuration.host)
        self._api = client.ApiClient(configuration)

    def version(self) -> str:
        """Version of the API server."""
        try:
            return str(self._ask(self._client.VersionApi(self._api).get_code).git_version)
        except LookupError:
            raise FlywheelError("not a Kubernetes API server", where=self.server, reason="kubernetes") from None

    def serves(self, kind: Kind) -> bool:
        """Whether the API server knows a kind; discovery is open to every authenticated account."""
        resources = self._client.CustomObjectsApi(self._api).get_api_resources
        try:
            found = self._ask(resources, kind.group, kind.version)
        except LookupError:
            return False
        return any(resource.name == kind.plural for resource in found.resources)

    def allowed(self, verb: str, group: str, resource: str) -> bool:
        """Whether this account may do ``verb`` in the namespace (SelfSubjectAccessReview)."""
        plural, _, subresource = resource.partition("/")
        attributes = self._client.V1ResourceAttributes(
            group=group, resource=plural, subresource=subresource or None, verb=verb, namespace=self.namespace
        )
        review = self._client.V1SelfSubjectAccessReview(
            spec=self._client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        create = self._client.AuthorizationV1Api(self._api).create_self_subject_access_review
        return bool(self._ask(create, review).status.allowed)

    def _ask(self, function: Callable[..., Any], *args: Any) -> Any:
        from urllib3.exceptions import HTTPError

        try:
            return function(*args, _request_timeout=TIMEOUTS_S)
        except self._client.ApiException as error:
            if error.status == 404:
                raise LookupError(f"{self.server} does not know that") from None
            raise FlywheelError(
                f"the API server answers {error.status} {error.reason}",
                where=self.server,
                fix="kubectl auth whoami shows who you are; sign in again, or export KUBECONFIG=…",
                reason="kubernetes",
            ) from None
        except HTTPError as error:
            raise FlywheelError(
                f"no answer: {_one_line(getattr(error, 'reason', None) or error)}",
                where=self.server,
                fix="check the context: kubectl config current-context",
                reason="kubernetes",
            ) from None


def kserve(cluster: Cluster) -> Check:
    """KServe's kinds are there."""
    missing = [kind.plural for kind in (INFERENCE_SERVICE, SERVING_RUNTIME) if not cluster.serves(kind)]
    return Check("KServe", not missing, _found(missing), INSTALL_KSERVE if missing else "")


def training(cluster: Cluster) -> Check:
    """One of the two kinds of training jobs is there; the launcher takes whichever it finds."""
    found = [kind.plural for kind in (PYTORCH_JOB, TRAIN_JOB) if cluster.serves(kind)]
    detail = ", ".join(found) or "neither pytorchjobs nor trainjobs"
    return Check("training jobs", bool(found), detail, "" if found else INSTALL_TRAINING)


def gateway(cluster: Cluster) -> Check:
    """HTTPRoute is there, by which KServe's Standard mode splits traffic; Knative mode does without."""
    served = cluster.serves(HTTP_ROUTE)
    detail = "httproutes" if served else "no httproutes; only KServe's Knative mode can split traffic"
    return Check("Gateway API", served, detail, "" if served else INSTALL_GATEWAY_API, required=False)


def permissions(cluster: Cluster) -> Check:
    """The account may do what a run does."""
    jobs = next((kind for kind in (PYTORCH_JOB, TRAIN_JOB) if cluster.serves(kind)), PYTORCH_JOB)
    needed: list[tuple[str, str, str]] = [
        (verb, kind.group, kind.plural)
        for kind in (INFERENCE_SERVICE, SERVING_RUNTIME, jobs)
        for verb in ("create", "get", "patch", "delete")
    ]
    needed += [("patch", HTTP_ROUTE.group, HTTP_ROUTE.plural)] if cluster.serves(HTTP_ROUTE) else []
    needed += [("list", "", "pods"), ("get", "", "pods/log")]
    denied = [(verb, resource) for verb, group, resource in needed if not cluster.allowed(verb, group, resource)]
    if not denied:
        return Check("permissions", True, f"{len(needed)} verbs in namespace {cluster.namespace}")
    grant = (
        f"kubectl create role flywheel -n {cluster.namespace} --verb=create,get,list,watch,patch,delete "
        f"--resource={','.join(sorted(_qualified(needed)))} && kubectl create rolebinding flywheel "
        f"-n {cluster.namespace} --role=flywheel "
        "--user=$(kubectl auth whoami -o jsonpath='{.status.userInfo.username}')"
    )
    return Check("permissions", False, f"may not {'; '.join(_grouped(denied))} in {cluster.namespace}", grant)


class Connection:
    """One cluster for all checks; when it does not answer, one check says why and the others say only that."""

    def __init__(self, kubeconfig: Path | None) -> None:
        self._kubeconfig, self._lock = kubeconfig, threading.Lock()
        self._cluster: Cluster | None = None
        self._failure: FlywheelError | None = None
        self._version = ""

    def check(self) -> Check:
        """The API server answers."""
        self._connect()
        if self._failure is not None:
            raise self._failure
        assert self._cluster is not None
        where = f"{self._cluster.server} {self._version}, namespace {self._cluster.namespace}"
        return Check("Kubernetes", True, where)

    def cluster(self) -> Cluster:
        """The cluster; raises FlywheelError when it does not answer."""
        self._connect()
        if self._cluster is None or self._failure is not None:
            raise FlywheelError("not checked, since the cluster does not answer", reason="kubernetes")
        return self._cluster

    def _connect(self) -> None:
        with self._lock:
            if self._version or self._failure is not None:
                return
            try:
                self._cluster = Cluster(self._kubeconfig)
                self._version = self._cluster.version()
            except FlywheelError as error:
                self._failure = error


def cluster_checks(kubeconfig: Path | None = None) -> list[Planned]:
    """All checks of a cluster, on one connection; it is made when the first one runs."""
    connection = Connection(kubeconfig)
    return [
        Planned("Kubernetes", connection.check),
        Planned("KServe", lambda: kserve(connection.cluster())),
        Planned("training jobs", lambda: training(connection.cluster())),
        Planned("Gateway API", lambda: gateway(connection.cluster()), required=False),
        Planned("permissions", lambda: permissions(connection.cluster())),
    ]


def _found(missing: list[str]) -> str:
    return f"no {', '.join(missing)}" if missing else "inferenceservices, servingruntimes"


def _grouped(denied: Iterable[tuple[str, str]]) -> list[str]:
    verbs: dict[str, list[str]] = {}
    for verb, resource in denied:
        verbs.setdefault(resource, []).append(verb)
    return [f"{', '.join(found)} {resource}" for resource, found in verbs.items()]


def _qualified(needed: Iterable[tuple[str, str, str]]) -> set[str]:
    return {f"{resource}.{group}" if group else resource for _, group, resource in needed}


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200]
