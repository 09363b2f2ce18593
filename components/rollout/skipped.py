"""What the rollout step leaves behind when there is nothing to roll out: deploy only wrote manifests."""

import json
from pathlib import Path

from llm_flywheel.components.common.report import Page

NOTHING_DEPLOYED = "nothing was deployed: deploy.target is none"


def write_skipped(name: str, version: str, evidence: Path, report: Path) -> None:
    """Write evidence and report that say so; the step's outputs exist in every case.

    Args:
        name: Registered model.
        version: Version that stays the challenger.
        evidence: JSON file.
        report: HTML file.
    """
    value = {"model": name, "version": version, "outcome": {"decision": "none", "reason": NOTHING_DEPLOYED}}
    evidence.parent.mkdir(parents=True, exist_ok=True)
    evidence.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    page = Page(f"Rollout of {name} {version}", NOTHING_DEPLOYED)
    page.text("Version and alias are unchanged: the version stays the challenger.")
    page.write(report)
