from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_flywheel.components.common.crd import validate
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.deploy.deploy import Deployed, run
from llm_flywheel.serving.inference_service.config import GatewayRef
from llm_flywheel.serving.ledger.ledger import Ledger

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
    assert bodies[1]["spec"]["predictor"]["model"]["storageUri"] == "s3://models/support/1"
    assert [item["weight"] for item in bodies[-1]["spec"]["rules"][0]["backendRefs"]] == [95, 5]
    assert done.endpoint == ""
    assert audit(local_settings) == [("deploy.start", None), ("deploy.done", None)]
    assert "kubectl apply --server-side -f 2-canary.yaml" in (tmp_path / "report.md").read_text()


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


@pytest.mark.parametrize(
    "changes", [{}, {"mode": "knative", "hostnames": ["support.example"]}], ids=["standard", "knative"]
)
def test_a_cluster_gets_the_canary_without_traffic_and_nothing_says_otherwise(
    local_settings: Settings, register: Register, tmp_path: Path, api_server: Any, cluster: Any, changes: dict[str, Any]
) -> None:
    register("s3://models/support/1", alias="champion")
    version = register("s3://models/support/2")
    config = DeployConfig(
        target="cluster", namespace="models", gateway=GatewayRef(name="gw"), canary_percent=10, **changes
    )
    done = run(
        config, "support", version, tmp_path / "manifests", tmp_path / "report.md", local_settings, cluster=cluster
    )

    assert done.weights == {"stable": 100, "canary": 0}
    objects = {path.rsplit("/", 1)[1]: body for path, body in api_server.objects.items()}
    if changes:
        assert objects["support"]["spec"]["predictor"]["canaryTrafficPercent"] == 0
    else:
        assert objects["support-canary"]["spec"]["predictor"]["model"]["storageUri"] == "s3://models/support/2"
        [rule] = objects["support-split"]["spec"]["rules"]
        assert rule["backendRefs"] == [{"name": "support-predictor", "port": 80, "weight": 100}]
    assert [path.name for path in done.manifests] == ["1-stable.yaml", "2-canary.yaml"]
    with Ledger.open(local_settings.ledger_url) as ledger:
        [event] = ledger.audit_events(action="deploy.done")
    assert event.details["weights"] == {"stable": 100, "canary": 0}
    report = (tmp_path / "report.md").read_text()
    assert "The canary runs but gets no traffic" in report


def test_a_service_without_an_address_is_no_deployment(
    local_settings: Settings, register: Register, tmp_path: Path, api_server: Any, cluster: Any
) -> None:
    version = register("s3://models/support/1")
    api_server.objects["/apis/gateway.networking.k8s.io/v1/namespaces/models/gateways/gw"] = {"status": {}}
    config = DeployConfig(target="cluster", namespace="models", gateway=GatewayRef(name="gw"))
    with pytest.raises(FlywheelError, match="no address"):
        run(config, "support", version, tmp_path / "m", tmp_path / "report.md", local_settings, cluster=cluster)
    assert audit(local_settings)[-1] == ("deploy.failed", "no_address")


def test_a_local_target_without_a_run_folder_is_explained(
    local_settings: Settings, register: Register, tmp_path: Path
) -> None:
    from dataclasses import replace

    version = register("s3://models/support/1")
    with pytest.raises(FlywheelError, match="needs a run folder"):
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
