"""A user's file of any kind, scanned or masked row by row on all cores, in constant memory."""

import codecs
import csv
import functools
import gzip
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.ingest.encoding import detect_encoding
from llm_flywheel.components.ingest.files import KINDS, FileKind, SourceFile
from llm_flywheel.components.ingest.readers import Broken, Item, Record, open_records
from llm_flywheel.components.scan_pii.columns import is_name
from llm_flywheel.components.scan_pii.config import ScanPiiConfig
from llm_flywheel.components.scan_pii.parallel import ordered
from llm_flywheel.components.scan_pii.records import (
    CHATS,
    TEXT_COLUMN,
    Find,
    Texts,
    Unscannable,
    all_texts,
    dump,
    find,
    parse,
    spans_line,
    texts_of,
    with_texts,
)
from llm_flywheel.components.scan_pii.scan_pii import engine
from llm_flywheel.components.scan_pii.spans import PiiType
from llm_flywheel.components.scan_pii.tally import Tally

STANDARD = "-"
_COMPRESSED = (".gz", ".zst")
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_CHUNK_BYTES = 1 << 19
_CHUNK_ROWS = 500
_LONGEST_LINE = 256 << 20
_SHOWN_COLUMNS = 8


@dataclass(frozen=True)
class Task:
    """What to do with every row.

    Attributes:
        mask: Write the row masked; else write its spans.
        column: The text column; None for ``text``, or else the messages of a chat.
        id_column: Where a row's id is; its line where there is none.
        all_columns: Look into every string value.
        names: Other names for types in the spans.
        output: How the rows are written.
    """

    mask: bool
    column: str | None = None
    id_column: str = "id"
    all_columns: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    output: FileKind = "jsonl"


class Chunk(NamedTuple):
    """A piece of a file.

    Attributes:
        rows: Whole lines of JSON, or rows that a reader of another kind of file made of it.
        line: The number of the first line.
        position: How far into the file it reaches, in the unit of `Source.total`.
    """

    rows: bytes | list[Item]
    line: int
    position: int


@dataclass
class Source:
    """A file being read.

    Attributes:
        name: What messages call it.
        kind: How its bytes are laid out.
        chunks: Its content in order.
        total: Its length, in bytes, lines or rows; 0 when nobody knows.
    """

    name: str
    kind: FileKind
    chunks: Iterator[Chunk]
    total: int = 0


@dataclass
class Done:
    """What became of a chunk.

    Attributes:
        tally: Counts of the rows that were scanned.
        output: What to write.
        characters: Code points scanned.
        remaining: Spans by type that a second scan found in the masked texts.
        broken: Rows that could not be scanned.
        columns: Some columns of a row that has not the wanted one.
    """

    tally: Tally
    output: bytes = b""
    characters: int = 0
    remaining: Counter[PiiType] = field(default_factory=Counter)
    broken: list[Broken] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


def process(config: ScanPiiConfig, task: Task, source: Source) -> Iterator[tuple[Chunk, Done]]:
    """Do a task on every chunk of a file.

    Args:
        config: Types, operators, workers.
        task: What to do.
        source: From `open_source`.

    Yields:
        The chunks in their order with what became of them.

    Raises:
        FlywheelError: The file as a whole cannot be read, a worker failed, or the file begins with 500 rows or half a
            megabyte without a text column.
    """
    make = functools.partial(_Worker, config, task, source.name)
    for number, (chunk, done) in enumerate(ordered(make, source.chunks, config.workers)):
        if number == 0 and done.broken and not done.tally.rows:
            _refuse_missing_column(done, task, source.name)
        yield chunk, done


def _refuse_missing_column(done: Done, task: Task, name: str) -> None:
    if all(row.reason == "missing_column" for row in done.broken):
        wanted = repr(task.column) if task.column else " or ".join(map(repr, (TEXT_COLUMN, *CHATS)))
        raise FlywheelError(
            f"no column {wanted}; found {', '.join(map(repr, done.columns)) or 'none that may be shown'}",
            where=name,
            fix="--text-column NAME",
            reason="missing_column",
        )


class _Row(NamedTuple):
    number: int
    identity: Any
    line: Callable[[], str]
    texts: Texts


