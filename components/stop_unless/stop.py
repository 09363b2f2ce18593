"""Turns a failed verdict into an error and an audit event."""

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.ledger.ledger import Ledger


def require(passed: bool, reason: str, check: str, settings: Settings | None = None) -> None:
    """Record a failed check in the audit log and stop.

    Args:
        passed: The verdict.
        reason: Why, in the check's own words.
        check: Name of the check.
        settings: Where the ledger is; read from the environment when not given.

    Raises:
        FlywheelError: The check did not pass.
    """
    if passed:
        return
    settings = settings or Settings.from_env()
    with Ledger.open(settings.ledger_url) as ledger:
        ledger.append_audit(settings.actor, "check.failed", check, {"reason": reason, "run_id": settings.run_id})
    raise FlywheelError(f"stopped: {check} did not pass: {reason}", reason="check_failed")
