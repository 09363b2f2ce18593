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
        {"stable": ModelVersion(version="base", uri="s3://models/base"), "serving_runtime": "other"},
    ],
)
def test_every_body_passes_its_crd(changes: dict[str, Any]) -> None:
    for body in build(spec(**changes)):
        assert validate(body) == []


def test_a_pair_splits_by_the_weights_of_our_route() -> None:
    bodies = build(spec())
    assert [(body["kind"], body["metadata"]["name"]) for body in bodies] == [
        ("InferenceService", "support-v1"),
        ("InferenceService", "support-v2"),
        ("HTTPRoute", "support"),
    ]
    route = bodies[-1]["spec"]
    assert route["parentRefs"] == [{"name": "gw", "namespace": "infra"}]
    assert route["hostnames"] == ["support.models.internal"]
    assert route["rules"][-1]["backendRefs"] == [
        {"name": "support-v1-predictor", "port": 80, "weight": 90},
        {"name": "support-v2-predictor", "port": 80, "weight": 10},
    ]
    # A stream may outlive any request timeout.
    assert [rule["timeouts"] for rule in route["rules"]] == [{"request": "0s"}] * 3
    assert bodies[0]["spec"]["predictor"]["timeout"] == 0


def test_a_pinned_request_reaches_its_variant_whatever_the_weights() -> None:
    rules = of(build(spec(canary_percent=0)), "HTTPRoute", "support")["spec"]["rules"]
    pins = {
        header["value"]: [item["name"] for item in rule["backendRefs"]]
        for rule in rules
        for header in rule["matches"][0].get("headers", [])
        if header["name"] == "x-flywheel-variant"
    }
    assert pins == {"canary": ["support-v2-predictor"], "stable": ["support-v1-predictor"]}
    assert rules[-1]["backendRefs"] == [{"name": "support-v1-predictor", "port": 80, "weight": 100}]
    alone = of(build(without_canary(spec())), "HTTPRoute", "support")["spec"]["rules"]
    assert [rule["matches"] for rule in alone] == [[{"path": {"type": "PathPrefix", "value": "/v1"}}]]


def test_both_of_a_pair_answer_to_the_same_model_name() -> None:
    bodies = build(spec(canary=ADAPTER))
    shared = ["--max-model-len", "512", "--max-num-seqs", "16", "--dtype", "auto", "--enforce-eager"]
    assert of(bodies, "InferenceService", "support-v1")["spec"]["predictor"]["model"]["args"] == [
        "--model=/mnt/models",
        "--served-model-name=support",
        *shared,
    ]
    predictor = of(bodies, "InferenceService", "support-v2")["spec"]["predictor"]
    assert predictor["model"]["args"] == [
        "--model=/mnt/models/base",
        "--served-model-name=support-base",
        *shared,
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


def test_knative_gives_the_new_revision_its_percent() -> None:
    service = of(build(spec(mode="knative")), "InferenceService", "support")
    assert service["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Knative"}
    assert service["spec"]["predictor"]["canaryTrafficPercent"] == 10
    assert service["spec"]["predictor"]["model"]["storageUri"] == "s3://models/support/2"
    first = of(build(without_canary(spec(mode="knative"))), "InferenceService", "support")
    assert "canaryTrafficPercent" not in first["spec"]["predictor"]
    assert first["spec"]["predictor"]["model"]["storageUri"] == "s3://models/support/1"


def test_native_overlays_the_canary_on_stable() -> None:
    service = of(build(spec(split="native", kserve_version="0.21.0")), "InferenceService", "support-native")
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
        ({"canary": FULL_2.model_copy(update={"version": "1"})}, "nothing to split"),
        ({"name": "a" * 40, "canary": FULL_2.model_copy(update={"version": "2026.11"})}, "longer than KServe's 48"),
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


def test_a_version_serves_under_pod_security_restricted_with_its_own_name_and_resources() -> None:
    runtime = RuntimeConfig(gpus=2, memory="64Gi", env={"A": "b"}, args=["--seed", "1"])
    service = of(build(spec(runtime=runtime)), "InferenceService", "support-v2")
    predictor = service["spec"]["predictor"]
    assert predictor["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert predictor["automountServiceAccountToken"] is False
    labels = {"app.kubernetes.io/part-of": "support", "flywheel.dev/model-version": "2"}
    assert predictor["labels"] == labels
    assert service["metadata"]["labels"] == {**labels, "app.kubernetes.io/managed-by": "llm-flywheel"}
    model = predictor["model"]
    assert model["runtime"] == "flywheel-vllm"
    assert model["env"] == [{"name": "A", "value": "b"}, {"name": "FLYWHEEL_MODEL_VERSION", "value": "2"}]
    assert model["resources"]["limits"] == {"cpu": "2", "memory": "64Gi", "nvidia.com/gpu": "2"}
    assert "--enforce-eager" not in model["args"]
    assert model["args"][-2:] == ["--seed", "1"]


def test_the_digest_of_a_spec_follows_what_makes_new_pods_and_nothing_else() -> None:
    def digest(**changes: Any) -> str:
        service = of(build(spec(**changes)), "InferenceService", "support-v1")
        return str(service["spec"]["predictor"]["annotations"]["flywheel.dev/spec"])

    assert digest() == digest(canary=None, canary_percent=0) == digest(replicas=3)
    assert digest() != digest(runtime=RuntimeConfig(max_num_seqs=4))


@pytest.mark.parametrize(
    ("version", "slug"),
    [
        ("base", "base"),
        ("3", "v3"),
        ("12", "v12"),
        ("1.0", "v1-0-d0ff5"),
        ("A", "va-559ae"),
        ("a" * 30, "vaaaaa-3a54f"),
    ],
)
def test_a_versions_part_of_a_name(version: str, slug: str) -> None:
    assert ModelVersion(version=version, uri="s3://m/1").slug == slug


def test_the_version_reaches_the_log_events() -> None:
    predictor = of(build(spec(logger_url="http://sink")), "InferenceService", "support-v2")["spec"]["predictor"]
    assert predictor["annotations"]["flywheel.dev/model-version"] == "2"
    assert predictor["logger"]["metadataAnnotations"] == ["flywheel.dev/model-version"]


@pytest.mark.parametrize(
    ("changes", "order"),
    [
        (
            {},
            {
                "stable": ["support-v1", "support"],
                "canary": ["support-v2", "support"],
                "split": ["support"],
            },
        ),
        ({"canary_percent": 0}, {"stable": ["support-v1", "support"], "canary": ["support-v2", "support"]}),
        ({"mode": "knative"}, {"stable": ["support"], "canary": ["support"]}),
        (
            {"split": "native", "kserve_version": "0.21"},
            {"stable": ["support-native"], "canary": ["support-native"]},
        ),
        ({"canary": None, "canary_percent": 0}, {"stable": ["support-v1", "support"]}),
    ],
)
def test_stages_never_send_traffic_to_what_is_not_there(changes: dict[str, Any], order: dict[str, list[str]]) -> None:
    found = {name: [body["metadata"]["name"] for body in bodies] for name, bodies in stages(spec(**changes)).items()}
    assert found == order


def test_a_percent_without_a_canary_is_a_wrong_config() -> None:
    with pytest.raises(ValueError, match="canary_percent needs a canary"):
        spec(canary=None)
