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
from llm_flywheel.components.deploy.cluster import serve_in_cluster
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.deploy.local import Running, serve, write_endpoint
from llm_flywheel.components.deploy.manifests import service_spec, write_manifests
from llm_flywheel.components.deploy.versions import Registered, read_versions
from llm_flywheel.serving.inference_service.address import Address
from llm_flywheel.serving.inference_service.config import ServiceSpec
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.rollout.journal import Journal, abandon_orphans
from llm_flywheel.serving.rollout.plan import CANARY, STABLE

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
    """Serve the champion as stable and ``version`` as canary.

    What an unfinished rollout of another run left in a cluster is taken over, unless a process still watches it.

    Args:
        config: Where and how.
        name: Registered model.
        version: Version that becomes the canary.
        manifests: Folder for ``1-stable.yaml``, ``2-canary.yaml`` and perhaps ``3-split.yaml``.
        report: Markdown file.
        settings: Registry, storage, ledger, run folder.
        cluster: For target ``cluster``; default: the one of the environment.

    Raises:
        FlywheelError: The registry has no such version, the mode cannot split, a variant does not answer, or in the
            cluster another run rolls this model out right now.
    """
    if config.target == "cluster" and config.mode == "knative":
        # Nothing of ours steers Knative's split, and traffic that nobody watches is no canary's.
        config = config.model_copy(update={"canary_percent": 0})
    with Ledger.open(settings.ledger_url) as ledger:

        def audit(action: str, details: Mapping[str, Any]) -> None:
            shared = {"run_id": settings.run_id, "target": config.target}
            ledger.append_audit(settings.actor, action, f"model:{name}/{version}", {**shared, **details})

        if config.target == "cluster":
            # Before the champion is looked up: a rollout that runs may be about to change it.
            abandon_orphans(ledger, Journal(ledger, settings.run_id, name, version), audit)
        stable, canary = read_versions(settings, name, version)
        models = {STABLE: stable, CANARY: canary}
        spec = service_spec(config, name, stable, canary)
        files = write_manifests(spec, manifests)
        audit("deploy.start", {variant: asdict(model) for variant, model in models.items()})
        try:
            deployed, running = _act(config, name, models, spec, files, settings, cluster)
        except FlywheelError as error:
            audit("deploy.failed", {"reason": error.reason, "error": error.what})
            raise
        audit("deploy.done", {"endpoint": deployed.endpoint, "weights": dict(deployed.weights)})
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(markdown(config, name, spec, deployed, running), encoding="utf-8")
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
        running = serve_in_cluster(config, name, models, spec, settings, cluster)
    else:
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


def markdown(config: DeployConfig, name: str, spec: ServiceSpec, deployed: Deployed, running: Running | None) -> str:
    """The report: what serves, how to ask it, what to apply to a cluster."""
    weights = deployed.weights
    rows = [
        [variant, model.version, weights.get(variant, "not deployed"), model.uri, model.base_uri or "none"]
        for variant, model in deployed.models.items()
    ]
    text = f"# Deployment of {name} ({config.target})\n\n"
    text += markdown_table(["variant", "version", "per cent", "weights", "base"], rows)
    if running is not None:
        text += _running(config, name, running)
    if running is not None and running.address is not None:
        return text + _in_cluster(name, spec, running, running.address)
    text += "\n## In a cluster\n\n```\n"
    text += "".join(f"kubectl apply --server-side -f {path.name}\n" for path in deployed.manifests)
    text += "```\n\nApply each file when what the one before it started is ready.\n"
    account = spec.service_account or "default"
    text += f"They need, in namespace {spec.namespace}, what `manifests/base` makes (ServiceAccount {account}, "
    text += f"ServingRuntime {spec.serving_runtime}, its middleware) and the Secret with the object storage's keys.\n"
    if any(model.uri.startswith("file://") for model in deployed.models.values()):
        text += "The URIs are folders of one machine: publish to `s3://` first (`FLYWHEEL_OBJECT_STORE`).\n"
    return text


def _running(config: DeployConfig, name: str, running: Running) -> str:
    server = next(iter(running.upstreams.values())).url
    answers = [
        [variant, running.upstreams[variant].url if variant in running.upstreams else server, " ".join(answer.split())]
        for variant, answer in running.answers.items()
    ]
    text = f"\n## Smoke test\n\nAsked: `{config.smoke_prompt}`\n\n"
    text += markdown_table(["variant", "server", "answer"], answers)
    return text + f"\n## Ask it\n\n{ask(running.gateway.base_url, name, running.gateway.key_file)}"


def _in_cluster(name: str, spec: ServiceSpec, running: Running, where: Address) -> str:
    pods = [[variant, ", ".join(names)] for variant, names in running.pods.items()]
    text = f"\n## In the cluster\n\n{markdown_table(['variant', 'pods'], pods)}"
    text += f"\nThe weights are in HTTPRoute `{spec.name}`, namespace `{spec.namespace}`; the rollout changes them. "
    text += "Whoever asks the Gateway itself is not metered:\n\n"
    return text + ask_directly(where, name)


def ask_directly(where: Address, model: str) -> str:
    """Commands that ask the model through the cluster's Gateway, without key and ledger."""
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    curl, client = "", ""
    if where.host:
        curl, client = f' -H "Host: {where.host}"', f', default_headers={{"Host": "{where.host}"}}'
    return f"""```
curl {where.url}/v1/chat/completions{curl} -H "Content-Type: application/json" -d '{body}'
```

```python
client = OpenAI(base_url="{where.url}/v1", api_key="none"{client})
```
"""


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
