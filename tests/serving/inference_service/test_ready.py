import math
from typing import Any

import pytest

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service import ready
from llm_flywheel.serving.inference_service.build import build, http_route, without_canary
from llm_flywheel.serving.inference_service.config import ServiceSpec
from llm_flywheel.serving.inference_service.ready import (
    conditions_of,
    not_ready,
    not_rolled_out,
    trouble_of,
    wait_ready,
    waits_for,
    weights_of,
)
from tests.serving.inference_service.conftest import container, pod

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
PODS = "/api/v1/namespaces/models/pods"
SERVICE = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices/support-v1"
DIED = {"exitCode": 1, "reason": "Error"}


def stable(spec: ServiceSpec) -> Any:
    return build(without_canary(spec))[0]


def test_waiting_ends_when_the_object_is_ready(api_server: Any, cluster: Cluster, spec: ServiceSpec) -> None:
    api_server.status = {}
    cluster.apply(stable(spec))
    api_server.ready_from_read = 5
    wait_ready(cluster, stable(spec), timeout_s=20, poll_s=0.02)
    assert api_server.reads >= 5


def test_what_is_being_deleted_is_not_ready(api_server: Any, cluster: Cluster, spec: ServiceSpec) -> None:
    cluster.apply(stable(spec))
    assert waits_for(cluster, stable(spec)) == ""
    api_server.objects[SERVICE]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert waits_for(cluster, stable(spec)) == "it is being deleted"
    being_deleted = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert conditions_of(being_deleted, {"name": "gw", "namespace": "infra"}) == "it is being deleted"
    assert not_rolled_out(being_deleted, "new") == "not there yet"


@pytest.mark.parametrize(
    ("status", "waiting"),
    [
        ({}, "Ready: unknown"),
        ({"modelStatus": {"lastFailureInfo": {"message": "no such runtime"}}}, "Ready: no such runtime"),
        (READY, ""),
        (
            {**READY, "components": {"predictor": {"latestCreatedRevision": "r2", "latestReadyRevision": "r1"}}},
            "revision r2; ready is r1",
        ),
        (
            {"conditions": [*READY["conditions"], {"type": "CanaryPredictorReady", "status": "False", "reason": "X"}]},
            "CanaryPredictorReady: X",
        ),
        ({**READY, "canaryStatuses": [{"name": "v2", "ready": False}]}, "canary v2"),
        ({**READY, "canaryStatuses": [{"name": "v2", "ready": True}]}, ""),
    ],
)
def test_ready_means_the_canary_too(status: dict[str, Any], waiting: str) -> None:
    assert not_ready({"status": status}) == waiting


@pytest.mark.parametrize(
    ("change", "waiting"),
    [
        ({}, ""),
        ({"digest": "old"}, "still of an earlier spec"),
        ({"generation": 3}, "its change is not observed yet"),
        ({"wanted": 3}, "its change is not observed yet"),
        ({"updatedReplicas": 1}, "updatedReplicas 1 of 2"),
        ({"availableReplicas": 1}, "availableReplicas 1 of 2"),
        ({"replicas": 3}, "replicas 3 of 2"),
    ],
)
def test_rolled_out_means_every_replica_is_of_this_spec(change: dict[str, Any], waiting: str) -> None:
    status = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 2}
    template = {"metadata": {"annotations": {"flywheel.dev/spec": change.get("digest", "new")}}}
    deployment = {
        "metadata": {"generation": change.get("generation", 2)},
        "spec": {"replicas": 2, "template": template},
        "status": status | {key: value for key, value in change.items() if key in status},
    }
    assert not_rolled_out(deployment, "new", change.get("wanted", 2)) == waiting
    assert not_rolled_out({}, "new") == "not there yet"


@pytest.mark.parametrize(
    ("containers", "reason", "text", "patience_s"),
    [
        ([container(waiting={"reason": "ImagePullBackOff", "message": "no such tag"})], "image_pull",
         "no such tag", 60),
        ([container(waiting={"reason": "ErrImageNeverPull"})], "image_pull", "ErrImageNeverPull", 0),
        ([container(waiting={"reason": "CreateContainerConfigError", "message": "secret \"s\" not found"})], "config",
         "secret \"s\" not found", 60),
        ([container(terminated=DIED)], "crash_loop", "ended with exit code 1, restarted 0 times", math.inf),
        ([container(restarts=2, last=DIED, waiting={"reason": "CrashLoopBackOff"})], "crash_loop", "restarted 2", 0),
        ([container(restarts=3, last={"exitCode": 137, "reason": "OOMKilled"}, waiting={"reason": "CrashLoopBackOff"})],
         "oom", "exit code 137, OOMKilled", 0),
        ([container("storage-initializer", restarts=2, last=DIED, waiting={"reason": "CrashLoopBackOff"})], "storage",
         "storage-initializer: ended with exit code 1", 0),
    ],
)  # fmt: skip
def test_the_trouble_of_a_pod(containers: list[Any], reason: str, text: str, patience_s: float) -> None:
    trouble = trouble_of(pod("p", "1", containerStatuses=containers))
    assert trouble is not None
    assert (trouble.reason, trouble.patience_s) == (reason, patience_s)
    assert text in trouble.text


