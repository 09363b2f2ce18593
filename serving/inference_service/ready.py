"""Whether what was applied is in force, and if not, why: read from Deployments, pods, events and the route's status."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from llm_flywheel.components.common.cluster import Body, Cluster, reference
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.outage import ride_out
from llm_flywheel.serving.inference_service.build import SPEC_ANNOTATION, VARIANT_HEADER

POLL_S = 2.0
ROUTE_TIMEOUT_S = 60.0
_IMAGE_PULL = ("ErrImagePull", "ImagePullBackOff", "ImageInspectError", "InvalidImageName", "ErrImageNeverPull")
_NEVER_PULLED = ("InvalidImageName", "ErrImageNeverPull")
_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_LAST_RESTART = 2
# A registry, a Secret or a quota may come back within a minute, a wrong name does not.
_PATIENCE_S = 60.0
_LOG_LINES = "8"


@dataclass(frozen=True)
class Trouble:
    """What keeps a pod from becoming ready.

    Attributes:
        reason: ``image_pull``, ``crash_loop``, ``oom``, ``storage``, ``config``, ``refused`` or ``unschedulable``.
        text: For a person.
        patience_s: How long it may last before waiting any longer is useless, seconds.
        container: Whose last log lines say more, or empty.
        restarted: Whether those are the lines of the run before the present one.
    """

    reason: str
    text: str
    patience_s: float = math.inf
    container: str = ""
    restarted: bool = False


def wait_ready(cluster: Cluster, body: Body, timeout_s: float, poll_s: float = POLL_S) -> None:
    """Wait until an applied InferenceService or HTTPRoute is in force; a short outage of the API server is ridden out.

    Raises:
        FlywheelError: Not in time, or the cause shows that it never will be; with the cause.
    """
    if body["kind"] == "HTTPRoute":
        wait_route(cluster, body, min(timeout_s, ROUTE_TIMEOUT_S))
        return
    started = time.monotonic()
    since: dict[str, float] = {}
    while waiting := ride_out(lambda: waits_for(cluster, body)):
        trouble = ride_out(lambda: diagnose(cluster, body))
        now = time.monotonic()
        since = {trouble.reason: since.get(trouble.reason, now)} if trouble else {}
        in_vain = trouble is not None and now - since[trouble.reason] >= trouble.patience_s
        if in_vain or now - started >= timeout_s:
            seconds = f"not ready after {now - started:.0f} s"
            raise FlywheelError(
                f"{seconds}: {trouble.text if trouble else waiting + _last_warning(cluster, body)}",
                where=f"InferenceService/{body['metadata']['name']}",
                reason=trouble.reason if trouble else "timeout",
            )
        time.sleep(poll_s)


def waits_for(cluster: Cluster, body: Body) -> str:
    """What an applied InferenceService still waits for, or empty.

    KServe's conditions describe the state before an update until its controller has seen it: the Deployments decide.
    """
    found = cluster.get(body)
    waiting = "it is being deleted" if being_deleted(found) else not_ready(found)
    if waiting or "Knative" in body["metadata"]["annotations"].values():
        return waiting
    namespace = body["metadata"]["namespace"]
    for name, predictor in _predictors(body).items():
        deployment = cluster.find(reference("apps/v1", "Deployment", namespace, name))
        # With a native canary KServe divides stable's replicas between the two.
        replicas = 0 if "canary" in body["spec"] else predictor["minReplicas"]
        waiting = not_rolled_out(deployment or {}, predictor["annotations"][SPEC_ANNOTATION], replicas)
        if waiting:
            return f"Deployment {name}: {waiting}"
    return ""


def being_deleted(found: Body) -> bool:
    """Whether an object is there only until its finalizers are done; what is applied to it goes with it."""
    return "deletionTimestamp" in found["metadata"]


def _predictors(body: Body) -> dict[str, Body]:
    """What an InferenceService in Standard mode runs, by the name of its Deployment."""
    name, spec = body["metadata"]["name"], body["spec"]
    found: dict[str, Body] = {f"{name}-predictor": spec["predictor"]}
    for canary in spec.get("canary") or []:
        found[f"{name}-{canary['predictor']['name']}-predictor"] = canary["predictor"]
    return found


def not_ready(found: Body) -> str:
    """What the conditions of an InferenceService wait for, or empty.

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
            failure = ((status.get("modelStatus") or {}).get("lastFailureInfo") or {}).get("message")
            said = condition or {}
            return f"{kind}: {said.get('message') or said.get('reason') or failure or 'unknown'}"
    predictor = (status.get("components") or {}).get("predictor") or {}
    created, ready = predictor.get("latestCreatedRevision"), predictor.get("latestReadyRevision")
    if created != ready:
        return f"revision {created}; ready is {ready}"
    missing = [item["name"] for item in status.get("canaryStatuses") or [] if not item.get("ready")]
    return f"canary {', '.join(missing)}" if missing else ""


