"""The rollout's traffic back end against a small API server; tests/cluster/test_canary.py has a real one."""

from typing import Any

import pytest

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service import ready
from llm_flywheel.serving.inference_service.client import apply_service
from llm_flywheel.serving.inference_service.config import ServiceSpec
from llm_flywheel.serving.inference_service.route import RouteBackend, canary_taken_back
from llm_flywheel.serving.rollout.backend import TrafficBackend, put_in_force
from tests.serving.inference_service.conftest import pod

ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/models/httproutes/support"
SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices"
PODS = "/api/v1/namespaces/models/pods"


@pytest.fixture
def backend(cluster: Cluster, spec: ServiceSpec) -> RouteBackend:
    apply_service(spec, cluster, timeout_s=5)
    return RouteBackend(spec, cluster)


def test_weights_are_put_in_force_and_read_back(backend: TrafficBackend) -> None:
    assert backend.weights() == {"stable": 90, "canary": 10}
    for canary in (0, 50, 100):
        assert put_in_force(backend, {"stable": 100 - canary, "canary": canary}) == (True, "")


@pytest.mark.parametrize("weights", [{"stable": 100}, {"stable": 90, "canary": 20}, {"stable": 110, "canary": -10}])
def test_what_are_no_weights_of_a_pair_is_refused(backend: RouteBackend, weights: dict[str, int]) -> None:
    with pytest.raises(FlywheelError, match="not weights of a pair"):
        backend.set_weights(weights)
    assert backend.weights() == {"stable": 90, "canary": 10}


def test_weights_that_the_gateway_has_not_accepted_are_not_in_force(
    backend: RouteBackend, api_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready.wait_route, "__defaults__", (0.2, 0.05))
    api_server.accepts = False
    with pytest.raises(FlywheelError, match="has not accepted the route: Accepted: no listener takes the host"):
        backend.set_weights({"stable": 50, "canary": 50})
    with pytest.raises(FlywheelError, match="not in force: Accepted: no listener takes the host"):
        backend.weights()


def test_a_route_that_sends_traffic_elsewhere_is_not_ours(backend: RouteBackend, api_server: Any) -> None:
    api_server.objects[ROUTE]["spec"]["rules"][-1]["backendRefs"][0]["name"] = "stranger"
    with pytest.raises(FlywheelError, match="traffic goes to stranger, support-v2-predictor"):
        backend.weights()


@pytest.mark.parametrize(
    ("decision", "winner", "loser", "weights"),
    [
        ("promote", "support-v2", "support-v1", {"stable": 0, "canary": 100}),
        ("rollback", "support-v1", "support-v2", {"stable": 100, "canary": 0}),
    ],
)
def test_settling_leaves_one_version_with_all_traffic(
    backend: RouteBackend, api_server: Any, decision: Any, winner: str, loser: str, weights: dict[str, int]
) -> None:
    for _ in range(2):
        backend.settle(decision)
        [rule] = api_server.objects[ROUTE]["spec"]["rules"]
        assert rule["backendRefs"] == [{"name": f"{winner}-predictor", "port": 80, "weight": 100}]
        assert api_server.deleted == [f"{SERVICES}/{loser}"]
        assert backend.weights() == weights


def test_settling_can_be_repeated_from_between_its_steps(
    backend: RouteBackend, api_server: Any, cluster: Cluster, spec: ServiceSpec
) -> None:
    api_server.forbidden.add(ROUTE)
    with pytest.raises(FlywheelError, match="not allowed"):
        backend.settle("promote")
    assert api_server.deleted == []
    api_server.forbidden.clear()
    RouteBackend(spec, cluster).settle("promote")
    assert api_server.deleted == [f"{SERVICES}/support-v1"]


def test_the_promoted_version_is_the_stable_of_the_next_deployment(
    backend: RouteBackend, api_server: Any, cluster: Cluster, spec: ServiceSpec
) -> None:
    before = api_server.objects[f"{SERVICES}/support-v2"]
    backend.settle("promote")
    canary = spec.canary
    assert canary is not None
    newer = canary.model_copy(update={"version": "3", "uri": "s3://m/3"})
    apply_service(spec.model_copy(update={"stable": canary, "canary": newer}), cluster, timeout_s=5)
    assert api_server.objects[f"{SERVICES}/support-v2"] == before  # same generation: no pod restarts
    assert api_server.deleted == [f"{SERVICES}/support-v1"]


def test_a_version_is_removed_when_it_has_answered_what_it_was_asked(
    backend: RouteBackend, api_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm_flywheel.serving.inference_service import route

    metrics = f"{PODS}/p:8080/proxy/metrics"
    api_server.objects[f"{PODS}/p"] = pod("p", "1")
    line = 'vllm:num_requests_{}{{engine="0",model_name="support"}} {}\n'
    api_server.texts[metrics] = "# HELP x\n" + line.format("running", "1.0") + line.format("waiting", "0.0")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        assert api_server.deleted == []
        if len(waits) == 3:
            api_server.texts[metrics] = line.format("running", "0.0")

    monkeypatch.setattr(route.time, "sleep", sleep)
    backend.settle("promote")
    assert waits == [0.0, 1.0, 1.0]
    assert api_server.deleted == [f"{SERVICES}/support-v1"]


@pytest.mark.parametrize("gone", ["deleted", "being deleted"])
def test_no_traffic_goes_to_a_version_that_is_not_there(
    backend: RouteBackend, api_server: Any, cluster: Cluster, spec: ServiceSpec, gone: str
) -> None:
    found = api_server.objects[f"{SERVICES}/support-v1"]
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if gone == "deleted":
        del api_server.objects[f"{SERVICES}/support-v1"]
    for act in (
        lambda: backend.settle("rollback"),
        lambda: backend.set_weights({"stable": 100, "canary": 0}),
        lambda: backend.set_weights({"stable": 99, "canary": 1}),
    ):
        with pytest.raises(FlywheelError, match="version 1 is not there any more; the route stays") as caught:
            act()
        assert caught.value.where == "InferenceService/support-v1 in models"
    with pytest.raises(KeyboardInterrupt), canary_taken_back(spec, cluster):
        raise KeyboardInterrupt
    assert backend.weights() == {"stable": 90, "canary": 10}
    assert api_server.deleted == []
    backend.set_weights({"stable": 0, "canary": 100})


def test_a_canary_that_is_gone_does_not_keep_traffic_from_stable(backend: RouteBackend, api_server: Any) -> None:
    del api_server.objects[f"{SERVICES}/support-v2"]
    backend.set_weights({"stable": 100, "canary": 0})
    backend.settle("rollback")
    assert backend.weights() == {"stable": 100, "canary": 0}


@pytest.mark.parametrize("failure", [FlywheelError("no answer"), KeyboardInterrupt()])
def test_a_canary_is_taken_back_whatever_fails(
    backend: RouteBackend, api_server: Any, cluster: Cluster, spec: ServiceSpec, failure: BaseException
) -> None:
    with pytest.raises(type(failure)), canary_taken_back(spec, cluster):
        raise failure
    assert backend.weights() == {"stable": 100, "canary": 0}
    assert api_server.deleted == [f"{SERVICES}/support-v2"]


def test_only_a_pair_can_be_steered(cluster: Cluster, spec: ServiceSpec, native: ServiceSpec) -> None:
    for other in (native, spec.model_copy(update={"mode": "knative"}), spec.model_copy(update={"canary": None})):
        with pytest.raises(FlywheelError, match="a rollout cannot steer") as caught:
            RouteBackend(other, cluster)
        assert caught.value.fix == "set deploy.split: pair"