def test_an_unschedulable_pod_may_still_find_a_node() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no CPU"}
    trouble = trouble_of(pod("p", "1", conditions=[condition]))
    assert trouble is not None
    assert (trouble.reason, trouble.patience_s) == ("unschedulable", math.inf)


def test_a_pod_that_runs_or_starts_has_no_trouble() -> None:
    again = container(restarts=4, last=DIED, running={})
    for statuses in ([again], [container(waiting={"reason": "PodInitializing"})], []):
        assert trouble_of(pod("p", "1", containerStatuses=statuses)) is None


def test_a_crash_loop_ends_the_wait_with_what_the_container_said(
    api_server: Any, cluster: Cluster, spec: ServiceSpec
) -> None:
    api_server.status = {}
    cluster.apply(stable(spec))
    loop = container("storage-initializer", restarts=2, last=DIED, waiting={"reason": "CrashLoopBackOff"})
    api_server.objects[f"{PODS}/p"] = pod("p", "1", initContainerStatuses=[loop])
    api_server.objects[f"{PODS}/other"] = pod("other", "2", containerStatuses=[container(terminated=DIED)])
    api_server.texts[f"{PODS}/p/log"] = "Downloading\nNoSuchBucket: the bucket does not exist\n"
    with pytest.raises(FlywheelError, match="pod p, storage-initializer: ended") as caught:
        wait_ready(cluster, stable(spec), timeout_s=600)
    assert caught.value.what.splitlines()[1:] == ["  | Downloading", "  | NoSuchBucket: the bucket does not exist"]
    assert caught.value.reason == "storage"


def test_pods_that_may_not_be_created_are_explained(
    api_server: Any, cluster: Cluster, spec: ServiceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "_PATIENCE_S", 0)
    api_server.stuck.add("support-v1")
    cluster.apply(stable(spec))
    deployment = api_server.objects["/apis/apps/v1/namespaces/models/deployments/support-v1-predictor"]
    message = 'pods "p" is forbidden: violates PodSecurity'
    deployment["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": message}]
    with pytest.raises(FlywheelError, match="violates PodSecurity") as caught:
        wait_ready(cluster, stable(spec), timeout_s=600)
    assert caught.value.reason == "refused"


def test_a_pod_that_is_never_ready_is_named_with_its_last_warning(
    api_server: Any, cluster: Cluster, spec: ServiceSpec
) -> None:
    api_server.stuck.add("support-v1")
    cluster.apply(stable(spec))
    api_server.objects[f"{PODS}/p"] = pod("p", "1", containerStatuses=[container(running={})])
    for number, message in enumerate(("Startup probe failed: refused", "Readiness probe failed: 503")):
        api_server.objects[f"/api/v1/namespaces/models/events/{number}"] = {
            "metadata": {"name": str(number)}, "type": "Warning", "involvedObject": {"name": "p"},
            "reason": "Unhealthy", "message": message, "lastTimestamp": f"2026-01-01T00:00:0{number}Z",
        }  # fmt: skip
    with pytest.raises(FlywheelError, match="0 of 1; p: Unhealthy: Readiness probe failed: 503") as caught:
        wait_ready(cluster, stable(spec), timeout_s=0)
    assert caught.value.reason == "timeout"


@pytest.mark.parametrize(
    ("conditions", "problem"),
    [
        ({"Accepted": ("True", 2), "ResolvedRefs": ("True", 2)}, ""),
        ({"Accepted": ("True", 1), "ResolvedRefs": ("True", 2)}, "Accepted: its last change has not been looked at"),
        ({"Accepted": ("True", 2), "ResolvedRefs": ("False", 2)}, "ResolvedRefs: why"),
        ({"Accepted": ("True", 2)}, "ResolvedRefs: unknown"),
    ],
)
def test_a_route_is_in_force_when_the_gateway_says_so_of_its_last_change(
    conditions: dict[str, tuple[str, int]], problem: str
) -> None:
    parent = {"name": "gw", "namespace": "infra"}
    listed = [
        {"type": kind, "status": status, "observedGeneration": generation, "message": "why"}
        for kind, (status, generation) in conditions.items()
    ]
    status = {"parents": [{"parentRef": {**parent, "kind": "Gateway"}, "conditions": listed}]}
    route = {"metadata": {"generation": 2}, "status": status}
    assert conditions_of(route, parent) == problem
    assert conditions_of(route, {"name": "gw", "namespace": "other"}) == "no Gateway has looked at it"


def test_the_weights_of_a_route_are_those_of_its_unpinned_rule(spec: ServiceSpec) -> None:
    assert weights_of(http_route(spec)) == {"support-v1-predictor": 90, "support-v2-predictor": 10}
    assert weights_of({"spec": {"rules": [{"backendRefs": [{"name": "a"}]}]}}) == {"a": 1}
