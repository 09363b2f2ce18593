from typing import Any

import pytest

from llm_flywheel.components.common.crd import validate
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.build import build, stages, without_canary
from llm_flywheel.serving.inference_service.config import GatewayRef, ModelVersion, RuntimeConfig, ServiceSpec

FULL_1 = ModelVersion(version="1", uri="s3://models/support/1")
FULL_2 = ModelVersion(version="2", uri="s3://models/support/2")
ADAPTER = ModelVersion(version="2", uri="s3://models/support/2", base_uri="hf://Qwen/Qwen3-0.6B", lora_rank=24)


def spec(**changes: Any) -> ServiceSpec:
    values: dict[str, Any] = {
        "name": "support",
        "namespace": "models",
        "gateway": GatewayRef(name="gw", namespace="infra"),
        "stable": FULL_1,
        "canary": FULL_2,
        "canary_percent": 10,
    }
    return ServiceSpec(**{**values, **changes})


def of(bodies: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [body for body in bodies if (body["kind"], body["metadata"]["name"]) == (kind, name)]
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"canary": None, "canary_percent": 0},
        {"canary": None, "canary_percent": 0, "gateway": None},
        {"canary": ADAPTER},
        {"stable": ADAPTER, "canary": FULL_1},
        {"mode": "knative"},
        {"mode": "knative", "canary": ADAPTER, "gateway": None},
        {"split": "native", "kserve_version": "0.21.0"},
        {"runtime": RuntimeConfig(gpus=2, memory="64Gi", args=["--seed", "1"], env={"A": "b"})},
        {"logger_url": "http://sink.models", "service_account": "s3", "hostnames": ["chat.example.org"], "replicas": 3},
    ],
)
def test_every_body_passes_its_crd(changes: dict[str, Any]) -> None:
    for body in build(spec(**changes)):
        assert validate(body) == []


def test_a_pair_splits_by_the_weights_of_our_route() -> None:
    bodies = build(spec())
    assert [(body["kind"], body["metadata"]["name"]) for body in bodies] == [
        ("ServingRuntime", "support-vllm"),
        ("InferenceService", "support"),
        ("InferenceService", "support-canary"),
        ("HTTPRoute", "support-split"),
    ]
    route = bodies[-1]["spec"]
    assert route["parentRefs"] == [{"name": "gw", "namespace": "infra"}]
    assert route["rules"][0]["backendRefs"] == [
        {"name": "support-predictor", "port": 80, "weight": 90},
        {"name": "support-canary-predictor", "port": 80, "weight": 10},
    ]
    # A stream may outlive any request timeout.
    assert route["rules"][0]["timeouts"] == {"request": "0s"}


def test_both_of_a_pair_answer_to_the_same_model_name() -> None:
    bodies = build(spec(canary=ADAPTER))
    assert of(bodies, "InferenceService", "support")["spec"]["predictor"]["model"]["args"] == [
        "/mnt/models",
        "--served-model-name=support",
    ]
    predictor = of(bodies, "InferenceService", "support-canary")["spec"]["predictor"]
    assert predictor["model"]["args"] == [
        "/mnt/models/base",
        "--served-model-name=support-base",
        "--enable-lora",
        "--max-lora-rank=32",
        "--max-loras=1",
        "--lora-modules",
        "support=/mnt/models/adapter",
    ]
    assert predictor["storageUris"] == [
        {"uri": "hf://Qwen/Qwen3-0.6B", "mountPath": "/mnt/models/base"},
        {"uri": "s3://models/support/2", "mountPath": "/mnt/models/adapter"},
    ]
    assert "storageUri" not in predictor["model"]


