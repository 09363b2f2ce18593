"""Mask the personal data of a dataset on all cores, scan the result again, and judge it."""

import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from llm_flywheel.components.common.access import access_of, after_masking
from llm_flywheel.components.common.dataset import (
    SCHEMA,
    checked,
    origin,
    read_manifest,
    version_of,
    write_manifest,
)
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_json
from llm_flywheel.components.common.progress import Progress
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.scan_pii.config import ScanPiiConfig
from llm_flywheel.components.scan_pii.decide import Verdict, decide
from llm_flywheel.components.scan_pii.level import earned_level
from llm_flywheel.components.scan_pii.operators import Masker
from llm_flywheel.components.scan_pii.parallel import ordered
from llm_flywheel.components.scan_pii.report import report_data, write_report
from llm_flywheel.components.scan_pii.rows import RowMasker
from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import PiiType
from llm_flywheel.components.scan_pii.tally import Tally

logger = logging.getLogger(__name__)

# What ``ingest`` wrote about the input and later steps show; carried along because only the direct parent is at hand.
_CARRIED = ("rows_in", "quarantined", "files", "splits")
_BATCH_BYTES = 16 << 20


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


class _Done(NamedTuple):
    """One batch's counts, and its masked rows as an Arrow message unless nothing changed in it."""

    tally: Tally
    message: pa.Buffer | None


def engine(config: ScanPiiConfig) -> tuple[Scanner, Masker | None]:
    """The scanner and the masker that a configuration asks for; no masker when it only wants a report."""
    ner = None
    if config.ner:
        from llm_flywheel.components.scan_pii.ner import load

        ner = load(config.ner.backend, config.ner.model)
    scanner = Scanner(
        config.types, config.allow_list, config.min_score, min_scores=config.min_scores, custom=config.custom, ner=ner
    )
    if config.action == "report_only":
        return scanner, None
    return scanner, Masker(scanner, config.operator, config.operators, key=Settings.from_env().pii_key)


def run(config: ScanPiiConfig, dataset: Path, masked: Path, report: Path | None = None) -> ScanResult:
    """Scan one dataset folder.

    Memory holds a few batches of ``config.batch_rows`` rows per worker and the row ids, whatever the size of the
    table; rows stay in their order, and nothing depends on the number of workers.

    Args:
        config: Types, operators and what may remain.
        dataset: Folder with ``data.parquet`` and ``manifest.json`` from ``ingest``.
        masked: Folder for the same table after masking, its manifest, and ``report.json`` for machines.
        report: HTML page to write, or None.

    Returns:
        Counts, and the verdict on what a scan of the written table still finds.

    Raises:
        FlywheelError: The input is no dataset or holds no rows, or a worker failed.
    """
    parent = read_manifest(dataset)
    (masked / "manifest.json").unlink(missing_ok=True)
    ids, tally = _mask_table(config, dataset / "data.parquet", masked / "data.parquet")
    remaining = _count(config, masked / "data.parquet")
    verdict = decide(remaining, config.allowed_types)
    result = ScanResult(*verdict, version_of(ids), tally.rows, tally.rows_changed, tally.found, tally.masked, remaining)
    write_manifest(masked, _manifest(config, result, verdict, tally, parent))
    shown = report_data(config, tally, remaining, verdict, result.version)
    write_json(masked / "report.json", shown)
    if report is not None:
        write_report(shown, report)
    logger.info("PII found %s, replaced %s: %s", dict(tally.found), dict(tally.masked), verdict.reason)
    return result


def _mask_table(config: ScanPiiConfig, source: Path, target: Path) -> tuple[list[str], Tally]:
    tally = Tally(config.samples_per_type)
    ids: list[str] = []
    target.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(target, SCHEMA, compression="zstd") as writer:
        make = functools.partial(_masking, config)
        for before, (counted, after) in ordered(make, _batches(source, config.batch_rows, "scan_pii"), config.workers):
            batch = pa.ipc.read_record_batch(before if after is None else after, SCHEMA)
            writer.write_batch(batch)
            ids += batch.column("id").to_pylist()
            tally.merge(counted)
    if not ids:
        raise FlywheelError("the dataset holds no rows", where=str(source), reason="no_rows")
    return ids, tally


def _count(config: ScanPiiConfig, path: Path) -> Counter[PiiType]:
    """Spans by type in a written table: what the gate judges is the file that goes on, not what was meant."""
    found: Counter[PiiType] = Counter()
    make = functools.partial(_masking, config.model_copy(update={"action": "report_only", "samples_per_type": 0}))
    for _, done in ordered(make, _batches(path, config.batch_rows, "scan_pii, second scan"), config.workers):
        found.update(done.tally.found)
    return found


def _masking(config: ScanPiiConfig) -> Callable[[pa.Buffer], _Done]:
    rows = RowMasker(*engine(config), config.scan_meta, config.samples_per_type)

    def work(message: pa.Buffer) -> _Done:
        result = rows.mask(pa.ipc.read_record_batch(message, SCHEMA))
        return _Done(result.tally, None if result.batch is None else result.batch.serialize())

    return work


def _batches(path: Path, batch_rows: int, title: str) -> Iterator[pa.Buffer]:
    """Batches of a dataset table as Arrow messages, which unlike batches hold no more than their own rows.

    Raises:
        FlywheelError: The file is missing, is no Parquet, lacks a column, or a message has no content.
    """
    if not path.is_file():
        raise FlywheelError("no such dataset table", where=str(path), reason="missing")
    try:
        with pq.ParquetFile(path) as file, Progress(title, file.metadata.num_rows) as progress:
            done = 0
            for read in file.iter_batches(batch_rows):
                batch = checked(read, done, path)
                # A few long rows must not make one job of gigabytes.
                rows = max(1, min(batch.num_rows, batch.num_rows * _BATCH_BYTES // max(1, batch.nbytes)))
                for first in range(0, batch.num_rows, rows):
                    yield batch.slice(first, rows).serialize()
                done += batch.num_rows
                progress.update(done)
    except (pa.ArrowException, KeyError) as error:
        # Only the kind of error: its message can hold a piece of a row.
        raise FlywheelError(f"not a dataset table ({type(error).__name__})", where=str(path), reason="schema") from None


def _manifest(
    config: ScanPiiConfig, result: ScanResult, verdict: Verdict, tally: Tally, parent: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        **{key: parent[key] for key in _CARRIED if key in parent},
        "step": "scan_pii",
        "version": result.version,
        "parent": parent.get("version"),
        **origin(),
        # The allow list holds real addresses and numbers, a deny list real names: how many there are is enough.
        "config": {
            **config.model_dump(mode="json"),
            "allow_list": len(config.allow_list),
            "custom": [recogniser.name for recogniser in config.custom],
        },
        "access": after_masking(access_of(parent), earned_level(config, verdict.passed)).model_dump(),
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
