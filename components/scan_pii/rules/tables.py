"""Tables in a text (CSV, TSV, Markdown, psql): the label of a value stands in the first row, not beside it.

Each cell is read with the header of its column, as `fields.read` says.
"""

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from llm_flywheel.components.scan_pii.rules import fields
from llm_flywheel.components.scan_pii.spans import Span

# A name, or nothing as above the row numbers of pandas.
_LABEL = r"""[ ]*+(?:["']?[#*]?[ ]?[\w가-힣][\w ./()#*:?&%'-]{0,39}+["']?+[ ]*+)?"""
_HEADER = re.compile(rf"\|?{_LABEL}(?P<sign>[,;\t|])(?:{_LABEL}(?P=sign)){{0,100}}{_LABEL}(?=\r?\n)")
_NEXT_HEADER = re.compile("\n" + _HEADER.pattern)
_NUMBER = re.compile("[0-9]{3}")
_RULER = re.compile(r"[-+:| ]{3,}")
_CELL = {sign: re.compile(rf'[ ]*(?:"(?P<quoted>[^"]*)"[ ]*|(?P<bare>[^{sign}]*))(?:[{sign}]|\Z)') for sign in ",;\t|"}
_LONGEST_ROW = 4_096

Row = list[tuple[int, str]]
"""Where each cell begins, and what is in it."""


def find(text: str) -> Iterator[Span]:
    """Yield what the header of its column gives away, and as `NOTHING` the numbers that it explains.

    Args:
        text: Folded text.
    """
    for table in _tables(text):
        for row in table.rows:
            # The last row of a text that still goes on may be a part of one.
            for (start, cell), label in zip(row, table.labels, strict=False):
                yield from fields.read(label, start, cell)


def open_at(text: str, at: int) -> tuple[str, int]:
    """The first row of the table that goes on at the end of a text, and where the line begins that ``at`` lies in.

    Args:
        text: Folded text.
        at: A position in it.

    Returns:
        The row with its line break, empty when no table goes on or it stands behind ``at``; and the position.
    """
    for table in _tables(text):
        header = table.header
        if header.start() < at and text.find("\n", table.end + 1) < 0:
            row = text.rfind("\n", max(0, at - _LONGEST_ROW), at) + 1 or at
            return header.group().lstrip("\n") + "\n", max(row, text.find("\n", header.end()) + 1)
    return "", at


class _Table(NamedTuple):
    """A table: its first row, the labels in it, the rows below, and where the last one ends."""

    header: re.Match[str]
    labels: list[str]
    rows: list[Row]
    end: int


def _tables(text: str) -> Iterator[_Table]:
    """Tables with a label in their first row."""
    header = _HEADER.match(text) or _NEXT_HEADER.search(text)
    while header:
        end = header.end()
        labels = [label for _, label in _cells(header.group(), 0, header["sign"])]
        if not _NUMBER.search(header.group()) and any(map(fields.is_label, labels)):
            rows, end = _rows(text, header, len(labels))
            yield _Table(header, labels, rows, end)
        header = _NEXT_HEADER.search(text, end)


def _rows(text: str, header: re.Match[str], wanted: int) -> tuple[list[Row], int]:
    """The rows below the header that have ``wanted`` cells, and where the last one ends; a ruler has no cells."""
    sign, end = header["sign"], header.end()
    rows: list[Row] = []
    while (start := text.find("\n", end) + 1) > 0:
        stop = text.find("\n", start)
        if stop < 0:
            stop = len(text)
        line = text[start : min(stop, start + _LONGEST_ROW)]
        cells = [] if _RULER.fullmatch(line) or not line.strip() else _cells(line, start, sign)
        if cells and len(cells) != wanted and not (stop == len(text) and 1 < len(cells) < wanted):
            break
        rows.append(cells)
        end = stop
    return rows, end


def _cells(line: str, start: int, sign: str) -> Row:
    """The cells of a line that begins at ``start``, without the blanks around them."""
    if sign == "|":
        bare = line.strip("\n\r ")
        line = " " * line.find(bare) + bare.removesuffix("|")
        if bare[:1] == "|":
            line = line.replace("|", " ", 1)
    if '"' in line:
        cells = _quoted(line, sign)
    else:
        parts = line.split(sign)
        cells = list(zip(accumulate((len(part) + 1 for part in parts), initial=0), parts, strict=False))
    return [(start + at + len(cell) - len(cell.lstrip()), cell.strip()) for at, cell in cells]


def _quoted(line: str, sign: str) -> Row:
    cells = []
    match = _CELL[sign].match(line)
    while match:
        group = match.lastgroup or ""
        cells.append((match.start(group), match[group]))
        match = _CELL[sign].match(line, match.end()) if match.end() < len(line) or match[0].endswith(sign) else None
    return cells