def test_a_share_of_nothing_has_no_backend() -> None:
    (rule,) = of(build(spec(canary_percent=0)), "HTTPRoute", "support-split")["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "support-predictor", "port": 80, "weight": 100}]


def test_knative_gives_the_new_revision_its_percent() -> None:
    service = of(build(spec(mode="knative")), "InferenceService", "support")
    assert service["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Knative"}
    assert service["spec"]["predictor"]["canaryTrafficPercent"] == 10
    assert service["spec"]["predictor"]["model"]["storageUri"] == "s3://models/support/2"
    first = of(build(without_canary(spec(mode="knative"))), "InferenceService", "support")
    assert "canaryTrafficPercent" not in first["spec"]["predictor"]
    assert first["spec"]["predictor"]["model"]["storageUri"] == "s3://models/support/1"


def test_native_overlays_the_canary_on_stable() -> None:
    service = of(build(spec(split="native", kserve_version="0.21.0")), "InferenceService", "support")
    assert service["metadata"]["annotations"] == {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "none",
    }
    (canary,) = service["spec"]["canary"]
    assert canary["trafficPercent"] == 10
    assert (canary["predictor"]["name"], canary["predictor"]["minReplicas"]) == ("v2", 1)
    assert canary["predictor"]["model"]["storageUri"] == "s3://models/support/2"
    assert "maxReplicas" not in canary["predictor"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"split": "percent"}, "ignores canaryTrafficPercent in Standard mode"),
        ({"mode": "knative", "split": "pair"}, "'pair' needs Standard mode"),
        ({"mode": "knative", "split": "native"}, "'native' needs Standard mode"),
        ({"gateway": None}, "needs a Gateway"),
        ({"canary": FULL_1}, "nothing to split"),
        ({"split": "native", "kserve_version": "0.20.0"}, "KServe 0.20.0 has no weights"),
        ({"split": "native", "kserve_version": "0.21", "canary": ADAPTER}, "storageUris"),
        ({"split": "native", "kserve_version": "0.21", "stable": ADAPTER, "canary": FULL_1}, "storageUris"),
        ({"split": "native", "kserve_version": "0.21", "logger_url": "http://sink"}, "does not log a canary"),
        ({"split": "native", "kserve_version": "0.21", "canary_percent": 0}, "leak traffic to a weight of 0"),
    ],
)
def test_what_a_mode_cannot_split_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(FlywheelError, match=problem) as caught:
        build(spec(**changes))
    assert caught.value.reason == "unsplittable"
    assert caught.value.fix


def test_a_body_that_its_crd_refuses_is_not_emitted() -> None:
    with pytest.raises(FlywheelError, match="does not match its CRD schema") as caught:
        build(spec(runtime=RuntimeConfig().model_copy(update={"memory": "many"})))
    assert caught.value.reason == "schema"


def test_the_runtime_is_patient_unprivileged_and_our_own() -> None:
    runtime = build(spec(runtime=RuntimeConfig(gpus=2, startup_timeout_s=1800, shm_size="4Gi")))[0]
    assert "annotations" not in runtime["metadata"]
    (container,) = runtime["spec"]["containers"]
    assert container["startupProbe"]["httpGet"] == {"path": "/health", "port": 8080, "scheme": "HTTP"}
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] == 1800
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert container["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}}
    assert shm in runtime["spec"]["volumes"]


@pytest.mark.parametrize(
    ("runtime", "image", "eager"),
    [
        (RuntimeConfig(), "vllm/vllm-openai-cpu:v0.32.0", True),
        (RuntimeConfig(gpus=1), "vllm/vllm-openai:v0.32.0", False),
        (RuntimeConfig(image="registry.example.org/vllm@sha256:00"), "registry.example.org/vllm@sha256:00", True),
    ],
)
def test_the_image_follows_the_device_unless_it_is_given(runtime: RuntimeConfig, image: str, eager: bool) -> None:
    (container,) = build(spec(runtime=runtime))[0]["spec"]["containers"]
    assert container["image"] == image
    assert ("--enforce-eager" in container["args"]) is eager


def test_the_version_reaches_the_log_events() -> None:
    predictor = of(build(spec(logger_url="http://sink")), "InferenceService", "support-canary")["spec"]["predictor"]
    assert predictor["annotations"] == {"flywheel.dev/model-version": "2"}
    assert predictor["logger"]["metadataAnnotations"] == ["flywheel.dev/model-version"]


@pytest.mark.parametrize(
    ("changes", "order"),
    [
        (
            {},
            {
                "stable": ["support-vllm", "support", "support-split"],
                "canary": ["support-canary"],
                "split": ["support-split"],
            },
        ),
        ({"mode": "knative"}, {"stable": ["support-vllm", "support"], "canary": ["support"]}),
        ({"canary": None, "canary_percent": 0}, {"stable": ["support-vllm", "support", "support-split"]}),
    ],
)
def test_stages_never_send_traffic_to_what_is_not_there(changes: dict[str, Any], order: dict[str, list[str]]) -> None:
    found = {name: [body["metadata"]["name"] for body in bodies] for name, bodies in stages(spec(**changes)).items()}
    assert found == order


def test_a_percent_without_a_canary_is_a_wrong_config() -> None:
    with pytest.raises(ValueError, match="canary_percent needs a canary"):
        spec(canary=None)
