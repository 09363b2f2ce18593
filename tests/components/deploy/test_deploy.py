import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_flywheel.components.common.crd import validate
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.deploy.deploy import Deployed, run
from llm_flywheel.serving.inference_service import route
from llm_flywheel.serving.inference_service.config import GatewayRef, ServiceSpec
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.local.processes import alive, reap, records
from llm_flywheel.serving.rollout.journal import ABANDONED, SETTLED, START, Journal

Register = Callable[..., str]


def deploy(config: DeployConfig, version: str, settings: Settings, tmp_path: Path) -> Deployed:
    return run(config, "support", version, tmp_path / "manifests", tmp_path / "report.md", settings)


def audit(settings: Settings) -> list[tuple[str, Any]]:
    with Ledger.open(settings.ledger_url) as ledger:
        return [(event.action, event.details.get("reason")) for event in ledger.audit_events()]


def test_manifests_are_written_in_the_order_to_apply_them(
    local_settings: Settings, register: Register, tmp_path: Path
) -> None:
    register("s3://models/support/1", alias="champion")
    version = register("s3://models/support/2", kind="adapter", lora_rank="16")
    config = DeployConfig(target="none", namespace="models", gateway=GatewayRef(name="gw"), canary_percent=5)
    done = deploy(config, version, local_settings, tmp_path)

    assert [path.name for path in done.manifests] == ["1-stable.yaml", "2-canary.yaml", "3-split.yaml"]
    bodies = [body for path in done.manifests for body in yaml.safe_load_all(path.read_text())]
    assert [validate(body) for body in bodies] == [[]] * 5
    assert bodies[0]["spec"]["predictor"]["model"]["storageUri"] == "s3://models/support/1"
    assert [item["weight"] for item in bodies[-1]["spec"]["rules"][-1]["backendRefs"]] == [95, 5]
    assert done.endpoint == ""
    assert audit(local_settings) == [("deploy.start", None), ("deploy.done", None)]
    report = (tmp_path / "report.md").read_text()
    assert "kubectl apply --server-side -f 2-canary.yaml" in report
    assert "`manifests/base` makes (ServiceAccount flywheel-serving, ServingRuntime flywheel-vllm" in report


def test_a_split_that_the_mode_cannot_do_is_refused_before_anything_starts(
    local_settings: Settings, register: Register, tmp_path: Path
) -> None:
    version = register("s3://models/support/1")
    with pytest.raises(FlywheelError, match="ignores canaryTrafficPercent"):
        deploy(DeployConfig(split="percent"), version, local_settings, tmp_path)
    assert audit(local_settings) == []


def test_a_cluster_cannot_read_this_machines_disk(local_settings: Settings, register: Register, tmp_path: Path) -> None:
    version = register("file:///models/1", base_uri="file:///models/base")
    with pytest.raises(FlywheelError, match="cannot read the stable model") as caught:
        deploy(DeployConfig(target="cluster"), version, local_settings, tmp_path)
    assert "FLYWHEEL_OBJECT_STORE=s3://" in caught.value.fix
    assert audit(local_settings) == [("deploy.start", None), ("deploy.failed", "not_readable")]


IN_CLUSTER = DeployConfig(target="cluster", namespace="models", gateway=GatewayRef(name="gw"))
SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices"
ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/models/httproutes/support"


@pytest.fixture
def in_cluster(
    local_settings: Settings, register: Register, tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Deployed]]:
    """Deploy a champion and its challenger to the small API server; the gateway that it starts is ended."""
    monkeypatch.setattr(route, "PROXY_LAG_S", 0.0)
    register("s3://models/support/1", alias="champion")
    version = register("s3://models/support/2")

    def made(settings: Settings = local_settings, **changes: Any) -> Deployed:
        config = IN_CLUSTER.model_copy(update=changes)
        return run(config, "support", version, tmp_path / "m", tmp_path / "report.md", settings, cluster=cluster)

    yield made
    assert local_settings.run_dir is not None
    reap(local_settings.run_dir, local_settings.run_id, grace_s=0)


def test_a_cluster_serves_both_behind_our_gateway_and_the_canary_gets_no_share_that_nobody_watches(
    local_settings: Settings, tmp_path: Path, api_server: Any, proxy: Any, in_cluster: Callable[..., Deployed]
) -> None:
    pod = {"labels": {"app.kubernetes.io/part-of": "support", "flywheel.dev/model-version": "2"}}
    api_server.objects["/api/v1/namespaces/models/pods/p"] = {"metadata": {"name": "support-v2-p", **pod}}
    done = in_cluster(canary_percent=30)

    assert done.weights == {"stable": 100, "canary": 0}
    rules = api_server.objects[ROUTE]["spec"]["rules"]
    services = [[(item["name"], item["weight"]) for item in rule["backendRefs"]] for rule in rules]
    assert services == [[("support-v2-predictor", 100)], [("support-v1-predictor", 100)],
                        [("support-v1-predictor", 100)]]  # fmt: skip
    assert "weight: 30" in done.manifests[-1].read_text()
    assert local_settings.run_dir is not None
    endpoint = json.loads((local_settings.run_dir / "endpoint.json").read_text())
    assert (endpoint["target"], endpoint["base_url"]) == ("cluster", done.endpoint)
    assert endpoint["processes"] == {"gateway": endpoint["gateway_pid"]}
    service = ServiceSpec.model_validate(endpoint["service"])
    assert (service.stable.version, service.canary and service.canary.version) == ("1", "2")
    report = (tmp_path / "report.md").read_text()
    directly = f'curl http://127.0.0.1:{proxy.server_port}/v1/chat/completions -H "Host: support.models.internal"'
    for part in ("support-v2-p", f"curl {done.endpoint}", directly):
        assert part in report
    with Ledger.open(local_settings.ledger_url) as ledger:
        [event] = ledger.audit_events(action="deploy.done")
        assert event.details["weights"] == {"stable": 100, "canary": 0}


