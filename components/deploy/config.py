"""Settings of the deploy step."""

from typing import Literal

from pydantic import Field

from llm_flywheel.components.common.config import Section
from llm_flywheel.serving.inference_service.config import GatewayRef, RuntimeConfig


class DeployConfig(Section):
    """The ``deploy`` section of a run config. Manifests are built and checked for every target."""

    target: Literal["local", "cluster", "none"] = Field(
        "local",
        description="local: vLLM and gateway on this machine; cluster: vLLM in Kubernetes behind its Gateway, our "
        "gateway on this machine; none: manifests only.",
    )
    canary_percent: int = Field(
        10,
        ge=0,
        le=100,
        description="The canary's share once both variants answered: for target local, split native, and in the "
        "manifests. A pair that is deployed to a cluster stays at 0: there the rollout alone gives the canary traffic.",
    )
    runtime: RuntimeConfig = RuntimeConfig()
    smoke_prompt: str = Field("Hello", min_length=1, description="What both variants are asked before traffic comes.")
    smoke_timeout_s: float = Field(120.0, gt=0, le=3600, description="Longest wait for that answer, seconds.")
    port: int = Field(0, ge=0, le=65535, description="Port of the local gateway; 0 for any.")

    namespace: str = Field("flywheel", min_length=1, description="Namespace of the service.")
    serving_runtime: str = Field("flywheel-vllm", description="ServingRuntime that runs vLLM; manifests/base has it.")
    mode: Literal["standard", "knative"] = Field("standard", description="KServe deployment mode.")
    split: Literal["auto", "pair", "native", "percent"] = Field(
        "auto", description="How KServe splits; see ServiceSpec."
    )
    kserve_version: str = Field("0.20", pattern=r"^\d+\.\d+(\.\d+)?", description="KServe in the cluster.")
    gateway: GatewayRef = Field(
        GatewayRef(name="kserve-ingress-gateway", namespace="kserve"),
        description="Gateway that the HTTPRoute attaches to; default: KServe's own.",
    )
    hostnames: list[str] = Field([], description="Host names of the HTTPRoute; default: NAME.NAMESPACE.internal.")
    service_account: str = Field(
        "flywheel-serving", description="Service account whose secrets open the object storage."
    )
    replicas: int = Field(1, ge=1, le=1000, description="Replicas of each variant.")
    logger_url: str = Field("", description="Where KServe's logger sends requests and responses.")