def not_rolled_out(deployment: Body, digest: str, replicas: int = 0) -> str:
    """What a Deployment still waits for, or empty.

    Args:
        deployment: As the API server has it; empty when there is none.
        digest: The spec that it must be of.
        replicas: How many it must have; 0 for as many as it says.
    """
    if not deployment or being_deleted(deployment):
        return "not there yet"
    spec, status = deployment["spec"], deployment.get("status") or {}
    wanted = replicas or spec.get("replicas", 1)
    if (spec["template"]["metadata"].get("annotations") or {}).get(SPEC_ANNOTATION) != digest:
        return "still of an earlier spec"
    if spec.get("replicas", 1) != wanted or status.get("observedGeneration") != deployment["metadata"]["generation"]:
        return "its change is not observed yet"
    for key in ("updatedReplicas", "availableReplicas", "replicas"):
        if status.get(key, 0) != wanted:
            return f"{key} {status.get(key, 0)} of {wanted}"
    return ""


def diagnose(cluster: Cluster, body: Body) -> Trouble | None:
    """The trouble of an InferenceService's pods that is worst, with what the failed container logged last."""
    namespace = body["metadata"]["namespace"]
    found: list[tuple[Trouble, str]] = []
    for name, predictor in _predictors(body).items():
        for pod in _pods(cluster, body, predictor):
            trouble = trouble_of(pod)
            if trouble:
                found.append((trouble, pod["metadata"]["name"]))
        refused = _refusal(cluster.find(reference("apps/v1", "Deployment", namespace, name)) or {})
        if refused:
            found.append((Trouble("refused", refused, _PATIENCE_S), ""))
    if not found:
        return None
    trouble, pod_name = min(found, key=lambda item: item[0].patience_s)
    log = _log(cluster, namespace, pod_name, trouble) if trouble.container else ""
    return Trouble(trouble.reason, trouble.text + log, trouble.patience_s)


def _pods(cluster: Cluster, body: Body, predictor: Body) -> list[Body]:
    selector = ",".join(f"{key}={value}" for key, value in predictor["labels"].items())
    return cluster.items("v1", "Pod", body["metadata"]["namespace"], labelSelector=selector)


def _refusal(deployment: Body) -> str:
    """Why a Deployment's pods are not even created: Pod Security, a quota, a webhook."""
    conditions = (deployment.get("status") or {}).get("conditions") or []
    return next((str(item.get("message", "")) for item in conditions if item["type"] == "ReplicaFailure"), "")