class _Worker:
    """Scans or masks chunks; rules are compiled once."""

    def __init__(self, config: ScanPiiConfig, task: Task, name: str) -> None:
        self._scanner, self._masker = engine(config)
        self._task, self._name, self._samples = task, name, config.samples_per_type

    def __call__(self, chunk: Chunk) -> Done:
        done = Done(Tally(self._samples))
        rows: list[_Row] = []
        lines: list[str] = []
        for number, row in _rows(chunk):
            try:
                rows.append(self._read(number, row, done))
            except Unscannable as error:
                done.broken.append(Broken(number, error.reason, error.detail))
        found = find([row.texts for row in rows], self._scanner)
        for ready, finds in zip(rows, found, strict=True):
            try:
                lines.append(self._written(ready, finds, done))
            except Unscannable as error:
                done.broken.append(Broken(ready.number, error.reason, error.detail))
        done.output = _joined(lines, self._task.output)
        return done

    def _read(self, number: int, row: bytes | Item, done: Done) -> _Row:
        values, line = _values(row)
        try:
            texts = all_texts(line()) if self._task.all_columns else texts_of(values, self._task.column)
        except Unscannable:
            done.columns = done.columns or _showable(values)
            raise
        identity = values.get(self._task.id_column)
        return _Row(number, number if identity is None else identity, line, texts)

    def _written(self, row: _Row, finds: Sequence[Find], done: Done) -> str:
        tally = done.tally
        if self._task.mask:
            new = self._masked(finds, done)
            tally.rows_changed += bool(new)
            written = with_texts(row.line(), new)
        else:
            written = spans_line(row.identity, finds, self._task.names)
        tally.rows += 1
        tally.rows_found += bool(finds)
        for item in finds:
            tally.add(item.text, item.spans, self._name, str(row.number))
        done.characters += sum(map(len, row.texts.values()))
        return written

    def _masked(self, finds: Sequence[Find], done: Done) -> Texts:
        if self._masker is None:
            return {}
        new: Texts = {}
        for item in finds:
            result = self._masker.mask(item.text, list(item.spans))
            done.tally.masked.update(result.counts)
            done.remaining.update(span.type for span in result.left)
            if result.text != item.text:
                new[item.path] = result.text
        return new


def _showable(values: Mapping[str, Any]) -> list[str]:
    """Some names of columns; in a file without a header they are the values of its first row."""
    return [key for key in islice(values, _SHOWN_COLUMNS) if is_name(key)]


def _rows(chunk: Chunk) -> Iterator[tuple[int, bytes | Item]]:
    if isinstance(chunk.rows, bytes):
        for number, line in enumerate(chunk.rows.split(b"\n"), chunk.line):
            if line.strip():
                yield number, line
    else:
        for item in chunk.rows:
            yield item.line or 0, item


def _values(row: bytes | Item) -> tuple[dict[str, Any], Callable[[], str]]:
    """A row's values, and its line of JSON when that is needed."""
    if isinstance(row, bytes):
        if len(row) > _LONGEST_LINE:
            raise Unscannable("too_large", f"more than {_LONGEST_LINE >> 20} MiB in one line")
        return parse(row), row.decode
    if isinstance(row, Broken):
        raise Unscannable(row.reason, row.detail)
    return row.values, functools.partial(dump, row.values)


def _joined(lines: Sequence[str], kind: FileKind) -> bytes:
    if kind in _DELIMITERS:
        return _delimited((json.loads(line).values() for line in lines), kind)
    return "".join(f"{line}\n" for line in lines).encode()


def _delimited(rows: Iterable[Iterable[str]], kind: FileKind) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=_DELIMITERS[kind], lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def quarantine_of(name: str) -> Path:
    """Where the rows are told that could not be scanned: ``out.quarantine.jsonl`` beside ``out.jsonl.gz``."""
    path = Path(name).expanduser()
    for known in (_COMPRESSED, KINDS):
        path = path.with_suffix("") if path.suffix.lower() in known else path
    return path.with_name(path.name + ".quarantine.jsonl")


def open_source(name: str, column: str | None) -> Source:
    """Start reading a file.

    Args:
        name: A path, or ``-`` for lines of JSON on standard input.
        column: The text column, by which the delimiter of a CSV file is told.

    Raises:
        FlywheelError: There is no such file, or its kind is not known.
    """
    if name == STANDARD:
        return Source("standard input", "jsonl", _line_chunks(sys.stdin.buffer, lambda: 0))
    path = Path(name).expanduser()
    if path.is_dir() or not path.exists():
        what = "a folder, not a file" if path.is_dir() else "no such file"
        raise FlywheelError(what, where=name, reason="missing")
    kind = kind_of(name)
    if kind == "jsonl":
        return _json_lines(path, name)
    if path.suffix.lower() in _COMPRESSED:
        raise FlywheelError("only lines of JSON are read compressed", where=name, fix="unpack it", reason="kind")
    wanted = {column} if column else {TEXT_COLUMN, *CHATS}
    items = open_records(SourceFile(path, name, kind), lambda found: not wanted.isdisjoint(found), _LONGEST_LINE).items
    return Source(name, kind, _record_chunks(items, name), _length(path, kind))


