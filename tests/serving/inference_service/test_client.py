"""Against the small API server of conftest.py; tests/cluster/test_canary.py has a real one."""

from typing import Any

import pytest

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service import client, ready
from llm_flywheel.serving.inference_service.address import Address
from llm_flywheel.serving.inference_service.client import apply_service, wait_reached
from llm_flywheel.serving.inference_service.config import ServiceSpec

ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/models/httproutes/support"
SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "NATIVE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(ready, "ROUTE_TIMEOUT_S", 0.5)


def names(api_server: Any) -> list[str]:
    return [path.split("/namespaces/models/")[1] for path, _, _ in api_server.applied]


def backends(api_server: Any) -> list[Any]:
    return list(api_server.objects[ROUTE]["spec"]["rules"][-1]["backendRefs"])


def test_a_service_is_applied_stage_by_stage(api_server: Any, cluster: Cluster, spec: ServiceSpec) -> None:
    apply_service(spec, cluster, timeout_s=5)
    assert names(api_server) == [
        "inferenceservices/support-v1",
        "httproutes/support",
        "inferenceservices/support-v2",
        "httproutes/support",
        "httproutes/support",
    ]
    _, query, kind = api_server.applied[0]
    assert query == {"fieldManager": ["llm-flywheel"], "force": ["true"], "fieldValidation": ["Strict"]}
    assert kind == "application/apply-patch+yaml"
    assert [item["weight"] for item in backends(api_server)] == [90, 10]


def test_a_stable_that_does_not_get_ready_is_explained(api_server: Any, cluster: Cluster, spec: ServiceSpec) -> None:
    api_server.status = {"conditions": [{"type": "Ready", "status": "False", "message": "no such runtime"}]}
    with pytest.raises(FlywheelError, match="Ready: no such runtime") as caught:
        apply_service(spec, cluster, timeout_s=0)
    assert (caught.value.reason, caught.value.where) == ("timeout", "InferenceService/support-v1")
    assert names(api_server) == ["inferenceservices/support-v1"]  # neither route nor canary


def test_a_canary_that_does_not_get_ready_is_taken_back(api_server: Any, cluster: Cluster, spec: ServiceSpec) -> None:
    api_server.stuck.add("support-v2")
    with pytest.raises(FlywheelError, match="Deployment support-v2-predictor: updatedReplicas 0 of 1") as caught:
        apply_service(spec, cluster, timeout_s=0)
    assert caught.value.where == "InferenceService/support-v2"
    assert api_server.deleted == [f"{SERVICES}/support-v2"]
    assert backends(api_server) == [{"name": "support-v1-predictor", "port": 80, "weight": 100}]


def test_what_an_interrupted_rollout_left_is_removed(api_server: Any, cluster: Cluster, spec: ServiceSpec) -> None:
    canary = spec.canary
    assert canary is not None
    apply_service(spec.model_copy(update={"canary": canary.model_copy(update={"version": "9"})}), cluster, timeout_s=5)
    apply_service(spec, cluster, timeout_s=5)
    assert api_server.deleted == [f"{SERVICES}/support-v9"]
    assert sorted(path for path in api_server.objects if path.startswith(SERVICES)) == [
        f"{SERVICES}/support-v1",
        f"{SERVICES}/support-v2",
    ]


def test_a_route_that_the_gateway_does_not_take_is_explained(
    api_server: Any, cluster: Cluster, spec: ServiceSpec
) -> None:
    api_server.accepts = False
    with pytest.raises(FlywheelError, match="models/gw has not accepted the route: Accepted: no listener") as caught:
        apply_service(spec, cluster, timeout_s=5)
    assert caught.value.reason == "route"


