"""Read the input files into the dataset table and the quarantine table, and account for every row."""

import datetime
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.dataset import (
    QUARANTINE_SCHEMA,
    TableWriter,
    row_id,
    version_of,
    write_manifest,
)
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.ingest.config import IngestConfig
from llm_flywheel.components.ingest.convert import Layout, Rejected, detect_layout, from_mapping, to_messages
from llm_flywheel.components.ingest.counts import FileCount, IngestResult
from llm_flywheel.components.ingest.files import SourceFile, Sources, find_files
from llm_flywheel.components.ingest.language import language_of
from llm_flywheel.components.ingest.readers import Broken, Record, open_records
from llm_flywheel.components.ingest.report import write_report

logger = logging.getLogger(__name__)

_SHOWN_COLUMNS = 12
_ROWS_PER_PROGRESS_LINE = 100_000


def run(config: IngestConfig, dataset: Path, quarantine: Path, report: Path | None = None) -> IngestResult:
    """Read every input file once.

    Args:
        config: What to read and how.
        dataset: Folder for ``data.parquet`` and ``manifest.json``.
        quarantine: Folder for ``quarantine.parquet``; it is written also when the step then fails.
        report: HTML page to write, or None.

    Raises:
        FlywheelError: A path is missing (before anything is read), no row is usable, the mapping fits no file, or
            more than ``max_quarantine_share`` of the rows went to quarantine.
    """
    with tempfile.TemporaryDirectory(prefix="flywheel-ingest-") as scratch:
        sources = find_files(config.paths, config.holdout_paths, Path(scratch))
        result = _read_all(config, sources, dataset / "data.parquet", quarantine / "quarantine.parquet")
    _check_sums(result)
    _log(result)
    if report is not None:
        write_report(result, report)
    _check_usable(result, config, quarantine / "quarantine.parquet")
    write_manifest(dataset, _manifest(result, config))
    return result


def _read_all(config: IngestConfig, sources: Sources, data_path: Path, quarantine_path: Path) -> IngestResult:
    result = IngestResult(ignored=sources.ignored)
    ids: list[str] = []
    columns_seen: set[str] = set()
    with (
        TableWriter(data_path, batch_rows=config.batch_rows) as data,
        TableWriter(quarantine_path, QUARANTINE_SCHEMA, config.batch_rows) as quarantine,
    ):
        for file in sources.files:
            reader = FileReader(file, config)
            for item in reader.read():
                result.rows_in += 1
                _say_progress(result.rows_in, file)
                if isinstance(item, Broken):
                    quarantine.add({"file": file.name, "line": item.line, "reason": item.reason, "detail": item.detail})
                else:
                    data.add(item)
                    ids.append(item["id"])
                    result.languages[item["lang"]] += 1
            columns_seen |= reader.columns_seen
            result.files.append(reader.count)
            result.quarantined.update(reader.count.quarantined)
            result.splits[file.split or "train"] += reader.count.rows_out
        result.rows_out = data.rows
        if data.rows + quarantine.rows != result.rows_in:
            raise AssertionError(f"{result.rows_in} rows read, {data.rows} + {quarantine.rows} written")
    _check_mapping(config, result, columns_seen)
    result.version = version_of(ids)
    return result


def _say_progress(rows: int, file: SourceFile) -> None:
    if rows % _ROWS_PER_PROGRESS_LINE == 0:
        logger.info("ingest: %s rows read, now in %s", f"{rows:,}", file.name)


