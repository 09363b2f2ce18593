"""``flywheel pii``: find or mask personal data in a file."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from llm_flywheel.components.common.config import bind, load_yaml
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.progress import Progress

if TYPE_CHECKING:
    from llm_flywheel.components.ingest.readers import Broken
    from llm_flywheel.components.scan_pii.config import ScanPiiConfig
    from llm_flywheel.components.scan_pii.files import Source, Task
    from llm_flywheel.components.scan_pii.spans import PiiType
    from llm_flywheel.components.scan_pii.tally import Tally

Arguments = argparse.Namespace

_MOST_TOLD = 20
_FILES = """\
FILE is .jsonl (also .gz or .zst), .json (an array of objects), .csv, .tsv or .parquet; - is JSONL on standard input.
Without --text-column the column is "text", or else the messages of a chat ("messages", "conversations").
A row that cannot be scanned is told on standard error by its line, never by its text.

exit status: 0 every row was scanned; 2 a mistake in the arguments or the input, or a row that could not be scanned
(all others are written); 130 interrupted"""


def add_commands(actions: Any) -> None:
    """Add ``scan`` and ``mask`` to the sub-commands of ``flywheel pii``."""
    scan = _parser(actions, "scan", "write where personal data stands, one line per row")
    scan.add_argument(
        "--spans",
        required=True,
        metavar="OUT.jsonl",
        help='one {"id", "spans": [{"start", "end", "type", "score"}]} per row, in code points of the text; - for '
        'standard output. In a chat a span also has its "message", from 0',
    )
    scan.add_argument("--id-column", default="id", metavar="NAME", help="default: id; a row without it has its line")
    scan.add_argument("--presidio-names", action="store_true", help="EMAIL_ADDRESS for EMAIL and so on in the spans")
    scan.set_defaults(command=_scan)
    mask = _parser(actions, "mask", "write the rows with personal data replaced")
    mask.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="JSONL (also .gz or .zst) or .json; .csv and .tsv for FILEs of that kind; - for standard output. All "
        "other values stay as they are. Rows that cannot be scanned are not written: OUT.quarantine.jsonl names them",
    )
    mask.add_argument(
        "--all-columns",
        action="store_true",
        help="mask every text value in a row, not only the text column; keys are never masked",
    )
    mask.set_defaults(command=_mask)


def _parser(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=summary, epilog=_FILES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", help="what to read; - for standard input")
    parser.add_argument("--text-column", metavar="NAME", help="where the text is")
    parser.add_argument("--types", nargs="+", metavar="TYPE", help="what to look for, such as EMAIL PHONE; default all")
    parser.add_argument("--min-score", type=float, metavar="0..1", help="leave out what is less sure")
    parser.add_argument("--config", type=Path, metavar="YAML", help="a scan_pii section, or a run config with one")
    parser.add_argument("--level", metavar="NAME", help="security level of the policy: public, internal, confidential")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; default all cores when it pays")
    parser.add_argument("--report", type=Path, metavar="HTML", help="page with counts and masked samples")
    return parser


def _scan(arguments: Arguments) -> int:
    from llm_flywheel.components.scan_pii.files import Task
    from llm_flywheel.components.scan_pii.presidio_names import TO_PRESIDIO

    names = dict(TO_PRESIDIO) if arguments.presidio_names else {}
    task = Task(mask=False, column=arguments.text_column, id_column=arguments.id_column, names=names)
    return _process(arguments, task, arguments.spans)


def _mask(arguments: Arguments) -> int:
    from llm_flywheel.components.scan_pii.files import Task, kind_of

    kind, source = kind_of(arguments.output), kind_of(arguments.file)
    if kind == "parquet" or (kind in ("csv", "tsv") and source not in ("csv", "tsv")):
        raise FlywheelError(
            f"a {source} file is not written as {kind}", where=arguments.output, fix="-o OUT.jsonl", reason="kind"
        )
    column, every = arguments.text_column, arguments.all_columns
    return _process(arguments, Task(mask=True, column=column, all_columns=every, output=kind), arguments.output)


def _config(arguments: Arguments, task: "Task") -> "ScanPiiConfig":
    from llm_flywheel.components.scan_pii.config import ScanPiiConfig

    values = load_yaml(arguments.config) if arguments.config else {}
    section = values.get("scan_pii", values) or {}
    if not isinstance(section, dict):
        raise FlywheelError("scan_pii is not a section", where=str(arguments.config), reason="config")
    given = {key: getattr(arguments, key) for key in ("min_score", "workers", "level")}
    given["types"] = [kind for item in arguments.types for kind in item.split(",")] if arguments.types else None
    given["action"] = "mask" if task.mask else "report_only"
    if not arguments.report:
        given["samples_per_type"] = 0  # nobody would see them
    return bind(
        ScanPiiConfig,
        {**section, **{key: value for key, value in given.items() if value is not None}},
        where=str(arguments.config or "flywheel pii"),
    )


def _process(arguments: Arguments, task: "Task", target: str) -> int:
    from llm_flywheel.components.scan_pii.files import STANDARD, open_source
    from llm_flywheel.components.scan_pii.tally import Tally

    config = _config(arguments, task)
    _refuse_one_file_twice(arguments, target)
    source = open_source(arguments.file, arguments.text_column)
    outcome = _Outcome(Tally(config.samples_per_type))
    stdout = sys.stdout.buffer
    # Where rows go to standard output, progress and table go to the other stream.
    with redirect_stdout(sys.stderr if target == STANDARD else sys.stdout):
        started = time.monotonic()
        _write(config, task, source, target, stdout, outcome)
        _show(arguments, task, source, target, outcome, time.monotonic() - started)
        if arguments.report:
            _report(config, outcome, arguments.report)
    return 2 if outcome.broken else 0


def _refuse_one_file_twice(arguments: Arguments, target: str) -> None:
    from llm_flywheel.components.scan_pii.files import STANDARD, quarantine_of

    files = {"input": Path(arguments.file).expanduser(), "output": Path(target).expanduser()}
    if target != STANDARD and _is_plain(target):
        files["list of broken rows"] = quarantine_of(target)
    if arguments.report:
        files["report"] = arguments.report
    known: dict[str, Path] = {}
    for role, path in files.items():
        if str(path) == STANDARD or not _is_plain(str(path)):
            continue
        for other, taken in known.items():
            if path.resolve() == taken.resolve() or (path.exists() and taken.exists() and path.samefile(taken)):
                raise FlywheelError(
                    f"the {role} is the {other}", where=str(path), fix="give each its own name", reason="same_file"
                )
        known[role] = path


@dataclass
class _Outcome:
    tally: "Tally"
    characters: int = 0
    remaining: "Counter[PiiType]" = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)


def _write(
    config: "ScanPiiConfig", task: "Task", source: "Source", target: str, stdout: IO[bytes], outcome: _Outcome
) -> None:
    from llm_flywheel.components.scan_pii.files import open_rows, process

    with (
        open_rows(target, task.output, stdout) as write,
        _quarantine(source, target) as tell,
        Progress(f"pii {'mask' if task.mask else 'scan'} {source.name}", source.total) as progress,
    ):
        for chunk, done in process(config, task, source):
            write(chunk, done.output)
            outcome.tally.merge(done.tally)
            outcome.characters += done.characters
            outcome.remaining.update(done.remaining)
            for row in done.broken:
                outcome.broken[row.reason] += 1
                tell(row, outcome.broken.total())
            if chunk.position < source.total:
                progress.update(chunk.position)
        if not outcome.tally.rows and not outcome.broken:
            raise FlywheelError("the file holds no rows", where=source.name, reason="no_rows")
        progress.update(max(1, source.total))


@contextmanager
def _quarantine(source: "Source", target: str) -> Iterator[Callable[["Broken", int], None]]:
    """Tell of broken rows: all in a file, of which the first ones, or without a file all, on standard error."""
    from llm_flywheel.components.scan_pii.files import STANDARD, quarantine_of

    path = None if target == STANDARD or not _is_plain(target) else quarantine_of(target)
    if path is not None:
        path.unlink(missing_ok=True)  # of an earlier run
    with ExitStack() as stack:
        file: IO[str] | None = None

        def tell(row: "Broken", number: int) -> None:
            nonlocal file
            if path is None or number <= _MOST_TOLD:
                print(f"{source.name}:{row.line}: {row.reason}: {row.detail}", file=sys.stderr)
            elif number == _MOST_TOLD + 1:
                print(f"{source.name}: more rows like these are in {path}", file=sys.stderr)
            if path is not None:
                file = file or stack.enter_context(path.open("w", encoding="utf-8"))
                file.write(json.dumps({"line": row.line, "reason": row.reason}) + "\n")

        yield tell


def _is_plain(target: str) -> bool:
    return Path(target).is_file() or not Path(target).exists()


def _show(arguments: Arguments, task: "Task", source: "Source", target: str, outcome: _Outcome, seconds: float) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from llm_flywheel.components.scan_pii.files import STANDARD, quarantine_of

    tally = outcome.tally
    console = Console(highlight=False)
    console.print(f"{escape(source.name)}: {tally.rows:,} rows, {tally.rows_found:,} with PII", soft_wrap=True)
    table = Table()
    columns = ["type", "found", "replaced", "remaining"] if task.mask else ["type", "found"]
    for column in columns:
        table.add_column(column, justify="left" if column == "type" else "right")
    for kind, count in [*tally.found.most_common(), ("all", tally.found.total())]:
        total = kind == "all"
        replaced = tally.masked.total() if total else tally.masked[kind]
        remaining = outcome.remaining.total() if total else outcome.remaining[kind]
        cells = [kind, *(f"{number:,}" for number in (count, replaced, remaining))]
        table.add_row(*cells[: len(columns)], style="bold" if total else None)
    console.print(table)
    console.print(
        f"{tally.rows / seconds:,.0f} rows/s, {outcome.characters / seconds / 1e6:,.1f} M characters/s, "
        f"{seconds:,.1f} s"
    )
    if task.mask and not task.all_columns:
        console.print(
            "Only the text column was masked; --all-columns masks every text value of a row. Keys are never masked."
        )
    if target != STANDARD:
        console.print(f"{'rows' if task.mask else 'spans'}: {escape(target)}", soft_wrap=True)
    if arguments.report:
        console.print(f"report: {escape(str(arguments.report))}", soft_wrap=True)
    if outcome.broken:
        reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in outcome.broken.most_common())
        where = "" if target == STANDARD or not _is_plain(target) else f"; listed in {quarantine_of(target)}"
        left_out = "not scanned and not written" if task.mask else "not scanned"
        print(f"flywheel: rows {left_out}: {outcome.broken.total():,} ({reasons}){where}", file=sys.stderr)


def _report(config: "ScanPiiConfig", outcome: _Outcome, path: Path) -> None:
    from llm_flywheel.components.scan_pii.decide import decide
    from llm_flywheel.components.scan_pii.report import report_data, write_report

    remaining = outcome.remaining if config.action == "mask" else outcome.tally.found
    verdict = decide(remaining, config.allowed_types)
    write_report(report_data(config, outcome.tally, remaining, verdict), path)