def test_native_weights_that_do_not_reach_the_route_are_noticed_and_undone(
    api_server: Any, cluster: Cluster, native: ServiceSpec
) -> None:
    kserves_own = ROUTE.replace("httproutes/support", "httproutes/support-native")
    rules = [{"matches": [{"path": {"value": "^/.*$"}}], "backendRefs": [{"name": "support-native-predictor"}]}]
    api_server.objects[kserves_own] = {"spec": {"rules": rules}}
    with pytest.raises(FlywheelError, match="reports the canary ready at 10 %, but its HTTPRoute carries") as caught:
        apply_service(native, cluster, timeout_s=5)
    assert caught.value.reason == "unsplittable"
    assert "split: pair" in caught.value.fix
    assert "canary" not in api_server.objects[f"{SERVICES}/support-native"]["spec"]


def test_native_weights_in_the_route_are_enough(api_server: Any, cluster: Cluster, native: ServiceSpec) -> None:
    kserves_own = ROUTE.replace("httproutes/support", "httproutes/support-native")
    shares = [{"name": "support-native-predictor", "weight": 90}, {"name": "support-native-v2-predictor", "weight": 10}]
    api_server.objects[kserves_own] = {"spec": {"rules": [{"backendRefs": shares}]}}
    apply_service(native, cluster, timeout_s=5)
    [canary] = api_server.objects[f"{SERVICES}/support-native"]["spec"]["canary"]
    assert canary["trafficPercent"] == 10


def test_a_version_that_is_being_deleted_is_made_anew(
    api_server: Any, cluster: Cluster, spec: ServiceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_service(spec, cluster, timeout_s=5)
    old = api_server.objects[f"{SERVICES}/support-v2"]
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def finalizers_are_done(_: float) -> None:
        if "deletionTimestamp" in api_server.objects[f"{SERVICES}/support-v2"]["metadata"]:
            del api_server.objects[f"{SERVICES}/support-v2"]

    monkeypatch.setattr(client.time, "sleep", finalizers_are_done)
    apply_service(spec, cluster, timeout_s=5)
    new = api_server.objects[f"{SERVICES}/support-v2"]
    assert (new["spec"], "deletionTimestamp" in new["metadata"]) == (old["spec"], False)


def test_one_that_stays_is_named(api_server: Any, cluster: Cluster, spec: ServiceSpec) -> None:
    apply_service(spec, cluster, timeout_s=5)
    api_server.objects[f"{SERVICES}/support-v1"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(FlywheelError, match="still being deleted after 0 s") as caught:
        apply_service(spec, cluster, timeout_s=0)
    assert caught.value.where == "InferenceService/support-v1"


def test_what_the_server_refuses_is_explained(api_server: Any, cluster: Cluster, spec: ServiceSpec) -> None:
    api_server.forbidden.add(f"{SERVICES}/support-v1")
    with pytest.raises(FlywheelError, match="the cluster refused: 403: not allowed"):
        apply_service(spec, cluster, timeout_s=5)


def test_a_cluster_that_is_gone_is_explained(spec: ServiceSpec) -> None:
    from kubernetes import client

    configuration = client.Configuration(host="http://127.0.0.1:9")
    configuration.retries = False
    with pytest.raises(FlywheelError, match="the cluster does not answer"):
        apply_service(spec, Cluster(client.ApiClient(configuration)), timeout_s=5)


def test_a_pinned_request_must_reach_its_version(cluster: Cluster, proxy: Any, spec: ServiceSpec) -> None:
    apply_service(spec, cluster, timeout_s=5)
    where = Address(f"http://127.0.0.1:{proxy.server_port}", "support.models.internal")
    wait_reached(where, {"2"}, "canary", timeout_s=0)
    wait_reached(where, {"1"}, "stable", timeout_s=0)
    with pytest.raises(FlywheelError, match="for canary does not reach version 7: status 200, version 2"):
        wait_reached(where, {"7"}, "canary", timeout_s=0)
    with pytest.raises(FlywheelError, match="for the model does not reach version 1 or 2: status 404, version not na"):
        wait_reached(Address(where.url, "other"), {"1", "2"}, timeout_s=0)