class FileReader:
    """Turns one file into rows of the dataset table, `Broken` for those that are not usable.

    Attributes:
        count: What became of the rows so far.
        columns_seen: Column names met in records that no layout fits, for the error message.
    """

    def __init__(self, file: SourceFile, config: IngestConfig) -> None:
        self._file = file
        self._config = config
        self._mapped = from_mapping(config.mapping) if config.mapping else None
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._last: Layout | None = None
        self.count = FileCount(file.name, file.kind, file.split)
        self.columns_seen: set[str] = set()

    def read(self) -> Iterator[dict[str, Any] | Broken]:
        """Rows of ``dataset.SCHEMA`` and broken rows, in the file's order."""
        try:
            opened = open_records(self._file, self._knows, self._config.max_row_chars)
            self.count.encoding = opened.encoding
            for item in opened.items:
                self.count.rows_in += 1
                row = item if isinstance(item, Broken) else self._row(item)
                if isinstance(row, Broken):
                    self.count.quarantined[row.reason] += 1
                else:
                    self.count.rows_out += 1
                yield row
        except OSError as error:
            raise FlywheelError(f"cannot be read: {error}", where=self._file.name, reason="unreadable") from None

    def _knows(self, columns: Sequence[str]) -> bool:
        return self._detect(columns) is not None

    def _row(self, record: Record) -> dict[str, Any] | Broken:
        layout = self._layout(tuple(record.values))
        if layout is None:
            self.columns_seen.update(list(record.values)[:_SHOWN_COLUMNS])
            detail = f"none of the {len(record.values)} columns is known; set ingest.mapping"
            return Broken(record.line, "unknown_columns", detail)
        messages = to_messages(record.values, layout, self._config.max_row_chars)
        if isinstance(messages, Rejected):
            return Broken(record.line, messages.reason, messages.detail)
        return {
            "id": row_id(messages),
            "messages": messages,
            "source": self._file.name,
            "lang": language_of(messages),
            "meta": self._meta(record),
        }

    def _layout(self, columns: tuple[str, ...]) -> Layout | None:
        if columns in self._layouts:
            return self._layouts[columns]
        found = self._detect(columns)
        if found is None:
            # A row of the same kind as those before it, but without one of the columns.
            return self._last if self._last is not None and self._last.shares_column_with(columns) else None
        if found.name not in self.count.layouts:
            self.count.layouts.append(found.name)
        if len(self._layouts) > 1_000:
            self._layouts.clear()  # the keys of JSON rows may all differ
        self._layouts[columns] = self._last = found
        return found

    def _detect(self, columns: Sequence[str]) -> Layout | None:
        if self._mapped is not None and self._mapped.shares_column_with(columns):
            return self._mapped
        return detect_layout(columns, self._config.format)

    def _meta(self, record: Record) -> str:
        meta: dict[str, Any] = {"line": record.line}
        if self._file.split:
            meta["split"] = self._file.split
        for column in self._config.keep_columns:
            value = record.values.get(column)
            if isinstance(value, str | int | float | bool):
                meta[column] = value
        return json.dumps(meta)


def _check_sums(result: IngestResult) -> None:
    counts: list[FileCount | IngestResult] = [*result.files, result]
    for count in counts:
        if count.rows_in != count.rows_out + count.quarantined.total():
            raise AssertionError(f"rows do not add up: {count}")


def _check_mapping(config: IngestConfig, result: IngestResult, columns_seen: set[str]) -> None:
    if config.mapping is None or any("mapping" in count.layouts for count in result.files):
        return
    if not result.rows_in or not columns_seen:
        return
    found = ", ".join(repr(name[:40]) for name in sorted(columns_seen)[:_SHOWN_COLUMNS])
    raise FlywheelError(
        f"no file has the columns {config.mapping.user!r} and {config.mapping.assistant!r}; found {found}",
        where="ingest.mapping",
        fix="set ingest.mapping.user and ingest.mapping.assistant to columns of your files",
        reason="mapping",
    )


def _check_usable(result: IngestResult, config: IngestConfig, quarantine: Path) -> None:
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in result.quarantined.most_common())
    if not result.rows_in:
        raise FlywheelError(
            f"the input holds no rows ({len(result.files)} files read)", where="ingest.paths", reason="no_rows"
        )
    share = result.quarantined.total() / result.rows_in
    if not result.rows_out or share > config.max_quarantine_share:
        raise FlywheelError(
            f"{share:.0%} of {result.rows_in:,} rows cannot be used, allowed are {config.max_quarantine_share:.0%}: "
            f"{reasons}",
            where=str(quarantine),
            fix="look at file, line and reason there; correct the files, ingest.mapping or ingest.max_quarantine_share",
            reason="too_many_broken_rows",
        )
    if not result.splits["train"]:
        raise FlywheelError(
            f"no row of ingest.paths can be used, only held-out ones: {reasons}",
            where=str(quarantine),
            reason="no_rows",
        )


def _log(result: IngestResult) -> None:
    for count in result.files:
        broken = "".join(f", {reason} {rows:,}" for reason, rows in count.quarantined.most_common())
        logger.info("%s: %s rows read, %s written%s", count.name, f"{count.rows_in:,}", f"{count.rows_out:,}", broken)
    if result.ignored:
        logger.warning("%d files of an unknown kind were not read: %s", len(result.ignored), result.ignored[:10])


def _manifest(result: IngestResult, config: IngestConfig) -> Mapping[str, Any]:
    settings = Settings.from_env()
    return {
        "step": "ingest",
        "parent": None,
        "made_by": settings.actor,
        "run_id": settings.run_id,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        **vars(result),
        "files": [vars(count) for count in result.files],
    }
