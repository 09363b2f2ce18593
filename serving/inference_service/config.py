"""What is to be served and how, declared once for the cluster and for this machine."""

import hashlib
import re
from typing import Literal, Self

from pydantic import Field, model_validator

from llm_flywheel.components.common.config import Section

_QUANTITY = r"^\d+(\.\d+)?([KMGT]i?)?$"
_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_SLUG_LENGTH = 12


class RuntimeConfig(Section):
    """How vLLM runs."""

    gpus: int = Field(0, ge=0, le=16, description="GPUs per replica in a cluster; 0 serves on CPUs.")
    gpu_resource: str = Field("nvidia.com/gpu", min_length=1, description="Resource name that counts GPUs.")
    cpu: str = Field("2", pattern=r"^\d+(\.\d+)?m?$", description="CPU request, a Kubernetes quantity.")
    cpu_limit: str = Field("", pattern=r"^(\d+(\.\d+)?m?)?$", description="CPU limit; empty means the request.")
    memory: str = Field("8Gi", pattern=_QUANTITY, description="Memory request and limit.")
    max_model_len: int = Field(512, ge=16, le=1_048_576, description="Longest prompt and answer together, tokens.")
    max_num_seqs: int = Field(16, ge=1, le=4096, description="Requests in one batch.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="Of weights and activations; auto is bfloat16 for float32 weights, else the weights' own."
    )
    args: list[str] = Field([], description="More arguments of `vllm serve`; the last of a kind wins.")
    env: dict[str, str] = Field({}, description="More environment variables in a cluster; no secrets.")
    startup_timeout_s: int = Field(900, ge=10, le=86_400, description="Longest wait for a server to be ready.")

    def vllm_args(self, device: Literal["cpu", "gpu"]) -> list[str]:
        """Our arguments; those of the user come after them. Statistics stay on: /metrics is what a rollout reads."""
        argv = ["--max-model-len", str(self.max_model_len), "--max-num-seqs", str(self.max_num_seqs)]
        argv += ["--dtype", self.dtype]
        if device == "cpu":
            # Compiling takes longer than it saves on a small model.
            argv.append("--enforce-eager")
        return argv


class GatewayRef(Section):
    """The Gateway API gateway whose listener takes the traffic of a route."""

    name: str = Field(pattern=_LABEL, description="Name of the Gateway.")
    namespace: str = Field("", pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", description="Default: the service's.")


class ModelVersion(Section):
    """One model version to serve.

    ``uri`` is what the model is: full weights, or a LoRA adapter of ``base_uri``.
    """

    version: str = Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$", description="For labels and logs.")
    uri: str = Field(pattern=r"^[a-z0-9+]+://.+", description="Full weights or adapter, where KServe can read it.")
    base_uri: str = Field("", pattern=r"^([a-z0-9+]+://.+)?$", description="Base weights of an adapter; else empty.")
    lora_rank: int = Field(64, ge=1, le=512, description="Largest rank to make room for, for an adapter.")

    @property
    def slug(self) -> str:
        """Its part of object names, at most 12 characters: ``base``, ``v3``.

        A digest keeps versions apart that differ only in what a DNS name cannot carry.
        """
        if self.version == "base":
            return self.version
        if re.fullmatch("[a-z0-9-]+", self.version) and len(self.version) < _SLUG_LENGTH:
            return f"v{self.version}"
        words = re.sub("[^a-z0-9]+", "-", self.version.lower())[:5].strip("-")
        return f"v{words}-{hashlib.sha256(self.version.encode()).hexdigest()[:5]}"


class ServiceSpec(Section):
    """A model service in a cluster, with or without a canary.

    ``split`` says how KServe is to divide traffic; the builder refuses what the mode cannot do:
    ``percent`` is Knative's ``canaryTrafficPercent``; ``native`` is ``spec.canary[]`` of KServe 0.21 and later in
    Standard mode; ``pair`` is two InferenceServices and an HTTPRoute of our own, on any version in Standard mode.
    """

    name: str = Field(
        max_length=40,
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        description="Name of the service and of the served model; KServe wants a letter first.",
    )
    model_name: str = Field("", description="Model name in requests; default: the service's name.")
    namespace: str = Field("default", pattern=_LABEL, max_length=63)
    mode: Literal["standard", "knative"] = Field("standard", description="KServe deployment mode.")
    split: Literal["auto", "pair", "native", "percent"] = Field(
        "auto", description="auto: percent in Knative, else pair."
    )
    kserve_version: str = Field("0.20", pattern=r"^\d+\.\d+(\.\d+)?", description="KServe in the cluster.")
    gateway: GatewayRef | None = Field(None, description="Where the HTTPRoute of a split attaches.")
    hostnames: list[str] = Field([], description="Host names of the HTTPRoute; default: NAME.NAMESPACE.internal.")
    serving_runtime: str = Field("flywheel-vllm", pattern=_LABEL, description="ServingRuntime that runs vLLM.")
    runtime: RuntimeConfig = RuntimeConfig()
    service_account: str = Field("", description="Service account whose secrets open the object storage.")
    replicas: int = Field(1, ge=1, le=1000, description="Replicas of each variant.")
    logger_url: str = Field("", description="Where KServe's logger sends requests and responses; empty for nowhere.")
    stable: ModelVersion
    canary: ModelVersion | None = None
    canary_percent: int = Field(0, ge=0, le=100, description="Share of the traffic that the canary gets.")

    @model_validator(mode="after")
    def _canary_for_percent(self) -> Self:
        if self.canary_percent and self.canary is None:
            raise ValueError("canary_percent needs a canary")
        return self

    @property
    def host(self) -> str:
        """The host name by which the Gateway knows the service; callers send it as ``Host``."""
        return self.hostnames[0] if self.hostnames else f"{self.name}.{self.namespace}.internal"
