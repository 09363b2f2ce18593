"""Deploy: manifests for every target, then the target itself, each act on the ledger."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.report import markdown_table
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.deploy.local import Running, serve, write_endpoint
from llm_flywheel.components.deploy.manifests import service_spec, write_manifests
from llm_flywheel.components.deploy.versions import Registered, read_versions
from llm_flywheel.serving.inference_service.client import apply_service
from llm_flywheel.serving.inference_service.config import ServiceSpec
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.rollout.plan import CANARY, STABLE, weights_for

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deployed:
    """What the step hands on.

    Attributes:
        endpoint: Base URL for OpenAI clients; empty for target ``none``.
        manifests: YAML files, in the order to apply them.
        models: Stable and canary.
        weights: Weights in force; empty for target ``none``.
    """

    endpoint: str
    manifests: list[Path]
    models: Mapping[str, Registered]
    weights: Mapping[str, int]


def run(
    config: DeployConfig,
    name: str,
    version: str,
    manifests: Path,
    report: Path,
    settings: Settings,
    cluster: Cluster | None = None,
) -> Deployed:
    """Serve the champion as stable and ``version`` as canary; in a cluster the canary gets no traffic yet.

    Args:
        config: Where and how.
        name: Registered model.
        version: Version that becomes the canary.
        manifests: Folder for ``1-stable.yaml``, ``2-canary.yaml`` and perhaps ``3-split.yaml``.
        report: Markdown file.
        settings: Registry, storage, ledger, run folder.
        cluster: For target ``cluster``; default: the one of the environment.

    Raises:
        FlywheelError: The registry has no such version, the mode cannot split, or a variant does not answer.
    """
    if config.target == "cluster":
        # No rollout can watch a canary in a cluster before issue 4, and traffic that nobody watches is no canary's.
        config = config.model_copy(update={"canary_percent": 0})
    stable, canary = read_versions(settings, name, version)
    models = {STABLE: stable, CANARY: canary}
    spec = service_spec(config, name, stable, canary)
    files = write_manifests(spec, manifests)
    with Ledger.open(settings.ledger_url) as ledger:

        def audit(action: str, details: Mapping[str, Any]) -> None:
            shared = {"run_id": settings.run_id, "target": config.target}
            ledger.append_audit(settings.actor, f"deploy.{action}", f"model:{name}/{version}", {**shared, **details})

        audit("start", {variant: asdict(model) for variant, model in models.items()})
        try:
            deployed, running = _act(config, name, models, spec, files, settings, cluster)
        except FlywheelError as error:
            audit("failed", {"reason": error.reason, "error": error.what})
            raise
        audit("done", {"endpoint": deployed.endpoint, "weights": dict(deployed.weights)})
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(markdown(config, name, deployed, running), encoding="utf-8")
    return deployed


def _act(
    config: DeployConfig,
    name: str,
    models: Mapping[str, Registered],
    spec: ServiceSpec,
    files: list[Path],
    settings: Settings,
    cluster: Cluster | None,
) -> tuple[Deployed, Running | None]:
    if config.target == "none":
        return Deployed("", files, models, {}), None
    if config.target == "cluster":
        _readable_from_cluster(models)
        endpoint = apply_service(spec, timeout_s=config.runtime.startup_timeout_s, cluster=cluster)
        return Deployed(endpoint, files, models, weights_for(config.canary_percent)), None
    running = serve(config, name, models, settings)
    write_endpoint(running, name, models, settings, config.smoke_prompt)
    return Deployed(running.gateway.base_url, files, models, running.weights), running


def _readable_from_cluster(models: Mapping[str, Registered]) -> None:
    for variant, model in models.items():
        for uri in (model.uri, model.base_uri):
            if uri.startswith("file://"):
                raise FlywheelError(
                    f"a cluster cannot read the {variant} model from this machine's disk",
                    where=uri,
                    fix="export FLYWHEEL_OBJECT_STORE=s3://bucket/prefix and publish again",
                    reason="not_readable",
                )


def markdown(config: DeployConfig, name: str, deployed: Deployed, running: Running | None) -> str:
    """The report: what serves, how to ask it, what to apply to a cluster."""
    weights = deployed.weights
    rows = [
        [variant, model.version, weights.get(variant, "not deployed"), model.uri, model.base_uri or "none"]
        for variant, model in deployed.models.items()
    ]
    text = f"# Deployment of {name} ({config.target})\n\n"
    text += markdown_table(["variant", "version", "per cent", "weights", "base"], rows)
    if config.target == "cluster":
        text += "\nThe canary runs but gets no traffic: nothing watches a rollout in a cluster yet.\n"
    if running is not None:
        answers = [
            [variant, running.upstreams[variant].url, " ".join(answer.split())]
            for variant, answer in running.answers.items()
        ]
        text += f"\n## Smoke test\n\nAsked: `{config.smoke_prompt}`\n\n"
        text += markdown_table(["variant", "server", "answer"], answers)
        text += f"\n## Ask it\n\n{ask(running.gateway.base_url, name, running.gateway.key_file)}"
    text += "\n## In a cluster\n\n```\n"
    text += "".join(f"kubectl apply --server-side -f {path.name}\n" for path in deployed.manifests)
    text += "```\n\nApply each file when what the one before it started is ready.\n"
    if any(model.uri.startswith("file://") for model in deployed.models.values()):
        text += "The URIs are folders of one machine: publish to `s3://` first (`FLYWHEEL_OBJECT_STORE`).\n"
    return text


def ask(base_url: str, model: str, key_file: Path) -> str:
    """Commands that ask the model: ``curl`` and the OpenAI client."""
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    return f"""```
curl {base_url}/chat/completions -H "Authorization: Bearer $(cat {key_file})" \\
  -H "Content-Type: application/json" -d '{body}'
```

```python
from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key=open("{key_file}").read().strip())
answer = client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "Hello"}}])
print(answer.choices[0].message.content)
```
"""
