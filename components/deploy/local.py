"""Deploy to this machine: real vLLM servers behind the gateway, both variants asked before traffic is split."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_json
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.deploy.versions import Registered, fetch
from llm_flywheel.serving.inference_service.address import Address
from llm_flywheel.serving.inference_service.config import ServiceSpec
from llm_flywheel.serving.local.gateway import LocalGateway, Upstream, start_gateway
from llm_flywheel.serving.local.processes import Server, reap
from llm_flywheel.serving.local.vllm import ServerPlan, Variant, plan_servers, start_vllm
from llm_flywheel.serving.rollout.plan import CANARY, STABLE, weights_for


@dataclass(frozen=True)
class Running:
    """What was started.

    Attributes:
        gateway: The gateway in front.
        upstreams: Address, model name, version and weight by variant.
        servers: Process name to process id.
        weights: Weights in force.
        answers: What each variant said to the smoke test.
        address: Where a cluster's Gateway answers, for target ``cluster``.
        pods: Names of the pods by variant, for target ``cluster``.
    """

    gateway: LocalGateway
    upstreams: Mapping[str, Upstream]
    servers: Mapping[str, int]
    weights: Mapping[str, int]
    answers: Mapping[str, str]
    address: Address | None = None
    pods: Mapping[str, Sequence[str]] = field(default_factory=dict)


def serve(config: DeployConfig, name: str, models: Mapping[str, Registered], settings: Settings) -> Running:
    """Start model servers and gateway for ``stable`` and, if given, ``canary``.

    What an earlier try of the step left running is ended first; what fails half-way leaves nothing running.

    Raises:
        FlywheelError: A server does not start, or a variant does not answer.
    """
    run_dir = run_dir_of(settings, "local")
    reap(run_dir, "")
    try:
        plans = plan_servers([_variant(variant, model, settings) for variant, model in models.items()])
        servers = [
            (plan, start_vllm(plan, config.runtime, run_dir=run_dir, run_id=settings.run_id)) for plan in plans
        ]  # fmt: skip
        upstreams = _upstreams(servers, models)
        gateway, process = start_gateway(
            name, upstreams, settings=settings, run_dir=run_dir, run_id=settings.run_id, port=config.port
        )
        answers = {variant: smoke_test(gateway, variant, config) for variant in models}
        weights = gateway.set_weights(weights_for(config.canary_percent) if CANARY in models else {STABLE: 100})
    except BaseException:
        reap(run_dir, "")
        raise
    pids = {server.record.name: server.record.pid for _, server in servers} | {"gateway": process.record.pid}
    return Running(gateway, upstreams, pids, weights, answers)


def run_dir_of(settings: Settings, target: str) -> Path:
    """The folder of the run, where the gateway that we start keeps its config, its key and its process id.

    Raises:
        FlywheelError: There is none, as in a pod of Kubeflow Pipelines.
    """
    given = {"FLYWHEEL_RUN_DIR": settings.run_dir, "FLYWHEEL_RUN_ID": settings.run_id}
    missing = [name for name, value in given.items() if not value]
    if settings.run_dir is None or missing:
        raise FlywheelError(
            f"target {target} starts the gateway on this machine, in a run folder, and there is none: "
            f"{' and '.join(missing)} not set",
            fix="start the run with `flywheel run`, which makes one, or set deploy.target: none",
            reason="no_run_dir",
        )
    return settings.run_dir


def _variant(name: str, model: Registered, settings: Settings) -> Variant:
    if model.base_uri:
        return Variant(name, fetch(model.base_uri, settings), Path(fetch(model.uri, settings)))
    return Variant(name, fetch(model.uri, settings))


def _upstreams(servers: list[tuple[ServerPlan, Server]], models: Mapping[str, Registered]) -> dict[str, Upstream]:
    """All traffic on stable until both variants have answered."""
    found = {
        variant: (f"http://127.0.0.1:{server.record.port}", model)
        for plan, server in servers
        for variant, model in plan.variants.items()
    }
    return {
        variant: Upstream(*found[variant], version=models[variant].version, weight=100 if variant == STABLE else 0)
        for variant in models
    }


def smoke_test(gateway: LocalGateway, variant: str, config: DeployConfig) -> str:
    """Ask one question through the gateway: one variant, or for an empty name whichever the split chooses.

    Returns:
        The answer.

    Raises:
        FlywheelError: No answer, or another variant answered.
    """
    answer = gateway.chat(config.smoke_prompt, variant=variant, timeout_s=config.smoke_timeout_s)
    value: Any = answer.json() if answer.ok else None
    try:
        tokens = value["usage"]["completion_tokens"]
        text = str(value["choices"][0]["message"]["content"] or "")
    except (TypeError, KeyError, IndexError):
        tokens, text = 0, ""
    served = answer.headers.get("x-flywheel-variant", "")
    if not tokens or served != (variant or served):
        raise FlywheelError(
            f"{variant or 'the model'} does not answer: status {answer.status}, variant {served or 'none'}, "
            f"{answer.text[:300]}",
            where=gateway.base_url,
            reason="smoke_test",
        )
    return text


def write_endpoint(
    running: Running,
    name: str,
    models: Mapping[str, Registered],
    settings: Settings,
    question: str = "Hello",
    service: ServiceSpec | None = None,
) -> Path:
    """Write ``endpoint.json`` into the run folder: what rollout, dashboard and the user's commands need.

    Args:
        running: What was started.
        name: Registered model.
        models: Versions by variant.
        settings: The run.
        question: For the commands that a person is shown.
        service: What runs in a cluster, for target ``cluster``.
    """
    gateway = running.gateway
    value: dict[str, Any] = {
        "base_url": gateway.base_url,
        "model": name,
        "key_file": str(gateway.key_file),
        "admin_token_file": str(gateway.admin_token_file),
        "config_file": str(gateway.config_file),
        "example_question": question,
        "gateway_pid": gateway.pid,
        "run_id": settings.run_id,
        "started": time.time(),
        "weights": dict(running.weights),
        "versions": {variant: model.version for variant, model in models.items()},
        "processes": dict(running.servers),
        "variants": {
            variant: {
                "version": model.version,
                "uri": model.uri,
                "base_uri": model.base_uri,
                "url": running.upstreams[variant].url,
                "model": running.upstreams[variant].model,
                "host": running.upstreams[variant].host,
            }
            for variant, model in models.items()
        },
    }
    if service is not None:
        value |= {"target": "cluster", "service": service.model_dump(mode="json")}
    path = run_dir_of(settings, "local") / "endpoint.json"
    write_json(path, value)
    return path
