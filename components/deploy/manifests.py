"""The Kubernetes manifests of a deployment: always built, always checked, whatever the target."""

from pathlib import Path
from typing import Any

import yaml

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.deploy.versions import Registered
from llm_flywheel.serving.inference_service.build import stages
from llm_flywheel.serving.inference_service.config import ServiceSpec

_NOTES = {
    "stable": "All traffic on stable. Where another version has it now, apply the InferenceService first, and the "
    "HTTPRoute when that is ready.",
    "canary": "The canary, which gets what asks for it by header. Apply when stable is ready.",
    "split": "The canary's share of the traffic. Apply when the canary is ready.",
}


def service_spec(config: DeployConfig, name: str, stable: Registered, canary: Registered) -> ServiceSpec:
    """The service in a cluster that serves both versions.

    Raises:
        FlywheelError: A name or a URI cannot be used in Kubernetes.
    """
    shared = ServiceSpec.model_fields.keys() & DeployConfig.model_fields.keys() - {"gateway", "runtime"}
    values: dict[str, Any] = {key: getattr(config, key) for key in shared}
    values |= {"name": name, "gateway": config.gateway.model_dump(), "runtime": config.runtime.model_dump()}
    values |= {"stable": _version(stable), "canary": _version(canary)}
    return bind(ServiceSpec, values, where=f"deploy of {name}")


def _version(model: Registered) -> dict[str, Any]:
    values: dict[str, Any] = {"version": model.version, "uri": model.uri, "base_uri": model.base_uri}
    return values | ({"lora_rank": model.lora_rank} if model.lora_rank else {})


def write_manifests(spec: ServiceSpec, folder: Path) -> list[Path]:
    """Write one file per stage, numbered in the order to apply them.

    Raises:
        FlywheelError: The mode cannot split traffic as asked, or a body does not match its CRD.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, (name, bodies) in enumerate(stages(spec).items(), start=1):
        path = folder / f"{number}-{name}.yaml"
        text = yaml.safe_dump_all(bodies, sort_keys=False, allow_unicode=True)
        path.write_text(f"# {_NOTES[name]}\n{text}", encoding="utf-8")
        written.append(path)
    return written