def test_a_canary_that_does_not_answer_is_taken_back(
    local_settings: Settings, api_server: Any, proxy: Any, in_cluster: Callable[..., Deployed]
) -> None:
    proxy.broken.add("2")
    with pytest.raises(FlywheelError, match="canary does not answer: status 5"):
        in_cluster()
    assert api_server.deleted == [f"{SERVICES}/support-v2"]
    [rule] = api_server.objects[ROUTE]["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "support-v1-predictor", "port": 80, "weight": 100}]
    assert audit(local_settings)[-1] == ("deploy.failed", "smoke_test")
    assert local_settings.run_dir is not None
    assert not any(alive(record) for record in records(local_settings.run_dir))


def test_a_canary_whose_endpoint_is_not_written_is_taken_back(
    local_settings: Settings, api_server: Any, proxy: Any, in_cluster: Callable[..., Deployed]
) -> None:
    assert local_settings.run_dir is not None
    (local_settings.run_dir / "endpoint.json").mkdir(parents=True)
    with pytest.raises(OSError):
        in_cluster()
    assert api_server.deleted == [f"{SERVICES}/support-v2"]
    assert not any(alive(record) for record in records(local_settings.run_dir))


def test_a_rollout_that_runs_is_not_disturbed_and_one_that_was_left_is_closed(
    local_settings: Settings, api_server: Any, proxy: Any, in_cluster: Callable[..., Deployed]
) -> None:
    with Ledger.open(local_settings.ledger_url) as ledger:
        Journal(ledger, "run-0", "support", "7", lambda: time.time() - 70).append(START, {"plan": {}})
        Journal(ledger, "run-00", "support", "8", lambda: time.time() - 50).append(START, {"plan": {}})
        with pytest.raises(FlywheelError, match="version 8, run run-00, last heard of 50 s ago"):
            in_cluster()
        assert api_server.applied == []
        Journal(ledger, "run-00", "support", "8").append(SETTLED, {})
        in_cluster()
        [event] = ledger.audit_events(action="rollout.abandoned")
        assert event.details["of_run"] == "run-0"
        assert Journal(ledger, "run-0", "support", "7").phase == ABANDONED


def test_a_service_without_an_address_is_no_deployment(
    local_settings: Settings, api_server: Any, in_cluster: Callable[..., Deployed]
) -> None:
    api_server.objects["/apis/gateway.networking.k8s.io/v1/namespaces/models/gateways/gw"]["status"] = {}
    with pytest.raises(FlywheelError, match="no address"):
        in_cluster()
    assert audit(local_settings)[-1] == ("deploy.failed", "no_address")


def test_a_knative_canary_gets_no_traffic_that_nobody_watches(
    api_server: Any, in_cluster: Callable[..., Deployed]
) -> None:
    with pytest.raises(FlywheelError, match="no address"):
        in_cluster(mode="knative")
    assert api_server.objects[f"{SERVICES}/support"]["spec"]["predictor"]["canaryTrafficPercent"] == 0


def test_a_pod_without_a_run_folder_is_told_what_is_missing_before_anything_is_applied(
    local_settings: Settings, api_server: Any, in_cluster: Callable[..., Deployed]
) -> None:
    with pytest.raises(FlywheelError, match="target cluster .* FLYWHEEL_RUN_DIR and FLYWHEEL_RUN_ID not set") as caught:
        in_cluster(replace(local_settings, run_dir=None, run_id=""))
    assert "deploy.target: none" in caught.value.fix
    assert api_server.applied == []


def test_a_local_target_without_a_run_folder_is_explained(
    local_settings: Settings, register: Register, tmp_path: Path
) -> None:
    version = register("s3://models/support/1")
    with pytest.raises(FlywheelError, match="target local .* FLYWHEEL_RUN_DIR not set"):
        deploy(DeployConfig(), version, replace(local_settings, run_dir=None), tmp_path)


def test_a_model_without_a_chat_template_fails_before_a_server_starts(
    local_settings: Settings, register: Register, tmp_path: Path
) -> None:
    for name in ("base", "tuned"):
        (tmp_path / name).mkdir()
    version = register((tmp_path / "tuned").as_uri(), base_uri=(tmp_path / "base").as_uri())
    with pytest.raises(FlywheelError, match="no chat template"):
        deploy(DeployConfig(), version, local_settings, tmp_path)
    assert audit(local_settings)[-1] == ("deploy.failed", "chat_template")
