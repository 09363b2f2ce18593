"""Mask the personal data of a dataset, scan the result again, and judge it."""

import datetime
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm_flywheel.components.common.dataset import SCHEMA, TableWriter, read_manifest, version_of, write_manifest
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.progress import Progress
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.scan_pii.config import ScanPiiConfig
from llm_flywheel.components.scan_pii.decide import Verdict, decide
from llm_flywheel.components.scan_pii.operators import Masker
from llm_flywheel.components.scan_pii.report import Sample, sample_of, write_report
from llm_flywheel.components.scan_pii.rows import MaskedRow, mask_row, texts_of
from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import PiiType

logger = logging.getLogger(__name__)

# What ``ingest`` wrote about the input and later steps show; carried along because only the direct parent is at hand.
_CARRIED = ("rows_in", "quarantined", "files", "splits")


@dataclass(frozen=True)
class ScanResult:
    """Outcome of one scan.

    Attributes:
        passed: Whether the dataset may go on.
        reason: Why, as the pipeline shows it.
        version: Version of the masked dataset.
        rows: Rows, in and out: a scan drops none.
        rows_changed: Rows in which something was replaced.
        found: Spans by type in the input.
        masked: Replaced spans by type.
        remaining: Spans by type in the output.
    """

    passed: bool
    reason: str
    version: str
    rows: int
    rows_changed: int
    found: Mapping[PiiType, int]
    masked: Mapping[PiiType, int]
    remaining: Mapping[PiiType, int]


@dataclass
class _Tally:
    ids: list[str] = field(default_factory=list)
    rows_changed: int = 0
    found: Counter[PiiType] = field(default_factory=Counter)
    masked: Counter[PiiType] = field(default_factory=Counter)
    by_source: dict[str, Counter[PiiType]] = field(default_factory=dict)
    samples: dict[PiiType, list[Sample]] = field(default_factory=dict)

    def add(self, before: Mapping[str, Any], result: MaskedRow, most_samples: int) -> None:
        row = result.row
        self.ids.append(row["id"])
        self.rows_changed += row is not before
        self.masked.update(result.masked)
        for find in result.finds:
            kind, source = find.span.type, row["source"] or "unknown"
            self.found[kind] += 1
            self.by_source.setdefault(source, Counter())[kind] += 1
            samples = self.samples.setdefault(kind, [])
            if len(samples) < most_samples:
                samples.append(sample_of(find, source, row["id"]))


def run(config: ScanPiiConfig, dataset: Path, masked: Path, report: Path | None = None) -> ScanResult:
    """Scan one dataset folder.

    Memory holds ``config.batch_rows`` rows and the row ids, whatever the size of the table.

    Args:
        config: Types, operators and what may remain.
        dataset: Folder with ``data.parquet`` and ``manifest.json`` from ``ingest``.
        masked: Folder for the same table after masking, and its manifest.
        report: HTML page to write, or None.

    Returns:
        Counts, and the verdict on what a scan of the written table still finds.

    Raises:
        FlywheelError: The input is no dataset or holds no rows.
    """
    parent = read_manifest(dataset)
    scanner = Scanner(config.types, config.allow_list, config.min_score)
    tally = _mask_table(config, scanner, dataset / "data.parquet", masked / "data.parquet")
    remaining = _count(config, scanner, masked / "data.parquet")
    verdict = decide(remaining, config.allowed_types)
    result = ScanResult(
        *verdict, version_of(tally.ids), len(tally.ids), tally.rows_changed, tally.found, tally.masked, remaining
    )
    manifest = _manifest(config, result, verdict, tally, parent)
    write_manifest(masked, manifest)
    if report is not None:
        write_report(manifest, [sample for samples in tally.samples.values() for sample in samples], report)
    logger.info("PII found %s, replaced %s: %s", dict(tally.found), dict(tally.masked), verdict.reason)
    return result


def _mask_table(config: ScanPiiConfig, scanner: Scanner, source: Path, target: Path) -> _Tally:
    masker = Masker(scanner, config.operator, config.operators) if config.action == "mask" else None
    tally = _Tally()
    with TableWriter(target, batch_rows=config.batch_rows) as writer:
        for row in _rows(source, config.batch_rows, "scan_pii"):
            result = mask_row(row, scanner, masker, config.scan_meta)
            tally.add(row, result, config.samples_per_type)
            writer.add(result.row)
    if not tally.ids:
        raise FlywheelError("the dataset holds no rows", where=str(source), reason="no_rows")
    return tally


def _count(config: ScanPiiConfig, scanner: Scanner, path: Path) -> Counter[PiiType]:
    """Spans by type in a written table: what the gate judges is the file that goes on, not what was meant."""
    return Counter(
        span.type
        for row in _rows(path, config.batch_rows, "scan_pii, second scan")
        for text in texts_of(row, config.scan_meta)
        for span in scanner.scan(text)
    )


def _rows(path: Path, batch_rows: int, title: str) -> Iterator[dict[str, Any]]:
    """Rows of a dataset table, a batch at a time.

    Raises:
        FlywheelError: The file is missing, is no Parquet, lacks a column, or a message has no content.
    """
    if not path.is_file():
        raise FlywheelError("no such dataset table", where=str(path), reason="missing")
    try:
        with pq.ParquetFile(path) as file, Progress(title, file.metadata.num_rows) as progress:
            done = 0
            for batch in file.iter_batches(batch_rows):
                for row in pa.Table.from_batches([batch]).select(SCHEMA.names).cast(SCHEMA).to_pylist():
                    done += 1
                    yield _checked(row, done, path)
                progress.update(done)
    except (pa.ArrowException, KeyError, UnicodeDecodeError) as error:
        # Only the kind of error: its message can hold a piece of a row.
        raise FlywheelError(f"not a dataset table ({type(error).__name__})", where=str(path), reason="schema") from None


def _checked(row: dict[str, Any], number: int, path: Path) -> dict[str, Any]:
    messages = row["messages"]
    if messages is None or any(message is None or None in message.values() for message in messages):
        raise FlywheelError(f"row {number} has a message without role or content", where=str(path), reason="schema")
    return row


def _manifest(
    config: ScanPiiConfig, result: ScanResult, verdict: Verdict, tally: _Tally, parent: Mapping[str, Any]
) -> dict[str, Any]:
    settings = Settings.from_env()
    return {
        **{key: parent[key] for key in _CARRIED if key in parent},
        "step": "scan_pii",
        "version": result.version,
        "parent": parent.get("version"),
        "made_by": settings.actor,
        "run_id": settings.run_id,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        # The allow list holds real addresses and numbers: its length is enough.
        "config": {**config.model_dump(mode="json"), "allow_list": len(config.allow_list)},
        "rows_out": result.rows,
        "rows_changed": result.rows_changed,
        "pii": {
            "passed": verdict.passed,
            "reason": verdict.reason,
            "action": config.action,
            "types": list(config.types),
            "allowed_types": list(config.allowed_types),
            "found": dict(result.found),
            "masked": dict(result.masked),
            "remaining": dict(result.remaining),
        },
        "pii_by_source": {source: dict(counts) for source, counts in tally.by_source.items()},
    }
