from typing import Any

import pytest

from llm_flywheel.serving.inference_service import route
from llm_flywheel.serving.inference_service.config import GatewayRef, ModelVersion, ServiceSpec


@pytest.fixture(autouse=True)
def no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of these tests follows at once."""
    monkeypatch.setattr(route, "PROXY_LAG_S", 0.0)


@pytest.fixture
def spec() -> ServiceSpec:
    """A pair behind the Gateway ``gw`` of `api_server`."""
    return ServiceSpec(
        name="support",
        namespace="models",
        gateway=GatewayRef(name="gw"),
        stable=ModelVersion(version="1", uri="s3://m/1"),
        canary=ModelVersion(version="2", uri="s3://m/2"),
        canary_percent=10,
    )


@pytest.fixture
def native(spec: ServiceSpec) -> ServiceSpec:
    """The same by ``spec.canary`` of a KServe that claims to have its weights."""
    return spec.model_copy(update={"split": "native", "kserve_version": "0.21"})


def pod(name: str, version: str, **status: Any) -> dict[str, Any]:
    """A predictor's pod."""
    labels = {"app.kubernetes.io/part-of": "support", "flywheel.dev/model-version": version}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def container(name: str = "kserve-container", restarts: int = 0, last: Any = None, **state: Any) -> dict[str, Any]:
    """A container's status."""
    return {"name": name, "restartCount": restarts, "state": state, "lastState": {"terminated": last} if last else {}}
