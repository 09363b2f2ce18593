"""From a file to numbered records, one reader per kind of file; what cannot be read comes out as `Broken`.

A reader never raises for what is in a file and never passes over anything but blank lines: every row is either a
`Record` or a `Broken`, and a file that cannot be read at all is one `Broken`.
"""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from llm_flywheel.components.ingest.config import TextRows
from llm_flywheel.components.ingest.encoding import MARK, MARKED, detect_encoding
from llm_flywheel.components.ingest.files import TEXT_COLUMN, Kind, SourceFile
from llm_flywheel.components.ingest.lines import Lines, LineTooLong
from llm_flywheel.components.ingest.unpack import Unpacked, buffered

_DELIMITERS = (",", "\t", ";", "|")
_SNIFFED_LINES = 50
# A quoted field may hold line breaks; more of them than this is a quote that was never closed.
_MAX_LINES_PER_ROW = 5_000
_CHUNK_CHARS = 1 << 18
_PARQUET_ROWS = 1_000
_PARQUET_BYTES = 1 << 25
_NOT_TEXT = "bytes that are no text in the file's encoding"


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
        position: Bytes of the file that have been read so far.
        encoding: Codec of a text file, empty for Parquet or when none fits.
    """

    items: Iterator[Item]
    position: Callable[[], int]
    encoding: str = ""


def open_records(
    file: SourceFile, knows_columns: KnowsColumns, max_chars: int, text_rows: TextRows = "paragraph"
) -> Opened:
    """Start reading a file.

    Args:
        file: What to read; unpacked on the way when its name ends in .gz or .zst.
        knows_columns: Whether a list of column names is one we can use; it decides between CSV delimiters.
        max_chars: Characters a row may have.
        text_rows: What is a row in a plain text.
    """
    stream = Unpacked(file.path)
    if file.kind == "parquet":
        stream.close()
        raw = file.path.open("rb")
        return Opened(read_parquet(raw), lambda: 0 if raw.closed else raw.tell())
    encoding = detect_encoding(file.path)
    if encoding is None:
        stream.close()
        detail = "not UTF-8, UTF-16, CP949 or Windows-1252 text"
        return Opened(iter([Broken(None, "encoding", detail)]), stream.position)
    kind = file.kind
    if kind == "json" and _is_json_lines(file.path, encoding, max_chars):
        kind = "jsonl"
    items = _read_text(_text(stream, encoding), kind, knows_columns, max_chars, text_rows)
    return Opened(_up_to_damage(items, stream), stream.position, encoding)


def _text(stream: Unpacked, encoding: str) -> TextIO:
    return io.TextIOWrapper(buffered(stream), encoding, MARKED, newline="")


def _is_json_lines(path: Path, encoding: str, max_chars: int) -> bool:
    """Whether a .json file holds one object per line, as many exports do."""
    with _text(Unpacked(path), encoding) as stream:
        first = stream.readline(max_chars + 1)
    try:
        return isinstance(orjson.loads(first), dict)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return False


def _read_text(
    stream: TextIO, kind: Kind, knows_columns: KnowsColumns, max_chars: int, text_rows: TextRows
) -> Iterator[Item]:
    with stream:
        if kind in ("csv", "tsv"):
            yield from read_csv(stream, knows_columns, max_chars, delimiter="\t" if kind == "tsv" else None)
        elif kind == "jsonl":
            yield from read_jsonl(stream, max_chars)
        elif kind == "json":
            yield from read_json(stream, max_chars)
        else:
            yield from read_text(stream, max_chars, text_rows)


def _up_to_damage(items: Iterator[Item], stream: Unpacked) -> Iterator[Item]:
    """The items and, where an archive is damaged, a last `Broken` in the place of the row that was cut."""
    last: Item | None = None
    for item in items:
        if last is not None:
            yield last
        last = item
    if last is not None and (not stream.damage or stream.ends_a_line):
        yield last
    if stream.damage:
        line = None if last is None or last.line is None else last.line + stream.ends_a_line
        yield Broken(line, "damaged", f"{stream.damage}; not read from here on")


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
        if MARK in line:
            return Broken(number, "encoding", _NOT_TEXT)
        return Broken(number, "json", str(getattr(error, "msg", "not JSON")))
    return _record(value, number)


def _record(value: Any, line: int) -> Item:
    if isinstance(value, dict):
        return Record(line, value)
    return Broken(line, "not_an_object", f"a JSON {type(value).__name__}, not an object")


def read_json(stream: TextIO, max_chars: int) -> Iterator[Item]:
    """A JSON array of objects, or objects one after another, in memory one row at a time.

    An element that is longer than a row may be is one `Broken`. After one that is not JSON there is no safe place to go
    on: the rest of the file is one `Broken`.
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
        except _TooLong:
            yield Broken(line, "too_large", f"more than {2 * max_chars} characters in one element")
            continue
        except ValueError as error:
            yield Broken(line, "json", f"{error}; not read from here on")
            return
        yield Broken(line, "encoding", _NOT_TEXT) if window.marked else _record(value, line)


