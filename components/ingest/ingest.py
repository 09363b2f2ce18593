"""Read the input files into the dataset table and the quarantine table, and account for every row."""

import gc
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.access import access_of
from llm_flywheel.components.common.dataset import (
    QUARANTINE_SCHEMA,
    TableWriter,
    origin,
    read_manifest,
    row_id,
    write_manifest,
)
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.progress import Progress
from llm_flywheel.components.ingest.config import IngestConfig
from llm_flywheel.components.ingest.convert import (
    Layout,
    Rejected,
    detect_layout,
    from_mapping,
    to_messages,
)
from llm_flywheel.components.ingest.counts import FileCount, IngestResult
from llm_flywheel.components.ingest.files import SourceFile, Sources, find_files
from llm_flywheel.components.ingest.language import language_of
from llm_flywheel.components.ingest.readers import Broken, Record, open_records
from llm_flywheel.components.ingest.report import write_report
from llm_flywheel.components.ingest.table import DatasetWriter, Row
from llm_flywheel.components.ingest.web import without_secrets

logger = logging.getLogger(__name__)

_SHOWN_COLUMNS = 12
_MOST_COLUMNS_SEEN = 1_000
_ROWS_PER_UPDATE = 2_000


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
    # Rows of this run must never stand beside the manifest, and the level, of another one.
    (dataset / "manifest.json").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="flywheel-ingest-") as scratch:
        files = Path(scratch) / "files"
        sources = find_files(config.paths, config.holdout_paths, files, round(config.max_download_gb * 1e9))
        with _few_collections():
            _check_level(config, sources)
            result = _read_all(config, sources, dataset, quarantine, Path(scratch))
    _check_sums(result)
    _log(result)
    if report is not None:
        write_report(result, report)
    _check_usable(result, config, quarantine / "quarantine.parquet")
    write_manifest(dataset, _manifest(result, config))
    return result


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for cycles less often: a batch of rows is many objects without any, and the search costs a fifth."""
    before = gc.get_threshold()
    gc.set_threshold(100_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _read_all(config: IngestConfig, sources: Sources, dataset: Path, quarantine: Path, scratch: Path) -> IngestResult:
    result = IngestResult(ignored=sources.ignored)
    columns_seen: set[str] = set()
    sizes = [file.path.stat().st_size for file in sources.files]
    with (
        DatasetWriter(dataset / "data.parquet", scratch / "ids", config.batch_rows) as data,
        TableWriter(quarantine / "quarantine.parquet", QUARANTINE_SCHEMA, config.batch_rows) as broken,
        Progress("ingest", sum(sizes)) as progress,
    ):
        for number, file in enumerate(sources.files):
            reader = FileReader(file, config)
            for row in reader.read():
                result.rows_in += 1
                if isinstance(row, Broken):
                    broken.add({"file": file.name, "line": row.line, "reason": row.reason, "detail": row.detail})
                else:
                    data.add(row)
                    result.languages[row.lang] += 1
                if result.rows_in % _ROWS_PER_UPDATE == 0:
                    done = sum(sizes[:number]) + min(sizes[number], reader.position())
                    progress.update(done, f"{done / 1e6:,.0f} MB, {result.rows_in:,} rows, now in {file.name}")
            columns_seen |= reader.columns_seen
            result.files.append(reader.count)
            result.quarantined.update(reader.count.quarantined)
            result.splits[file.split or "train"] += reader.count.rows_out
        progress.update(sum(sizes), f"{sum(sizes) / 1e6:,.0f} MB, {result.rows_in:,} rows")
        result.rows_out = data.rows
        if data.rows + broken.rows != result.rows_in:
            raise AssertionError(f"{result.rows_in} rows read, {data.rows} + {broken.rows} written")
    _check_mapping(config, result, columns_seen)
    result.version = data.version()
    return result


class FileReader:
    """Turns one file into rows of the dataset table, `Broken` for those that are not usable.

    Attributes:
        count: What became of the rows so far.
        columns_seen: Column names met in records that no layout fits, for the error message.
        position: Bytes of the file that have been read so far.
    """

    def __init__(self, file: SourceFile, config: IngestConfig) -> None:
        self._file = file
        self._config = config
        self._mapped = from_mapping(config.mapping) if config.mapping else None
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._last: Layout | None = None
        self._split = f', "split": "{file.split}"' if file.split else ""
        self.count = FileCount(file.name, file.kind, file.split, file.revision)
        self.columns_seen: set[str] = set()
        self.position: Callable[[], int] = lambda: 0

    def read(self) -> Iterator[Row | Broken]:
        """Usable and broken rows, in the file's order."""
        config = self._config
        try:
            opened = open_records(self._file, self._knows, config.max_row_chars, config.text_rows)
            self.count.encoding, self.position = opened.encoding, opened.position
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

    def _row(self, record: Record) -> Row | Broken:
        layout = self._layout(tuple(record.values))
        if layout is None:
            if len(self.columns_seen) < _MOST_COLUMNS_SEEN:
                self.columns_seen.update(list(record.values)[:_SHOWN_COLUMNS])
            detail = f"none of the {len(record.values)} columns is known; set ingest.mapping or ingest.format"
            return Broken(record.line, "unknown_columns", detail)
        messages = to_messages(record.values, layout, self._config.max_row_chars)
        if isinstance(messages, Rejected):
            return Broken(record.line, messages.reason, messages.detail)
        return Row(row_id(messages), messages, self._file.name, language_of(messages), self._meta(record))

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
        if self._file.kind == "text" and self._config.format == "auto":
            return detect_layout(columns)
        if self._mapped is not None and self._mapped.shares_column_with(columns):
            return self._mapped
        return detect_layout(columns, self._config.format)

    def _meta(self, record: Record) -> str:
        own = {column: record.values.get(column) for column in self._config.keep_columns}
        kept = {column: value for column, value in own.items() if isinstance(value, str | int | float | bool)}
        # A lone surrogate, which no UTF-8 file can hold, is shown as it was escaped.
        kept = {
            name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
            for name, value in kept.items()
        }
        more = f", {json.dumps(kept)[1:-1]}" if kept else ""
        return f'{{"line": {record.line}{self._split}{more}}}'


