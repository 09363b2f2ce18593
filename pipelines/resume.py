"""``flywheel rollout resume``: go on with the rollout of a run whose process has ended."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.rollout.config import RolloutConfig
from llm_flywheel.components.rollout.rollout import EVIDENCE_NAME, INPUTS_NAME, run
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.local.http import call
from llm_flywheel.serving.rollout.backend import root_of
from llm_flywheel.serving.rollout.journal import DECIDED, SETTLED, Journal

REPORT_NAME = "rollout-report.html"


def resume(run_dir: Path, settings: Settings) -> int:
    """Go on with a run's rollout, or complete one that has decided.

    Args:
        run_dir: Folder of the run, or its id.
        settings: Where runs, ledger, registry and storage are.

    Returns:
        0 if it ended as the run's configuration wants it, else 1.

    Raises:
        FlywheelError: The run has no rollout, its files are damaged, a process still watches it, or what its traffic
            went through has ended.
    """
    folder = run_dir if run_dir.is_dir() else settings.home / "runs" / run_dir
    inputs = _read(folder / INPUTS_NAME, "config", "endpoint", "version", "dataset")
    endpoint = _read(folder / "endpoint.json", "base_url", "model", "config_file")
    with Ledger.open(settings.ledger_url) as ledger:
        journal = Journal(ledger, folder.name, endpoint["model"], inputs["version"])
    journal.require_silent()
    # What has decided needs what splits the traffic, what has settled not even that.
    if journal.phase != SETTLED and (journal.body(DECIDED) is None or endpoint.get("target") != "cluster"):
        _check_gateway(endpoint, folder)
    config = bind(RolloutConfig, inputs["config"], where=str(folder / INPUTS_NAME))
    report = folder / REPORT_NAME
    result = run(
        config,
        inputs["endpoint"],
        endpoint["model"],
        inputs["version"],
        Path(inputs["dataset"]),
        folder / EVIDENCE_NAME,
        report,
        replace(settings, run_id=folder.name, run_dir=folder),
    )
    print(f"{endpoint['model']} {inputs['version']}: {result.outcome.decision} ({result.outcome.rule})")
    print(f"  {result.outcome.reason}\n  {report}")
    return 0 if result.failure(config) is None else 1


def _read(path: Path, *keys: str) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return value | {key: value[key] for key in keys}
    except OSError:
        raise FlywheelError(
            "there is no rollout to go on with", where=str(path), fix="ls .flywheel/runs", reason="missing"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise FlywheelError(
            f"damaged: {type(error).__name__}: {error}", where=str(path), fix="run the pipeline again", reason="damaged"
        ) from None


def _check_gateway(endpoint: dict[str, Any], folder: Path) -> None:
    root = root_of(endpoint["base_url"])
    if call(f"{root}/health", timeout_s=3.0).ok:
        return
    if endpoint.get("target") != "cluster":
        raise FlywheelError(
            "the gateway and the model servers of this run have ended, and with them the traffic; the champion is "
            "what it was, unless the registry says otherwise",
            where=root,
            fix="run the pipeline again; it begins a new rollout",
            reason="gateway",
        )
    port = root.rpartition(":")[2]
    raise FlywheelError(
        "the gateway of this run has ended; the cluster still splits the traffic as it did",
        where=root,
        fix=f"{sys.executable} -m llm_flywheel.serving.gateway --config {endpoint['config_file']} --port {port} &, "
        f"then flywheel rollout resume {folder.name}",
        reason="gateway",
    )
