"""Refuses data that this run must not train on, and puts the refusal on the audit log."""

import logging
from pathlib import Path

from llm_flywheel.components.common.access import AccessConfig, access_of, refusal
from llm_flywheel.components.common.dataset import read_manifest
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.ledger.ledger import Ledger

logger = logging.getLogger(__name__)


def require_access(dataset: Path, max_level: str, settings: Settings) -> AccessConfig:
    """Level and policy of a dataset that may be trained on.

    Args:
        dataset: Curated dataset folder.
        max_level: ``finetune.max_level``.
        settings: Who runs it, and where the ledger is.

    Raises:
        FlywheelError: It may not; the ledger has an audit event ``data.refused`` of it.
    """
    manifest = read_manifest(dataset)
    access = access_of(manifest, dataset / "manifest.json")
    refused = refusal(access, max_level, settings.actor, str(dataset))
    if refused is None:
        return access
    details = {"level": access.level, "max_level": max_level, "reason": refused.reason, "run_id": settings.run_id}
    try:
        with Ledger.open(settings.ledger_url) as ledger:
            ledger.append_audit(settings.actor, "data.refused", f"dataset:{manifest.get('version', '')}", details)
    except FlywheelError as error:  # no reason to train
        logger.warning("the refusal is not audited: %s", error)
    raise refused
