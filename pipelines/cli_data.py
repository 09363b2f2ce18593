"""``flywheel data``: the dataset versions of this machine, and what changed between two of them."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.report import show
from llm_flywheel.components.common.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from llm_flywheel.components.common.version_diff import Difference, Example
    from llm_flywheel.components.common.versions import DatasetVersion

Arguments = argparse.Namespace

EQUAL, DIFFERENT = 0, 1
_NAMES = """\
A dataset is named by its folder; by a run's id, folder or name (quickstart: its newest run), with :STEP for another
dataset than the run's last one (quickstart:ingest); or by the first digits of its version."""
_DIFF = f"""\
{_NAMES}
Rows are the same when their content is; changed when they come from the same line of the same source and their content
is not the same. PSI is the population stability index, TVD the total variation distance.

exit status: 0 the datasets are equal; 1 they differ; 2 a mistake in the arguments or the input"""


def add_commands(actions: Any) -> None:
    """Add ``diff`` and ``log`` to the sub-commands of ``flywheel data``."""
    diff = _parser(actions, "diff", "say what changed between two dataset versions", _DIFF)
    diff.add_argument("a", metavar="A", help="the first dataset")
    diff.add_argument("b", metavar="B", help="the second dataset")
    diff.add_argument("--html", type=Path, metavar="FILE", help="page with charts to write")
    diff.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    diff.add_argument("--examples", type=_count, default=3, metavar="N", help="rows to name of each kind; default: 3")
    diff.add_argument("--show-text", action="store_true", help="show the texts of these rows; they may be personal")
    diff.set_defaults(command=_diff)
    log = _parser(actions, "log", "list dataset versions, the newest first", _NAMES)
    log.add_argument(
        "name", nargs="?", metavar="NAME", help="all versions of the runs of this name, or one dataset with its parents"
    )
    log.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    log.set_defaults(command=_log)


def _parser(actions: Any, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=summary, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) > 1_000:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected 0 to 1000")
    return int(text)


def _diff(arguments: Arguments) -> int:
    from llm_flywheel.components.common.version_diff import compare
    from llm_flywheel.components.common.versions import all_versions, find_version

    versions = all_versions(Settings.from_env().home)
    a, b = (find_version(name, versions) for name in (arguments.a, arguments.b))
    with redirect_stdout(sys.stderr):  # progress
        difference = compare(a, b, arguments.examples, arguments.show_text)
    if arguments.html:
        from llm_flywheel.pipelines.data_page import write_page

        write_page(difference, arguments.html)
    if arguments.as_json:
        print(json.dumps(_as_json(difference), ensure_ascii=False, indent=1))
    else:
        _show_difference(difference)
        if arguments.html:
            print(f"report: {arguments.html}")
    return EQUAL if difference.equal else DIFFERENT


def _as_json(difference: "Difference") -> dict[str, Any]:
    counts = ("rows_a", "rows_b", "same", "changed", "added", "removed")
    return {
        "equal": difference.equal,
        "a": difference.a.facts(),
        "b": difference.b.facts(),
        **{name: getattr(difference, name) for name in counts},
        "removed_by_reason": difference.reasons,
        "relabelled": difference.relabelled,
        "moved": [{"from": old, "to": new, "rows": rows} for (old, new), rows in difference.moved.items()],
        "shifts": [
            {**vars(shift), "psi": shift.psi, "tvd": shift.tvd, "verdict": shift.verdict} for shift in difference.shifts
        ],
        "examples": [vars(example) for example in difference.examples],
    }


def _console() -> "Console":
    from rich.console import Console

    # A file or a pipe has no width: rich would cut ids and names at 80 characters.
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)


def _table(console: "Console", header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column, name in enumerate(header):
        numbers = all(isinstance(row[column], int | float) for row in rows)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(show(cell)) for cell in row))
    console.print(table)


