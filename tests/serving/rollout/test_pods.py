"""Facts on pods, read from an API server; and counters that restart, vanish or never answer."""

import pytest

from llm_flywheel.serving.inference_service.config import ModelVersion, ServiceSpec
from llm_flywheel.serving.rollout.evidence import PodFacts
from llm_flywheel.serving.rollout.pods import ClusterPods, Meter, Totals, pod_facts, read_totals

METRICS = """# HELP http_requests_total Total number of requests by method, status and handler.
# TYPE http_requests_total counter
http_requests_total{{handler="/v1/chat/completions",method="POST",status="2xx"}} {good}
http_requests_total{{handler="/v1/chat/completions",method="POST",status="5xx"}} {bad}
http_requests_total{{handler="/v1/models",method="GET",status="2xx"}} 99.0
http_requests_total{{handler="none",method="GET",status="4xx"}} 7.0
vllm:num_requests_running{{engine="0",model_name="a \\"b\\", c"}} 2.0
vllm:num_requests_waiting{{engine="0",model_name="m"}} 1.0
vllm:time_to_first_token_seconds_sum{{engine="0",model_name="m"}} {ttft}
vllm:time_to_first_token_seconds_count{{engine="0",model_name="m"}} {good}
vllm:broken{{engine="0"}} NaN
"""


def page(good: float, bad: float, ttft: float = 0.0) -> str:
    return METRICS.format(good=good, bad=bad, ttft=ttft)


def test_a_page_is_read_as_vllm_writes_it():
    assert read_totals(page(8.0, 2.0, 1.6)) == Totals(10, 2, 1.6, 8, running=2, waiting=1)


def test_a_page_that_counts_no_answers_is_no_data():
    assert read_totals("vllm:num_requests_running 2.0\n") is None
    assert read_totals("") is None


def facts(meter: Meter, restarts: int = 0, totals: Totals | None = None, uid: str = "u1") -> PodFacts:
    return meter.facts({uid: PodFacts("p", True, restarts)}, {uid: totals})[uid]


def test_the_first_numbers_are_a_starting_point():
    meter = Meter()
    first = facts(meter, totals=Totals(100, 5, 10.0, 100))
    second = facts(meter, totals=Totals(110, 6, 12.0, 110))
    assert (first.served, first.errors, first.ttft_s) == (None, None, None)
    assert (second.served, second.errors, second.ttft_s) == (10, 1, pytest.approx(0.2))


def test_counters_that_begin_anew_after_a_restart_lose_nothing_of_the_new_life():
    meter = Meter()
    facts(meter, totals=Totals(100, 5))
    assert facts(meter, totals=Totals(4, 1)).served == 4
    after = facts(meter, restarts=1, totals=Totals(200, 2))
    assert (after.served, after.errors) == (200, 2)


def test_an_absent_answer_is_no_data_and_the_next_one_covers_it():
    meter = Meter()
    facts(meter, totals=Totals(10, 0))
    assert facts(meter).served is None
    assert facts(meter, totals=Totals(30, 1)).served == 20


def test_a_pod_that_came_later_has_counted_from_zero():
    meter = Meter()
    facts(meter, totals=Totals(10, 0))
    assert facts(meter, uid="u2").served is None
    assert facts(meter, uid="u2", totals=Totals(3, 1)).served == 3
    assert facts(meter, uid="u3", totals=Totals(5, 1)).served == 5


def pod(name: str, version: str, *, ready: bool = True, restarts: int = 0, **container: object) -> dict:
    status = {
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}],
        "containerStatuses": [{"name": "kserve-container", "restartCount": restarts, **container}],
    }
    labels = {"app.kubernetes.io/part-of": "support", "flywheel.dev/model-version": version}
    return {"metadata": {"name": name, "uid": f"uid-{name}", "labels": labels}, "status": status}


@pytest.mark.parametrize(
    ("container", "problem"),
    [
        ({"state": {"running": {}}}, ""),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, ""),
        ({"state": {"waiting": {"reason": "ImagePullBackOff"}}}, "ImagePullBackOff"),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
            },
            "CrashLoopBackOff (OOMKilled)",
        ),
        ({"state": {"terminated": {"reason": "Error", "exitCode": 1}}}, "Error"),
        ({"state": {"terminated": {"reason": "Completed", "exitCode": 0}}}, ""),
    ],
)
def test_problems_are_named_as_kubernetes_names_them(container, problem):
    assert pod_facts(pod("p", "1", **container)).problem == problem


def test_a_pod_that_finds_no_node_says_so():
    unplaced = {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}
    assert pod_facts({"metadata": {"name": "p"}, "status": unplaced}) == PodFacts("p", False, 0, "Unschedulable")


@pytest.fixture
def pods(cluster):
    versions = {name: ModelVersion(version=name, uri="s3://b/m") for name in ("1", "2")}
    spec = ServiceSpec(name="support", namespace="models", stable=versions["1"], canary=versions["2"])
    return ClusterPods(spec, {"stable": "1", "canary": "2"}, cluster)


FOLDER = "/api/v1/namespaces/models/pods"


def test_pods_are_told_apart_by_their_version_and_scraped_through_the_api_server(pods, api_server):
    leaving = pod("old", "2")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    for made in (pod("s", "1"), pod("c", "2", restarts=3), pod("other", "9"), leaving):
        api_server.objects[f"{FOLDER}/{made['metadata']['name']}"] = made
    api_server.texts = {f"{FOLDER}/s:8080/proxy/metrics": page(5, 0), f"{FOLDER}/c:8080/proxy/metrics": page(1, 1)}
    pods.look()
    api_server.texts = {f"{FOLDER}/s:8080/proxy/metrics": page(9, 0), f"{FOLDER}/c:8080/proxy/metrics": page(2, 3)}
    seen = pods.look()
    assert seen["stable"].pods == (PodFacts("s", True, 0, "", 4, 0, 2, 1, 0.0),)
    assert seen["canary"].pods == (PodFacts("c", True, 3, "", 3, 2, 2, 1, 0.0),)
    assert (seen["canary"].ready, seen["canary"].wanted) == (1, 1)


def test_a_pod_without_metrics_is_still_a_fact(pods, api_server):
    api_server.objects[f"{FOLDER}/c"] = pod("c", "2")
    [found] = pods.look()["canary"].pods
    assert (found.ready, found.served) == (True, None)
    assert pods.look()["stable"].pods == ()


def test_a_cluster_that_does_not_answer_is_unknown_and_not_fatal(pods, api_server):
    api_server.shutdown()
    api_server.server_close()
    seen = pods.look()
    assert seen["canary"].unknown and not seen["canary"].pods
