from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_flywheel.components.common.dataset import (
    SCHEMA,
    TableWriter,
    read_manifest,
    read_table,
    row_id,
    version_of,
    write_manifest,
    write_table,
)
from llm_flywheel.components.common.errors import FlywheelError

ROW = {
    "id": "x",
    "messages": [{"role": "user", "content": "안녕"}, {"role": "assistant", "content": "hi"}],
    "source": "a.csv",
    "lang": "ko",
    "meta": "{}",
}


def test_equal_conversations_have_equal_ids_and_the_border_between_parts_counts() -> None:
    one = [{"role": "user", "content": "ab"}]
    assert row_id(one) == row_id([{"content": "ab", "role": "user"}])
    assert row_id(one) != row_id([{"role": "usera", "content": "b"}])
    assert row_id(one) != row_id([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    assert len(row_id([{"role": "user", "content": "\ud800"}])) == 32


def test_a_version_depends_on_the_rows_and_not_on_their_order() -> None:
    assert version_of(["b", "a"]) == version_of(["a", "b"]) != version_of(["a", "a", "b"])


def test_a_table_comes_back_as_it_was_written_compressed_with_zstd(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "data.parquet"
    write_table([ROW], path)
    assert read_table(path).to_pylist() == [ROW]
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_an_empty_table_keeps_the_schema(tmp_path: Path) -> None:
    write_table([], tmp_path / "data.parquet")
    assert read_table(tmp_path / "data.parquet").schema.equals(SCHEMA)


def test_what_is_no_dataset_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match="no such dataset table"):
        read_table(tmp_path / "gone.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(FlywheelError, match="not a dataset table"):
        read_table(tmp_path / "text.parquet")
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "columns.parquet")
    with pytest.raises(FlywheelError, match="not a dataset table"):
        read_table(tmp_path / "columns.parquet")


def test_a_manifest_comes_back_and_a_missing_one_is_named(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"parent": "원본", "rows": 3})
    assert read_manifest(tmp_path) == {"parent": "원본", "rows": 3}
    with pytest.raises(FlywheelError, match="manifest"):
        read_manifest(tmp_path / "gone")


def test_rows_are_written_before_they_are_many_or_large(tmp_path: Path) -> None:
    long = ROW | {"messages": [{"role": "user", "content": "x" * 6_000_000}]}
    with TableWriter(tmp_path / "data.parquet", batch_rows=4) as writer:
        for row in [*[long] * 3, *[ROW] * 5]:
            writer.add(row)
    metadata = pq.ParquetFile(tmp_path / "data.parquet").metadata
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [3, 4, 1]


def test_a_manifest_that_cannot_be_written_leaves_the_older_one_alone(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"rows": 3})
    with pytest.raises(TypeError):
        write_manifest(tmp_path, {"rows": 4, ("a", "key"): 1})  # type: ignore[dict-item]
    assert read_manifest(tmp_path) == {"rows": 3}