def _check_level(config: IngestConfig, sources: Sources) -> None:
    """Refuse to read a dataset again under a lower level than its manifest says."""
    for manifest in {file.path.parent / "manifest.json" for file in sources.files}:
        try:
            before = access_of(read_manifest(manifest.parent), manifest)
        except FlywheelError:
            continue  # none, or not ours
        levels, level = before.levels, config.access.level
        if before.level and (level not in levels or levels.index(level) < levels.index(before.level)):
            raise FlywheelError(
                f"this data is {before.level!r}, and ingest.access.level is {level or 'not set'!r}",
                where=str(manifest.parent),
                fix=f"set ingest.access.level to {before.level}",
                reason="access_level",
            )


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
    from llm_flywheel.components.scan_pii.columns import is_name

    wanted = (config.mapping.user, config.mapping.assistant)
    shown = [repr(name) for name in sorted(columns_seen)[:_SHOWN_COLUMNS] if is_name(name)]
    if len(columns_seen) > len(shown):
        shown.append(f"{len(columns_seen) - len(shown):,} more, which may be values of a file without a header")
    raise FlywheelError(
        f"no file has the columns {' and '.join(repr(name) for name in wanted if name)}; found {', '.join(shown)}",
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
        logger.warning(
            "%d files were not read; they are of an unknown kind, hidden, or texts beside tables: %s",
            len(result.ignored),
            result.ignored[:10],
        )


def _manifest(result: IngestResult, config: IngestConfig) -> Mapping[str, Any]:
    return {
        "step": "ingest",
        "parent": None,
        **origin(),
        "access": config.access.model_dump(),
        "config": config.model_dump(mode="json")
        | {key: [without_secrets(path) for path in getattr(config, key)] for key in ("paths", "holdout_paths")},
        **vars(result),
        "files": [vars(count) for count in result.files],
    }
