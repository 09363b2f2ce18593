"""Brings a service into a cluster: server-side apply, stage by stage, each when the one before is ready."""

import time

from llm_flywheel.components.common.cluster import Body, Cluster
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.build import stages
from llm_flywheel.serving.inference_service.config import ServiceSpec

_POLL_S = 5.0


def apply_service(spec: ServiceSpec, *, timeout_s: float, cluster: Cluster | None = None) -> str:
    """Bring a service into the cluster and wait until every stage is ready.

    Args:
        spec: The service.
        timeout_s: Longest wait for a stage, seconds.
        cluster: Default: the one of the environment.

    Returns:
        Base URL for OpenAI clients.

    Raises:
        FlywheelError: The cluster refuses, a stage is not ready in time, or clients have no address to reach it at.
    """
    cluster = cluster or Cluster()
    for bodies in stages(spec).values():
        for body in bodies:
            cluster.apply(body)
        for body in bodies:
            if body["kind"] == "InferenceService":
                wait_ready(cluster, body, timeout_s)
    return address(cluster, spec)


def wait_ready(cluster: Cluster, body: Body, timeout_s: float, poll_s: float = _POLL_S) -> None:
    """Wait until an InferenceService and its canary are ready.

    Raises:
        FlywheelError: Not in time; with what its conditions say.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        waiting = not_ready(cluster.get(body))
        if not waiting:
            return
        if time.monotonic() >= deadline:
            raise FlywheelError(
                f"not ready after {timeout_s:.0f} s: {waiting}",
                where=f"InferenceService/{body['metadata']['name']}",
                reason="timeout",
            )
        time.sleep(poll_s)


def not_ready(found: Body) -> str:
    """What an InferenceService still waits for, or empty.

    ``Ready`` alone stays true during an update and ignores canaries: a Knative revision must have become the
    latest ready one, and Standard mode reports its canaries apart.
    """
    status = found.get("status") or {}
    conditions = {item["type"]: item for item in status.get("conditions") or []}
    for kind in ("Ready", "LatestDeploymentReady", "CanaryPredictorReady"):
        condition = conditions.get(kind)
        if condition is None and kind != "Ready":
            continue
        if condition is None or condition.get("status") != "True":
            return f"{kind}: {(condition or {}).get('message') or (condition or {}).get('reason') or 'unknown'}"
    predictor = (status.get("components") or {}).get("predictor") or {}
    created, ready = predictor.get("latestCreatedRevision"), predictor.get("latestReadyRevision")
    if created != ready:
        return f"revision {created}; ready is {ready}"
    missing = [item["name"] for item in status.get("canaryStatuses") or [] if not item.get("ready")]
    return f"canary {', '.join(missing)}" if missing else ""


def address(cluster: Cluster, spec: ServiceSpec) -> str:
    """Where clients reach the service: its host name, the Gateway's address, or KServe's URL.

    Raises:
        FlywheelError: Neither the Gateway nor KServe names an address.
    """
    if spec.hostnames:
        return f"http://{spec.hostnames[0]}/v1"
    if spec.mode == "standard" and spec.gateway is not None:
        where = {"name": spec.gateway.name, "namespace": spec.gateway.namespace or spec.namespace}
        found = cluster.get({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": where})
        addresses = (found.get("status") or {}).get("addresses") or []
        if not addresses:
            raise _no_address(f"Gateway/{where['name']} in {where['namespace']}")
        return f"http://{addresses[0]['value']}/v1"
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": spec.name, "namespace": spec.namespace},
    }
    url = (cluster.get(service).get("status") or {}).get("url", "")
    if not url:
        raise _no_address(f"InferenceService/{spec.name} in {spec.namespace}")
    return f"{url}/v1"


def _no_address(where: str) -> FlywheelError:
    return FlywheelError(
        "the service runs, but has no address that clients can reach",
        where=where,
        fix="see what its status says, or set deploy.hostnames",
        reason="no_address",
    )