class _TooLong(Exception):
    """A value of more characters than a row may have was passed over."""


# What decides where a value ends; an escaped character does not.
_STRUCTURE = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


class _JsonWindow:
    """The part of a JSON text that is being parsed.

    Attributes:
        line: Number of the line that has been reached.
        marked: Whether the last value had bytes that are no text.
    """

    def __init__(self, stream: TextIO, max_chars: int) -> None:
        self._stream = stream
        self._max_chars = max_chars
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._place = 0
        self._ended = False
        self.line = 1
        self.marked = False

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
        """The next value; raises `_TooLong`, or ValueError with a reason that holds none of the text."""
        while True:
            reason, goes_on = "", True
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                reason = error.msg
                goes_on = error.pos > len(self._text) - 16 or reason.startswith("Unterminated string")
            except (RecursionError, ValueError) as error:
                raise ValueError(f"not readable JSON ({type(error).__name__})") from None
            # A number at the very end of the window may go on in the next chunk.
            if not reason and (end < len(self._text) or self._ended):
                self.marked = self._text.find(MARK, self._place, end) >= 0
                self._go_to(end)
                return value
            if len(self._text) - self._place > 2 * self._max_chars:
                if goes_on and self._text[self._place] in '{["' and self._pass_over():
                    raise _TooLong
                raise ValueError(reason or "longer than a row may be")
            if not self._fill() and reason:
                raise ValueError(reason)

    def _pass_over(self) -> bool:
        """Go behind an object, array or string without making it; False when the text ends before."""
        depth, quoted = 0, False
        while True:
            end = self._place
            for match in _STRUCTURE.finditer(self._text, self._place):
                end = match.end()
                if match[0] == '"':
                    quoted = not quoted
                elif len(match[0]) == 1 and not quoted:
                    depth += 1 if match[0] in "[{" else -1
                if depth == 0 and not quoted:
                    self._go_to(end)
                    return True
            # A backslash at the end goes with what comes next.
            self._go_to(max(end, len(self._text) - self._text.endswith("\\")))
            if not self._fill():
                return False

    def _go_to(self, place: int) -> None:
        self.line += self._text.count("\n", self._place, place)
        self._place = place

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
            if any(MARK in line for line in taken if not line.isascii()):
                yield Broken(start, "encoding", _NOT_TEXT)
            elif cells:
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
    csv.field_size_limit(sys.maxsize)
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


def read_text(stream: TextIO, max_chars: int, rows: TextRows) -> Iterator[Item]:
    """A plain text as records with the one column ``text``; what is blank is no row.

    Args:
        stream: Opened with ``newline=""``.
        max_chars: Characters a row may have.
        rows: What is a row: a ``line``, a ``paragraph`` (ends at a blank line) or the whole ``file``.
    """
    lines = Lines(stream, max_chars)
    taken: list[str] = []
    start = size = 0
    while True:
        number = lines.number
        try:
            line: str | None = next(lines, "")
        except LineTooLong:
            line = None
        ends = line == "" or (rows != "file" and line is not None and not line.strip())
        if not ends:
            start = start or number
            size += max_chars + 1 if line is None else len(line)
            if line is not None and size <= max_chars + len(taken):
                taken.append(line.rstrip("\r\n"))
        if start and (ends or rows == "line"):
            yield from _text_row(start, "\n".join(taken).strip(), size > max_chars + len(taken), max_chars)
            taken, start, size = [], 0, 0
        if line == "":
            return


def _text_row(line: int, text: str, too_large: bool, max_chars: int) -> Iterator[Item]:
    if too_large:
        yield Broken(line, "too_large", f"more than {max_chars} characters; ingest.text_rows tells what a row is")
    elif MARK in text:
        yield Broken(line, "encoding", _NOT_TEXT)
    elif text:
        yield Record(line, {TEXT_COLUMN: text})


def read_parquet(stream: IO[bytes]) -> Iterator[Item]:
    """Rows of a Parquet file, a batch at a time; ``stream`` is closed at the end."""
    try:
        with stream, pq.ParquetFile(stream, buffer_size=1 << 20) as file:
            yield from _parquet_items(file)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        yield Broken(None, "parquet", f"not a Parquet file ({type(error).__name__})")


def _parquet_items(file: pq.ParquetFile) -> Iterator[Item]:
    names = file.schema_arrow.names
    if len(set(names)) != len(names):
        yield Broken(None, "duplicate_columns", "column names stand more than once")
        return
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_batch_rows(file.metadata)):
            for values in _parquet_rows(batch):
                number += 1
                if isinstance(values, dict):
                    yield Record(number, values)
                else:
                    yield Broken(number, "parquet", values)
    except (pa.ArrowException, OSError) as error:
        yield Broken(number + 1, "parquet", f"not readable from here on ({type(error).__name__})")


def _batch_rows(metadata: pq.FileMetaData) -> int:
    """Rows that are about 32 MiB, at most 1,000."""
    size: int = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    rows: int = metadata.num_rows
    return max(1, min(_PARQUET_ROWS, _PARQUET_BYTES * rows // max(1, size)))


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
