"""What ``deploy`` says about the running endpoint."""

import json
from dataclasses import dataclass
from pathlib import Path

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.config import ServiceSpec
from llm_flywheel.serving.rollout.backend import root_of
from llm_flywheel.serving.rollout.plan import VARIANTS


@dataclass(frozen=True)
class Endpoint:
    """A gateway with two variants behind it.

    Attributes:
        base_url: Address of the gateway.
        model: Served model name.
        api_key: Key for questions.
        admin_token: Token for weights.
        versions: Registered version per variant.
        service: The service in a cluster whose route splits the traffic; None where the gateway itself does.
    """

    base_url: str
    model: str
    api_key: str
    admin_token: str
    versions: dict[str, str]
    service: ServiceSpec | None = None


def read_endpoint(run_dir: Path | None, expected_url: str) -> Endpoint:
    """Read ``endpoint.json`` of a run and the secrets it names.

    Args:
        run_dir: Folder of the run.
        expected_url: The endpoint that ``deploy`` handed on; another one in the file means a stale file.

    Raises:
        FlywheelError: The file, a key of it or a secret is missing, or it describes another endpoint.
    """
    if run_dir is None:
        raise FlywheelError(
            "a rollout needs the run folder, where deploy leaves the gateway's address and tokens",
            fix="export FLYWHEEL_RUN_DIR=<folder of the run>",
            reason="no_run_dir",
        )
    path = run_dir / "endpoint.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        endpoint = Endpoint(
            base_url=value["base_url"],
            model=value["model"],
            api_key=_secret(Path(value["key_file"])),
            admin_token=_secret(Path(value["admin_token_file"])),
            versions={variant: str(value["versions"][variant]) for variant in VARIANTS},
            service=ServiceSpec.model_validate(value["service"]) if value.get("target") == "cluster" else None,
        )
    except FileNotFoundError:
        raise FlywheelError("no endpoint was deployed", where=str(path), reason="no_endpoint") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FlywheelError(
            f"not a complete endpoint description: {type(error).__name__}: {error}", where=str(path), reason="endpoint"
        ) from None
    if root_of(endpoint.base_url) != root_of(expected_url):
        raise FlywheelError(f"describes {endpoint.base_url}, not {expected_url}", where=str(path), reason="endpoint")
    return endpoint


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise FlywheelError(f"no readable secret: {error.strerror}", where=str(path), reason="secret") from None
