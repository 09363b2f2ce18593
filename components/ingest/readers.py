"""From a file to numbered records, one reader per kind of file; what cannot be read comes out as `Broken`.

A reader never raises for what is in a file and never passes over anything but blank lines: every row is either a
`Record` or a `Broken`, and a file that cannot be read at all is one `Broken`.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from llm_flywheel.components.ingest.encoding import detect_encoding
from llm_flywheel.components.ingest.files import SourceFile
from llm_flywheel.components.ingest.lines import Lines, LineTooLong

_DELIMITERS = (",", "\t", ";", "|")
_SNIFFED_LINES = 50
# A quoted field may hold line breaks; more of them than this is a quote that was never closed.
_MAX_LINES_PER_ROW = 5_000
_CHUNK_CHARS = 1 << 18


@dataclass(frozen=True)
class Record:
    """One row as column name to value, and the line it starts at (for Parquet: the row's number), from 1."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Broken:
    """A row, or with ``line`` None a whole file, that cannot be read. ``detail`` never holds its text."""

    line: int | None
    reason: str
    detail: str


Item = Record | Broken
KnowsColumns = Callable[[Sequence[str]], bool]


@dataclass
class Opened:
    """A file being read.

    Attributes:
        items: Its rows in order.
        encoding: Codec of a text file, empty for Parquet or when none fits.
    """

    items: Iterator[Item]
    encoding: str = ""


def open_records(file: SourceFile, knows_columns: KnowsColumns, max_chars: int) -> Opened:
    """Start reading a file.

    Args:
        file: What to read.
        knows_columns: Whether a list of column names is one we can use; it decides between CSV delimiters.
        max_chars: Characters a row may have.
    """
    if file.kind == "parquet":
        return Opened(read_parquet(file.path))
    encoding = detect_encoding(file.path)
    if encoding is None:
        return Opened(iter([Broken(None, "encoding", "not UTF-8, UTF-16 or CP949 text")]))
    return Opened(_read_text(file, encoding, knows_columns, max_chars), encoding)


def _read_text(file: SourceFile, encoding: str, knows_columns: KnowsColumns, max_chars: int) -> Iterator[Item]:
    with file.path.open(encoding=encoding, newline="") as stream:
        if file.kind in ("csv", "tsv"):
            yield from read_csv(stream, knows_columns, max_chars, delimiter="\t" if file.kind == "tsv" else None)
        elif file.kind == "jsonl" or _is_json_lines(stream, max_chars):
            yield from read_jsonl(stream, max_chars)
        else:
            yield from read_json(stream, max_chars)


def _is_json_lines(stream: TextIO, max_chars: int) -> bool:
    """Whether a .json file holds one object per line, as many exports do."""
    first = stream.readline(max_chars + 1)
    stream.seek(0)
    try:
        return isinstance(orjson.loads(first), dict)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return False


def read_jsonl(stream: TextIO, max_chars: int) -> Iterator[Item]:
    """One JSON object per line; blank lines are no rows."""
    lines = Lines(stream, max_chars)
    while True:
        number = lines.number
        try:
            line = next(lines).strip()
        except StopIteration:
            return
        except LineTooLong:
            yield Broken(number, "too_large", f"more than {max_chars} characters in one line")
            continue
        if line:
            yield _json_line(line, number)


def _json_line(line: str, number: int) -> Item:
    if "\x00" in line:
        return Broken(number, "nul_byte", "a NUL byte in the line")
    try:
        value = orjson.loads(line)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        return Broken(number, "json", str(getattr(error, "msg", "not JSON")))
    return _record(value, number)


def _record(value: Any, line: int) -> Item:
    if isinstance(value, dict):
        return Record(line, value)
    return Broken(line, "not_an_object", f"a JSON {type(value).__name__}, not an object")


def read_json(stream: TextIO, max_chars: int) -> Iterator[Item]:
    """A JSON array of objects, or objects one after another, in memory one row at a time.

    After an element that is not JSON there is no safe place to go on: the rest of the file is one `Broken`.
    """
    window = _JsonWindow(stream, max_chars)
    in_array = window.take("[")
    needs_comma = False
    while True:
        if in_array and window.take("]"):
            in_array = False
            if window.peek():
                yield Broken(window.line, "json", "text after the end of the array; not read from here on")
            return
        if not window.peek():
            if in_array:
                yield Broken(window.line, "json", "the array is never closed")
            return
        if in_array and needs_comma and not window.take(","):
            yield Broken(window.line, "json", "a comma is missing between elements; not read from here on")
            return
        needs_comma = True
        window.peek()
        line = window.line
        try:
            value = window.value()
        except ValueError as error:
            yield Broken(line, "json", f"{error}; not read from here on")
            return
        yield _record(value, line)


class _JsonWindow:
    """The part of a JSON text that is being parsed."""

    def __init__(self, stream: TextIO, max_chars: int) -> None:
        self._stream = stream
        self._max_chars = max_chars
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._place = 0
        self._ended = False
        self.line = 1

    def peek(self) -> str:
        """The next character that is not white space, or nothing at the end."""
        while True:
            start = self._place
            while self._place < len(self._text) and self._text[self._place] in " \t\r\n":
                self._place += 1
            self.line += self._text.count("\n", start, self._place)
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._fill():
                return ""

    def take(self, character: str) -> bool:
        """Pass over ``character`` if it is the next one."""
        if self.peek() != character:
            return False
        self._place += 1
        return True

    def value(self) -> Any:
        """The next value; raises ValueError with a reason that holds none of the text."""
        while True:
            reason = ""
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                reason = error.msg
            except (RecursionError, ValueError) as error:
                raise ValueError(f"not readable JSON ({type(error).__name__})") from None
            # A number at the very end of the window may go on in the next chunk.
            if not reason and (end < len(self._text) or self._ended):
                self.line += self._text.count("\n", self._place, end)
                self._place = end
                return value
            if len(self._text) - self._place > 2 * self._max_chars:
                raise ValueError(reason or "longer than a row may be")
            if not self._fill() and reason:
                raise ValueError(reason)

    def _fill(self) -> bool:
        # Reading as much again keeps the work linear when one value spans many chunks.
        chunk = self._stream.read(max(_CHUNK_CHARS, len(self._text) - self._place))
        self._text = self._text[self._place :] + chunk
        self._place = 0
        self._ended = not chunk
        return bool(chunk)


def read_csv(
    stream: TextIO, knows_columns: KnowsColumns, max_chars: int, delimiter: str | None = None
) -> Iterator[Item]:
    """A CSV file with a header (RFC 4180); blank lines are no rows.

    Args:
        stream: Opened with ``newline=""``.
        knows_columns: Whether a header is one we can use.
        max_chars: Characters a row may have.
        delimiter: The delimiter, or None to find out.
    """
    lines = Lines(stream, max_chars)
    rows = _csv_rows(lines, delimiter or _sniff(lines, knows_columns), max_chars)
    header: list[str] | None = None
    for row in rows:
        if isinstance(row, Broken):
            if header is None:
                yield Broken(None, "header", f"the header in line {row.line} cannot be read: {row.detail}")
                return
            yield row
            continue
        number, cells = row
        if header is None:
            header = [cell.strip() for cell in cells]
            repeated = sorted({name for name in header if name and header.count(name) > 1})
            if repeated:
                yield Broken(None, "duplicate_columns", f"{len(repeated)} column names stand more than once")
                return
        elif len(cells) != len(header):
            yield Broken(number, "ragged", f"{len(cells)} fields under a header of {len(header)}")
        else:
            yield Record(number, dict(zip(header, cells, strict=True)))


def _csv_rows(lines: Lines, delimiter: str, max_chars: int) -> Iterator[tuple[int, list[str]] | Broken]:
    csv.field_size_limit(max(csv.field_size_limit(), max_chars))
    taken: list[str] = []
    while True:
        reader = csv.reader(_fed(lines, taken, max_chars), delimiter=delimiter, strict=True)
        while True:
            taken.clear()
            start = lines.number
            try:
                cells = next(reader)
            except StopIteration:
                return
            except LineTooLong:
                if not taken:
                    yield Broken(start, "too_large", f"more than {max_chars} characters in one line")
                else:
                    yield Broken(start, "quoting", "a quote is never closed")
                    lines.put_back([*taken[1:], None])
                break
            except csv.Error as error:
                detail = "a quote is never closed" if "unexpected end" in str(error) else "a stray quote"
                yield Broken(start, "quoting", detail)
                lines.put_back(taken[1:])
                break
            if cells:
                yield start, cells


def _fed(lines: Lines, taken: list[str], max_chars: int) -> Iterator[str]:
    size = 0
    for line in lines:
        if not taken:
            size = 0
        taken.append(line)
        size += len(line)
        if len(taken) > _MAX_LINES_PER_ROW or size > 2 * max_chars:
            raise csv.Error("unexpected end of data")
        yield line


def _sniff(lines: Lines, knows_columns: KnowsColumns) -> str:
    """The delimiter under which the header has known columns; else the one that gives most rows the header's width."""
    head = lines.head(_SNIFFED_LINES)
    best, best_score = _DELIMITERS[0], (False, 0.0, 0)
    for delimiter in _DELIMITERS:
        rows = [row for row in csv.reader(head, delimiter=delimiter) if row]
        if not rows:
            continue
        width = len(rows[0])
        even = sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0
        score = (knows_columns([cell.strip() for cell in rows[0]]), even, width)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def read_parquet(path: Path) -> Iterator[Item]:
    """Rows of a Parquet file, a batch at a time."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        yield Broken(None, "parquet", f"not a Parquet file ({type(error).__name__})")
        return
    with file:
        names = file.schema_arrow.names
        if len(set(names)) != len(names):
            yield Broken(None, "duplicate_columns", "column names stand more than once")
            return
        number = 0
        try:
            for batch in file.iter_batches(batch_size=1_000):
                for values in _parquet_rows(batch):
                    number += 1
                    if isinstance(values, dict):
                        yield Record(number, values)
                    else:
                        yield Broken(number, "parquet", values)
        except (pa.ArrowException, OSError) as error:
            yield Broken(number + 1, "parquet", f"not readable from here on ({type(error).__name__})")


def _parquet_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    try:
        yield from batch.to_pylist()
        return
    except (pa.ArrowException, ValueError, OverflowError):
        pass  # one value that Python cannot hold must not cost its neighbours
    for index in range(batch.num_rows):
        try:
            yield batch.slice(index, 1).to_pylist()[0]
        except (pa.ArrowException, ValueError, OverflowError) as error:
            yield f"a value that cannot be read ({type(error).__name__})"
