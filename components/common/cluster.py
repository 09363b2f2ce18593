"""The few calls that we make of a Kubernetes API server, on plain dicts, with errors that a person can act on."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from llm_flywheel.components.common.errors import FlywheelError

Body = dict[str, Any]

FIELD_MANAGER = "llm-flywheel"
CALL_TIMEOUT_S = 30.0
# Plural by API group and kind; the groups we create or read, and nothing guessed.
_PLURALS = {
    ("", "Event"): "events",
    ("", "Pod"): "pods",
    ("apps", "Deployment"): "deployments",
    ("gateway.networking.k8s.io", "Gateway"): "gateways",
    ("gateway.networking.k8s.io", "HTTPRoute"): "httproutes",
    ("kubeflow.org", "PyTorchJob"): "pytorchjobs",
    ("serving.kserve.io", "InferenceService"): "inferenceservices",
    ("serving.kserve.io", "ServingRuntime"): "servingruntimes",
    ("trainer.kubeflow.org", "TrainJob"): "trainjobs",
    ("trainer.kubeflow.org", "TrainingRuntime"): "trainingruntimes",
}


class Refused(FlywheelError):
    """The API server answered with an error.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, what: str, *, where: str, fix: str = "") -> None:
        super().__init__(what, where=where, fix=fix, reason="cluster")
        self.status = status


def reference(api_version: str, kind: str, namespace: str, name: str) -> Body:
    """The part of a body that names an object."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": name}}


class Cluster:
    """A Kubernetes API server.

    Every method raises `Refused` when the server refuses and FlywheelError when it does not answer.

    Args:
        api: A ``kubernetes.client.ApiClient``; default: from the pod's service account or the kubeconfig.
    """

    def __init__(self, api: Any = None) -> None:
        self._api = api if api is not None else _api_client()
        self.server = str(self._api.configuration.host)

    def apply(self, body: Body) -> Body:
        """Create or change one object by server-side apply; fields of other owners are left alone."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        return self._object("PATCH", path_of(body), body, query, content="application/apply-patch+yaml")

    def create(self, body: Body) -> Body:
        """Create one object; status 409 of `Refused` says that it exists already."""
        return self._object("POST", path_of(body).rsplit("/", 1)[0], body, {"fieldValidation": "Strict"})

    def get(self, named: Mapping[str, Any]) -> Body:
        """Read the object that ``named`` (a body, or a `reference`) names."""
        return self._object("GET", path_of(named))

    def find(self, named: Mapping[str, Any]) -> Body | None:
        """The same, or None when there is none."""
        try:
            return self.get(named)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def items(self, api_version: str, kind: str, namespace: str, **selectors: str) -> list[Body]:
        """List objects; selectors are ``labelSelector`` and ``fieldSelector``."""
        path = path_of(reference(api_version, kind, namespace, "-")).rsplit("/", 1)[0]
        return list(self._object("GET", path, query=selectors).get("items") or [])

    def patch(self, named: Mapping[str, Any], change: Body) -> Body:
        """JSON merge patch; None takes a field away."""
        return self._object("PATCH", path_of(named), change, content="application/merge-patch+json")

    def delete(
        self, named: Mapping[str, Any], propagation: str = "Background", timeout_s: float = CALL_TIMEOUT_S
    ) -> bool:
        """Delete one object; returns whether there was one."""
        try:
            self._object("DELETE", path_of(named), query={"propagationPolicy": propagation}, timeout_s=timeout_s)
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return True

    def object_at(self, path: str) -> Body:
        """What the server keeps at a path, such as ``/version`` or ``/apis/serving.kserve.io/v1beta1``."""
        return self._object("GET", path)

    def version(self) -> str:
        """Version of the API server."""
        return str(self.object_at("/version")["gitVersion"])

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the server knows a kind; discovery is open to every account."""
        try:
            found = self.object_at(f"/apis/{api_version}")
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return any(resource["kind"] == kind for resource in found.get("resources") or ())

    def allowed(self, verb: str, group: str, resource: str, namespace: str = "") -> bool:
        """Whether this account may do ``verb`` (SelfSubjectAccessReview).

        Args:
            verb: Such as ``get``.
            group: API group; empty for the core group.
            resource: Plural, with its subresource if any: ``pods/log``.
            namespace: Empty for all namespaces, and for what has none.
        """
        plural, _, subresource = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": plural, "subresource": subresource, "namespace": namespace}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        answer = self._object(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            {**review, "spec": {"resourceAttributes": asked}},
        )
        return bool(answer["status"]["allowed"])

    def text(self, path: str, query: Mapping[str, str] | None = None, timeout_s: float = CALL_TIMEOUT_S) -> str:
        """GET text, such as a log or, through the server's proxy, a pod's ``/metrics``."""
        return self._ask("GET", path, None, dict(query or {}), "", timeout_s).decode("utf-8", "replace")

    def _object(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content: str = "",
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Body:
        raw = self._ask(method, path, body, dict(query or {}), content, timeout_s)
        try:
            return dict(json.loads(raw or b"{}"))
        except ValueError:
            raise self._silent(f"not JSON: {raw[:200]!r}") from None

    def _ask(self, method: str, path: str, body: Any, query: dict[str, str], content: str, timeout_s: float) -> bytes:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        # The generated client sends some patches under the wrong type: its authentication and connection pool are
        # used, the request is our own.
        headers: dict[str, str] = {"Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = content or "application/json"
        queries = list(query.items())
        self._api.update_params_for_auth(headers, queries, ["BearerToken"])
        url = self.server + path + (f"?{urlencode(queries)}" if queries else "")
        try:
            answer = self._api.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                retries=False,
                timeout=Timeout(connect=min(5.0, timeout_s), read=timeout_s),
            )
        except HTTPError as error:
            raise self._silent(error) from None
        if answer.status >= 300:
            raise _refused(answer.status, answer.data, path)
        return bytes(answer.data)

    def _silent(self, error: object) -> FlywheelError:
        text = " ".join(str(error).split())[:300]
        return FlywheelError(f"the cluster does not answer: {text}", where=self.server, reason="cluster")


def path_of(named: Mapping[str, Any]) -> str:
    """The API path of the object that a body names."""
    version, kind, meta = named["apiVersion"], named["kind"], named["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    group = version.split("/")[0] if "/" in version else ""
    return f"{root}/namespaces/{meta['namespace']}/{_PLURALS[group, kind]}/{meta['name']}"


def _refused(status: int, raw: bytes, path: str) -> Refused:
    try:
        message = str(json.loads(raw)["message"])
    except (ValueError, KeyError, TypeError):
        message = raw[:500].decode("utf-8", "replace")
    *_, plural, name = path.split("/")
    fix = "flywheel doctor --target cluster" if status in (403, 404) else ""
    if status == 401:
        fix = "make cluster, which makes a new token (one lasts a day), or log in to your cluster again"
    return Refused(status, f"the cluster refused: {status}: {message[:800]}", where=f"{plural}/{name}", fix=fix)


def _api_client() -> Any:
    """A client from the pod's service account or the kubeconfig."""
    try:
        from kubernetes import client, config
    except ModuleNotFoundError:
        raise FlywheelError(
            "the kubernetes client is not installed", fix="pip install 'llm-flywheel[cluster]'", reason="missing"
        ) from None
    try:
        config.load_config()
    except config.ConfigException as error:
        raise FlywheelError(
            f"no cluster to talk to: {error}", fix="make cluster, or export KUBECONFIG=…", reason="cluster"
        ) from None
    return client.ApiClient()
