"""Typed, read-only access to what the dashboard shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.ledger.records import AuditEvent, AuditVerdict, UsageRow


@dataclass(frozen=True)
class Range:
    """A stretch of time, Unix seconds UTC: ``start <= time < end``."""

    start: float
    end: float


class LedgerClient:
    """Reads one ledger and writes nothing; a connection lives as long as one call.

    Args:
        url: SQLAlchemy URL of the ledger.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def usage(self, span: Range, run_id: str | None = None) -> Sequence[UsageRow]:
        """Usage rows of a range, optionally of one run."""
        with Ledger.open(self._url, read_only=True) as ledger:
            return ledger.usage_between(span.start, span.end, run_id=run_id)

    def runs(self) -> list[str]:
        """Runs with usage, the latest first."""
        with Ledger.open(self._url, read_only=True) as ledger:
            return ledger.run_ids()

    def has_usage(self) -> bool:
        """Whether there is any usage at all."""
        with Ledger.open(self._url, read_only=True) as ledger:
            return ledger.has_usage()

    def audit(self, end: float) -> Sequence[AuditEvent]:
        """All audit events before ``end``; those before a range say which weights it began with."""
        with Ledger.open(self._url, read_only=True) as ledger:
            return ledger.audit_events(end=end)

    def verify(self) -> AuditVerdict:
        """Check the whole audit chain."""
        with Ledger.open(self._url, read_only=True) as ledger:
            return ledger.verify_audit()
