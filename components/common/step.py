"""What every pipeline step does around its work: time it, record it, and fail without a traceback."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_json
from llm_flywheel.components.common.settings import Settings

logger = logging.getLogger(__name__)


@dataclass
class StepRecord:
    """One step of a run, as the summary table and the dashboard show it.

    Attributes:
        name: Task name, unique within a run.
        status: ``running``, ``ok`` or ``failed``.
        started: Unix time, seconds.
        seconds: Wall time.
        summary: A few numbers or words a person wants to see; keys become table cells.
        reports: Files worth opening (HTML, Markdown, YAML).
        error: What was wrong, for a failed step.
    """

    name: str
    status: str = "running"
    started: float = field(default_factory=time.time)
    seconds: float = 0.0
    summary: dict[str, Any] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)
    error: str = ""

    def report(self, path: str | Path) -> None:
        """Name a file in the list of reports that the run prints at its end."""
        self.reports.append(str(path))


@contextmanager
def step(name: str, settings: Settings | None = None) -> Iterator[StepRecord]:
    """Record one step under the run's folder and end the process with status 1 on a user's error.

    A `FlywheelError` is logged as its message alone; anything else is a bug and keeps its traceback.

    Example:
        >>> with step("curate") as record:
        ...     record.summary["rows"] = 10
    """
    _log_plainly()
    settings = settings or Settings.from_env()
    record = StepRecord(name)
    _write(record, settings)
    start = time.monotonic()
    try:
        yield record
        record.status = "ok"
    except FlywheelError as error:
        record.status, record.error = "failed", str(error)
        logger.error("%s failed: %s", name, error)
        raise SystemExit(1) from None
    except BaseException as error:
        record.status, record.error = "failed", f"{type(error).__name__}: {error}"
        raise
    finally:
        record.seconds = time.monotonic() - start
        _collect_reports(record, settings)
        _write(record, settings)


def _log_plainly() -> None:
    """Print our log lines as they are; the root logger is KFP's, which marks every line as its own."""
    ours = logging.getLogger("llm_flywheel")
    if not ours.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False


def _collect_reports(record: StepRecord, settings: Settings) -> None:
    """Copy a laptop run's reports to one folder, with the suffix that makes a browser open them."""
    if settings.run_dir is None:
        return
    folder = settings.run_dir / "reports"
    for index, report in enumerate(record.reports):
        source = Path(report)
        if not source.is_file():
            continue
        content = source.read_bytes()
        suffix = source.suffix or (".html" if content[:15].lower() == b"<!doctype html>" else ".md")
        target = folder / f"{record.name}{f'-{index}' if index else ''}{suffix}"
        folder.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        record.reports[index] = str(target)


def _write(record: StepRecord, settings: Settings) -> None:
    if settings.run_dir is None:
        return
    write_json(settings.run_dir / "steps" / f"{record.name}.json", asdict(record), default=str)


def read_steps(run_dir: Path) -> list[StepRecord]:
    """All step records of a run, in the order they started."""
    records = [
        StepRecord(**json.loads(path.read_text(encoding="utf-8"))) for path in (run_dir / "steps").glob("*.json")
    ]
    return sorted(records, key=lambda record: record.started)