def _show_difference(difference: "Difference") -> None:
    console = _console()
    for name, version, rows in (("A", difference.a, difference.rows_a), ("B", difference.b, difference.rows_b)):
        level = f", {version.level}" if version.level else ""
        console.print(f"{name}: {version}, {rows:,} rows{level}", soft_wrap=True)
    if difference.equal:
        console.print("equal: the same rows in the same splits")
        return
    _table(console, ["rows", "number", "why"], row_counts(difference))
    _table(console, SHIFT_HEADER, shift_rows(difference))
    for example in difference.examples:
        for line in example_lines(example):
            console.print(line, soft_wrap=True)


_RELABELLED = {
    "language": "same, of another language",
    "source": "same, of another source",
    "split": "same, but only one of A and B is split",
}


def row_counts(difference: "Difference") -> list[tuple[str, int, str]]:
    """Kinds of rows with their number, and why they were removed where that is known."""
    why = ", ".join(f"{reason} {rows:,}" for reason, rows in difference.reasons.items())
    return [
        ("same in both", difference.same, ""),
        ("changed", difference.changed, ""),
        ("removed: only in A", difference.removed, why),
        ("added: only in B", difference.added, ""),
        *((f"moved from {old} to {new}", rows, "") for (old, new), rows in difference.moved.items()),
        *((_RELABELLED[name], rows, "") for name, rows in difference.relabelled.items()),
    ]


SHIFT_HEADER = ("property", "shift", "PSI", "TVD", "median", "95th percentile")


def shift_rows(difference: "Difference") -> list[tuple[str, str, float, float, str, str]]:
    """Cells under `SHIFT_HEADER`, one row per property."""
    return [
        (shift.name, shift.verdict, shift.psi, shift.tvd, _change(shift.medians), _change(shift.p95))
        for shift in difference.shifts
    ]


def _change(pair: tuple[int, int] | None) -> str:
    return f"{pair[0]:,} → {pair[1]:,}" if pair else ""


def example_lines(example: "Example") -> list[str]:
    """Where a row stands on each side and its id; its text too, where that was asked for."""
    lines = []
    for sign, row in (("-", example.before), ("+", example.after)):
        if row is not None:
            split = f" in {row['split']}" if row["split"] else ""
            told = [f"{example.kind} {row['source']}:{row['line']}{split}, id {row['id']}"]
            told += [f"  {line}" for line in row.get("text", "").splitlines()]
            lines += [f"{sign} {_printable(line)}" for line in told]
    return lines


def _printable(text: str) -> str:
    """The text without what would steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _log(arguments: Arguments) -> int:
    from llm_flywheel.components.common.versions import all_versions, find_version, of_run, with_parents

    home = Settings.from_env().home
    versions = all_versions(home)
    listed = versions
    if arguments.name:
        listed = of_run(arguments.name, versions) or with_parents(find_version(arguments.name, versions), versions)
    if not listed:
        raise FlywheelError("no run on this machine has made a dataset yet", where=str(home), reason="missing")
    if arguments.as_json:
        print(json.dumps([version.facts() for version in listed], ensure_ascii=False, indent=1))
        return 0
    console = _console()
    for version in listed:
        for line in _log_lines(version):
            console.print(line, soft_wrap=True)
    last = listed[-1].parent
    if last and not any(version.version == last for version in listed):
        console.print(f"{last}, the parent of {listed[-1].version}, is not on this machine")
    return 0


def _log_lines(version: "DatasetVersion") -> list[str]:
    dropped = ", ".join(f"{reason} {rows:,}" for reason, rows in version.dropped.items())
    splits = ", ".join(f"{name} {rows:,}" for name, rows in version.splits.items())
    facts = {
        "created": f"{version.created} by {version.made_by} in {version.run_id or '(no run)'}",
        "parent": version.parent or "none",
        "level": version.level or "not classified",
        "rows": f"{version.rows_in:,} in = {version.rows_out:,} out + {version.rows_in - version.rows_out:,} dropped"
        + (f" ({dropped})" if dropped else ""),
        "splits": splits or "none",
        "personal data": _pii(version.pii),
    }
    return [f"{version.version} {version.step}", *(f"  {key:<14} {value}" for key, value in facts.items())]


def _pii(counts: Mapping[str, int]) -> str:
    if not counts:
        return "not scanned"
    return ", ".join(f"{key} {rows:,}" for key, rows in counts.items())
