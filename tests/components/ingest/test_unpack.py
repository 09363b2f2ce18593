import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from llm_flywheel.components.ingest.files import SourceFile
from llm_flywheel.components.ingest.readers import Broken, open_records

ROWS = [b'{"prompt": "question %d", "completion": "%d"}\n' % (number, number * 7919) for number in range(20_000)]


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return packed


def read(path: Path, **options: Any) -> list[Any]:
    opened = open_records(SourceFile(path, path.name, options.pop("kind", "jsonl")), lambda names: True, 1_000)
    return [(item.line, item.reason) if isinstance(item, Broken) else item.line for item in opened.items]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstd)])
def test_a_packed_file_is_read_as_if_it_were_not(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(pack(b"".join(ROWS[:10_000])) + pack(b"".join(ROWS[10_000:])))
    assert read(path) == list(range(1, 20_001))


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstd)])
def test_a_cut_archive_is_read_up_to_the_cut(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    data = pack(b"".join(ROWS))
    path.write_bytes(data[: len(data) // 2])
    *rows, last = read(path)
    assert rows == list(range(1, len(rows) + 1))
    assert 5_000 < len(rows) < 15_000
    assert last == (len(rows) + 1, "damaged")


def test_a_csv_row_that_the_cut_shortens_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    packed = gzip.compress(b"q,a\nhi,yo\nwho,some", compresslevel=0)
    path.write_bytes(packed[:-8])
    assert read(path, kind="csv") == [2, (3, "damaged")]


def test_what_is_no_archive_is_damaged_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b'{"prompt": "hi", "completion": "yo"}\n')
    assert read(path) == [(None, "damaged")]


def test_a_line_that_unpacks_beyond_the_limit_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(ROWS[0] + b"x" * 50_000_000 + b"\n" + ROWS[1]))
    assert read(path) == [1, (2, "too_large"), 3]