def trouble_of(pod: Body) -> Trouble | None:
    """What keeps one pod from becoming ready, as far as its status says; None while it is just starting."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or []:
            trouble = _container_trouble(f"pod {name}, {container['name']}", container)
            if trouble:
                return trouble
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return Trouble("unschedulable", f"pod {name}: unschedulable: {condition.get('message', '')}")
    return None


def _container_trouble(who: str, status: Body) -> Trouble | None:
    state = status.get("state") or {}
    waiting, name = state.get("waiting") or {}, str(status["name"])
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if reason in _IMAGE_PULL:
        patience = 0 if reason in _NEVER_PULLED else _PATIENCE_S
        return Trouble("image_pull", f"{who}: {reason}: {message}", patience)
    if reason in _CONFIG:
        return Trouble("config", f"{who}: {reason}: {message}", _PATIENCE_S)
    now = state.get("terminated") or {}
    died = now or (status.get("lastState") or {}).get("terminated") or {}
    if not died.get("exitCode") or "running" in state:
        return None
    restarts = int(status.get("restartCount", 0))
    how = f"exit code {died['exitCode']}" + (f", {died['reason']}" if died.get("reason", "Error") != "Error" else "")
    code = "storage" if name == "storage-initializer" else "crash_loop"
    return Trouble(
        "oom" if died.get("reason") == "OOMKilled" else code,
        f"{who}: ended with {how}, restarted {restarts} times",
        0 if restarts >= _LAST_RESTART else math.inf,
        name,
        restarted=not now,
    )


def _log(cluster: Cluster, namespace: str, pod: str, trouble: Trouble) -> str:
    query = {"container": trouble.container, "tailLines": _LOG_LINES}
    if trouble.restarted:
        query["previous"] = "true"
    try:
        text = cluster.text(f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query)
    except FlywheelError:
        return ""  # the container is being replaced, or never wrote: the cause itself is known
    lines = [line[:300] for line in text.splitlines() if line.strip()]
    return "".join(f"\n  | {line}" for line in lines)


def _last_warning(cluster: Cluster, body: Body) -> str:
    """The newest warning about the pods: a probe that fails, a volume that is not there."""
    pods = [pod for predictor in _predictors(body).values() for pod in _pods(cluster, body, predictor)]
    for name in [*(pod["metadata"]["name"] for pod in pods), body["metadata"]["name"]]:
        selector = f"involvedObject.name={name},type=Warning"
        events = cluster.items("v1", "Event", body["metadata"]["namespace"], fieldSelector=selector)
        if events:
            newest = max(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
            return f"; {name}: {newest.get('reason', '')}: {newest.get('message', '')}"
    return ""


def wait_route(cluster: Cluster, body: Body, timeout_s: float = ROUTE_TIMEOUT_S, poll_s: float = 0.5) -> None:
    """Wait until the Gateway has accepted a route as it was written; a short outage of the API server is ridden out.

    Raises:
        FlywheelError: It has not, in time; with what the route's status says.
    """
    deadline = time.monotonic() + timeout_s
    while problem := not_accepted(ride_out(lambda: cluster.get(body)), body):
        if time.monotonic() >= deadline:
            parent = body["spec"]["parentRefs"][0]
            raise FlywheelError(
                f"the Gateway {parent['namespace']}/{parent['name']} has not accepted the route: {problem}",
                where=f"HTTPRoute/{body['metadata']['name']}",
                fix="flywheel doctor --target cluster",
                reason="route",
            )
        time.sleep(poll_s)


def not_accepted(found: Body, wanted: Body) -> str:
    """Why a route is not in force as it was written, or empty: another's weights, or the Gateway's own conditions."""
    if weights_of(found) != weights_of(wanted):
        return f"it carries the weights {weights_of(found)}, not {weights_of(wanted)}"
    return conditions_of(found, wanted["spec"]["parentRefs"][0])


def conditions_of(found: Body, parent: Body) -> str:
    """What the Gateway that ``parent`` names holds against a route, or empty."""
    if being_deleted(found):
        return "it is being deleted"
    generation = found["metadata"].get("generation")
    for status in (found.get("status") or {}).get("parents") or []:
        if {key: status["parentRef"].get(key) for key in ("name", "namespace")} != parent:
            continue
        conditions = {item["type"]: item for item in status.get("conditions") or []}
        for kind in ("Accepted", "ResolvedRefs"):
            item = conditions.get(kind) or {}
            if item.get("status") != "True":
                return f"{kind}: {item.get('message') or item.get('reason') or 'unknown'}"
            if item.get("observedGeneration", 0) < (generation or 0):
                return f"{kind}: its last change has not been looked at"
        return ""
    return "no Gateway has looked at it"


def weights_of(route: Body) -> dict[str, int]:
    """Weight by Service of a route's rule for requests that are not pinned."""
    for rule in route["spec"]["rules"]:
        if not any(_pins(match) for match in rule.get("matches") or []):
            return {item["name"]: int(item.get("weight", 1)) for item in rule.get("backendRefs") or []}
    return {}


def _pins(match: Body) -> bool:
    headers: Sequence[Body] = match.get("headers") or []
    return any(str(item.get("name", "")).lower() == VARIANT_HEADER for item in headers)