def kind_of(name: str) -> FileKind:
    """The kind of file that a name's suffix tells; compression does not count, and pipes hold lines of JSON.

    Raises:
        FlywheelError: It is none that we know.
    """
    path = Path(name).expanduser()
    if name == STANDARD or (path.exists() and not path.is_file()):
        return "jsonl"
    suffix = path.suffix.lower()
    if suffix in _COMPRESSED:
        suffix = Path(path.stem).suffix.lower() or ".jsonl"
    if suffix not in KINDS:
        known = ", ".join([*KINDS, *(f".jsonl{suffix}" for suffix in _COMPRESSED)])
        raise FlywheelError(f"unknown kind of file; known are {known}", where=name, reason="kind")
    return KINDS[suffix]


def _json_lines(path: Path, name: str) -> Source:
    raw = path.open("rb")
    suffix = path.suffix.lower()
    stream: Any = raw
    if suffix == ".gz":
        stream = gzip.GzipFile(fileobj=raw)
    elif suffix == ".zst":
        import pyarrow as pa

        stream = io.BufferedReader(pa.CompressedInputStream(raw, "zstd"))
    elif path.is_file():
        # What is neither UTF-8 as a whole nor another encoding is UTF-8 with broken lines.
        encoding = detect_encoding(path) or "utf-8"
        if not encoding.startswith("utf-8"):
            # A byte that is wrong there becomes \xNN, which is no JSON: the row is told, not changed.
            stream = codecs.EncodedFile(raw, "utf-8", encoding, "backslashreplace")
    total = path.stat().st_size if path.is_file() else 0
    return Source(name, "jsonl", _closing(raw, _line_chunks(stream, raw.tell if total else lambda: 0)), total)


def _closing(file: IO[bytes], chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    with file:
        yield from chunks


def _line_chunks(stream: IO[bytes], tell: Callable[[], int]) -> Iterator[Chunk]:
    line = 1
    try:
        while data := stream.read(_CHUNK_BYTES):
            if not data.endswith(b"\n"):
                data += stream.readline(_LONGEST_LINE)
                part = data
                while not part.endswith(b"\n") and (part := stream.readline(_CHUNK_BYTES)):
                    pass  # the rest of a line that is too long
            if line == 1:
                data = data.removeprefix(codecs.BOM_UTF8)
            yield Chunk(data, line, tell())
            line += data.count(b"\n") or 1
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        yield Chunk([Broken(line, "damaged", "damaged compressed data; not read from here on")], line, tell())


def _length(path: Path, kind: FileKind) -> int:
    """What the numbers of a file's records go up to."""
    if kind != "parquet":
        with path.open("rb") as file:
            return sum(part.count(b"\n") for part in iter(lambda: file.read(_CHUNK_BYTES), b""))
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: int = pq.read_metadata(path).num_rows
        return rows
    except (pa.ArrowException, OSError):
        return 0  # the reader says what is wrong


def _record_chunks(items: Iterator[Item], name: str) -> Iterator[Chunk]:
    while batch := list(islice(items, _CHUNK_ROWS)):
        for item in batch:
            if item.line is None:
                assert isinstance(item, Broken)
                raise FlywheelError(item.detail, where=name, reason=item.reason)
        yield Chunk(batch, batch[0].line or 0, batch[-1].line or 0)


@contextmanager
def open_rows(name: str, kind: FileKind, stdout: IO[bytes]) -> Iterator[Callable[[Chunk, bytes], None]]:
    """A file for rows, compressed as its suffix says; it appears when all of it has been written.

    Args:
        name: A path, or ``-`` for standard output.
        kind: The kind of its content: ``jsonl``, ``json``, ``csv`` or ``tsv``.
        stdout: What ``-`` stands for.

    Yields:
        Takes a chunk and the lines to write for it.
    """
    with _open(name, stdout) as file:
        begun = False

        def write(chunk: Chunk, lines: bytes) -> None:
            nonlocal begun
            if not lines:
                return
            if kind == "json":
                lines = (b",\n" if begun else b"[\n") + lines.rstrip(b"\n").replace(b"\n", b",\n")
            elif kind in _DELIMITERS and not begun:
                header = next(list(item.values) for item in chunk.rows if isinstance(item, Record))
                lines = _delimited([header], kind) + lines
            begun = True
            file.write(lines)

        yield write
        if kind == "json":
            file.write(b"\n]\n" if begun else b"[]\n")


@contextmanager
def _open(name: str, stdout: IO[bytes]) -> Iterator[IO[bytes]]:
    path = Path(name).expanduser()
    if name == STANDARD:
        yield stdout
        stdout.flush()
        return
    if path.exists() and not path.is_file():
        with path.open("wb") as pipe:
            yield pipe
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with _compressing(partial, path.suffix.lower()) as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _compressing(path: Path, suffix: str) -> Any:
    if suffix == ".gz":
        return gzip.open(path, "wb", compresslevel=6)
    if suffix == ".zst":
        import pyarrow as pa

        return pa.CompressedOutputStream(path.open("wb"), "zstd")
    return path.open("wb")
