import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_flywheel.components.common.dataset import QUARANTINE_SCHEMA, read_manifest, read_table, row_id, version_of
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.ingest.config import IngestConfig
from llm_flywheel.components.ingest.ingest import IngestResult, run

REAL = Path(__file__).parents[4] / "shared" / "data"


def ingest(folder: Path, **values: Any) -> IngestResult:
    return run(IngestConfig(**values), folder / "dataset", folder / "quarantine", folder / "ingest.html")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(folder / "dataset" / "data.parquet").to_pylist()
    return rows


def quarantined(folder: Path) -> list[tuple[str, int | None, str]]:
    table = read_table(folder / "quarantine" / "quarantine.parquet", QUARANTINE_SCHEMA)
    return [(Path(row["file"]).name, row["line"], row["reason"]) for row in table.to_pylist()]


def test_files_of_many_kinds_become_one_table_with_ids_sources_and_languages(tmp_path: Path) -> None:
    data = tmp_path / "in"
    data.mkdir()
    (data / "a.csv").write_bytes("question;answer\n카드 분실;신고해 주세요\n".encode("cp949"))
    (data / "b.jsonl").write_text('{"prompt": "hi", "completion": "yo"}\n')
    (data / "c.json").write_text('[{"instruction": "Add.", "input": "1 2", "output": "3"}]')
    chat = [[{"role": "user", "content": "hey"}, {"role": "assistant", "content": "ho"}]]
    pq.write_table(pa.table({"messages": chat}), data / "d.parquet")
    (data / "e.tsv").write_bytes("\ufeffQ\tA\nwho\tme, you\n".encode("utf-16-le"))
    result = ingest(tmp_path, paths=[str(data)])
    rows = rows_of(tmp_path)
    assert [[item["content"] for item in row["messages"]] for row in rows] == [
        ["카드 분실", "신고해 주세요"],
        ["hi", "yo"],
        ["Add.\n\n1 2", "3"],
        ["hey", "ho"],
        ["who", "me, you"],
    ]
    assert [row["lang"] for row in rows] == ["ko", "en", "en", "en", "en"]
    assert [Path(row["source"]).name for row in rows] == ["a.csv", "b.jsonl", "c.json", "d.parquet", "e.tsv"]
    assert rows[1]["id"] == row_id(rows[1]["messages"])
    assert result.version == version_of(row["id"] for row in rows)
    assert [file.encoding for file in result.files] == ["cp949", "utf-8", "utf-8", "", "utf-16"]


def test_broken_rows_go_to_quarantine_with_file_line_and_reason_and_never_their_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"prompt": "hi", "completion": "yo"}\n{"prompt": "hi"}\n{"prompt": 5, "completion": "yo"}\n'
        '{"other": "900101-1234568"}\n{"prompt": "900101-1234568", "completion": " "}\n{broken 900101-1234568\n'
        '{"prompt": "hello", "completion": "yo"}\n'
    )
    (tmp_path / "b.csv").write_bytes(b"question,answer\n\xff\xff\xfe,\x81\n")
    result = ingest(tmp_path, paths=[str(tmp_path / "a.jsonl"), str(tmp_path / "b.csv")], max_quarantine_share=0.9)
    assert quarantined(tmp_path) == [
        ("a.jsonl", 2, "missing_field"),
        ("a.jsonl", 3, "wrong_type"),
        ("a.jsonl", 4, "unknown_columns"),
        ("a.jsonl", 5, "empty_field"),
        ("a.jsonl", 6, "json"),
        ("b.csv", None, "encoding"),
    ]
    assert (result.rows_in, result.rows_out, result.quarantined.total()) == (8, 2, 6)
    details = read_table(tmp_path / "quarantine" / "quarantine.parquet", QUARANTINE_SCHEMA)["detail"].to_pylist()
    assert "900101" not in " ".join(details)


def test_held_out_rows_carry_their_split_and_kept_columns_stay(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(f"text,category,agent\n{name} me,x,kim\n")
    mapping = {"user": "text", "assistant": "category", "system": "Name it."}
    result = ingest(
        tmp_path,
        paths=[str(tmp_path / "train.csv")],
        holdout_paths=[str(tmp_path / "test.csv")],
        mapping=mapping,
        keep_columns=["agent"],
    )
    assert [json.loads(row["meta"]) for row in rows_of(tmp_path)] == [
        {"line": 2, "agent": "kim"},
        {"line": 2, "split": "test", "agent": "kim"},
    ]
    assert result.splits == {"train": 1, "test": 1}


def test_a_mapping_leaves_files_of_a_known_format_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,category\nhi,greeting\n")
    (tmp_path / "b.csv").write_text("Q,A\nwho,me\n")
    ingest(tmp_path, paths=[f"{tmp_path}/*.csv"], mapping={"user": "text", "assistant": "category"})
    assert [row["messages"][1]["content"] for row in rows_of(tmp_path)] == ["greeting", "me"]


def test_plain_texts_become_rows_whatever_the_mapping_is_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,category\nhi,greeting\n")
    (tmp_path / "b.txt").write_text("Once upon\na time\n\nThe end\n")
    paths = [str(tmp_path / "a.csv"), str(tmp_path / "b.txt")]
    ingest(tmp_path, paths=paths, mapping={"user": "text", "assistant": "category"})
    assert [[tuple(item.values()) for item in row["messages"]] for row in rows_of(tmp_path)] == [
        [("user", "hi"), ("assistant", "greeting")],
        [("assistant", "Once upon\na time")],
        [("assistant", "The end")],
    ]


def test_rows_as_long_as_the_limit_are_written_and_longer_ones_are_quarantined(tmp_path: Path) -> None:
    rows = [json.dumps({"prompt": "x" * size, "completion": "y"}) for size in (5_000_000, 9_999_000, 10_000_001, 1)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    pq.write_table(pa.Table.from_pylist([json.loads(row) for row in rows]), tmp_path / "b.parquet")
    ingest(tmp_path, paths=[f"{tmp_path}/a.jsonl", f"{tmp_path}/b.parquet"], max_row_chars=10_000_000)
    assert [len(row["messages"][0]["content"]) for row in rows_of(tmp_path)] == [5_000_000, 9_999_000, 1] * 2
    assert quarantined(tmp_path) == [("a.jsonl", 3, "too_large"), ("b.parquet", 3, "too_large")]


@pytest.mark.parametrize(
    ("text", "values", "reason", "message"),
    [
        ("question,answer\n", {}, "no_rows", "holds no rows"),
        ("question,answer\na\nb\nc,d\n", {}, "too_many_broken_rows", "67% of 3 rows .* allowed are 50%: ragged 2"),
        ("text,label\na,b\n", {"mapping": {"user": "txt", "assistant": "lable"}}, "mapping", "found 'label', 'text'"),
        (
            "user id,kim@example.com\na,b\n",
            {"mapping": {"user": "text", "assistant": "label"}},
            "mapping",
            "found 'user id', 1 more, which may be values of a file without a header",
        ),
        ("text,label\na,b\n", {}, "too_many_broken_rows", "unknown_columns 1"),
    ],
)
def test_unusable_input_fails_with_a_reason(
    tmp_path: Path, text: str, values: dict[str, Any], reason: str, message: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(FlywheelError, match=message) as caught:
        ingest(tmp_path, paths=[str(tmp_path / "a.csv")], **values)
    assert caught.value.reason == reason
    assert not (tmp_path / "dataset" / "manifest.json").exists()


def test_nothing_is_written_when_a_path_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\na,b\n")
    with pytest.raises(FlywheelError, match=r"gone\.csv"):
        ingest(tmp_path, paths=[str(tmp_path / "a.csv"), str(tmp_path / "gone.csv")])
    assert not (tmp_path / "dataset").exists()


def test_a_parquet_file_that_is_none_and_one_with_repeated_columns_are_quarantined_whole(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    pq.write_table(pa.table([["x"], ["y"]], names=["prompt", "prompt"]), tmp_path / "b.parquet")
    pq.write_table(pa.table({"prompt": ["x"], "completion": ["y"]}), tmp_path / "c.parquet")
    ingest(tmp_path, paths=[f"{tmp_path}/*.parquet"], max_quarantine_share=1)
    assert quarantined(tmp_path) == [("a.parquet", None, "parquet"), ("b.parquet", None, "duplicate_columns")]


def test_a_value_that_python_cannot_hold_costs_its_row_only(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"\xff\xffz")]
    )
    pq.write_table(pa.table({"prompt": bad, "completion": ["a", "b"]}), tmp_path / "a.parquet")
    ingest(tmp_path, paths=[str(tmp_path / "a.parquet")])
    assert quarantined(tmp_path) == [("a.parquet", 1, "parquet")]
    assert len(rows_of(tmp_path)) == 1


def test_the_manifest_and_the_report_say_what_was_read(tmp_path: Path) -> None:
    result = ingest(tmp_path, paths=["sample://support-tickets?rows=200&seed=1"])
    manifest = read_manifest(tmp_path / "dataset")
    assert manifest["version"] == result.version
    assert manifest["parent"] is None
    assert sum(file["rows_in"] for file in manifest["files"]) == manifest["rows_in"] == result.rows_in
    assert f"{result.rows_in:,} rows read = {result.rows_out:,} written" in (tmp_path / "ingest.html").read_text()


TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
CELL = TEXT | st.sampled_from(['"', '"a', ",", "\n", "\r", "\x00", "a", "", "\ud800", "안녕"])
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "role", "content", "prompt", "completion", "from", "value", "conversations"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
CSV_BYTES = st.lists(st.lists(CELL, max_size=4), max_size=8).map(
    lambda rows: ("question,answer\n" + "\n".join(",".join(row) for row in rows)).encode("utf-8", "surrogatepass")
)
JSONL_BYTES = st.lists(JSON_VALUE, max_size=6).map(lambda rows: "\n".join(json.dumps(row) for row in rows).encode())
JSON_BYTES = st.lists(JSON_VALUE, max_size=6).map(lambda rows: json.dumps(rows, indent=1).encode())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(
        ["x.csv", "x.tsv", "x.json", "x.jsonl", "x.parquet", "x.txt", "x.jsonl.gz", "x.csv.gz", "x.json.zst"]
    ),
    data=st.binary(max_size=200) | CSV_BYTES | JSONL_BYTES | JSON_BYTES,
    cut=st.integers(0, 50),
    limit=st.sampled_from([100, 10_000]),
)
def test_whatever_a_file_holds_every_row_is_accounted_for(
    tmp_path: Path, name: str, data: bytes, cut: int, limit: int
) -> None:
    good = tmp_path / "good.csv"
    good.write_text("question,answer\nhi,yo\n")
    if name.endswith(".gz"):
        data = gzip.compress(data)
    elif name.endswith(".zst"):
        data = pa.compress(data, codec="zstd", asbytes=True)
    (tmp_path / name).write_bytes(data[: len(data) - cut])
    result = ingest(
        tmp_path, paths=[str(good), str(tmp_path / name)], max_quarantine_share=1, max_row_chars=limit, batch_rows=2
    )
    assert len(rows_of(tmp_path)) == result.rows_out >= 1
    assert len(quarantined(tmp_path)) == result.rows_in - result.rows_out == result.quarantined.total()


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data in {REAL}")
def test_real_files_are_read_to_the_last_row(tmp_path: Path) -> None:
    result = ingest(
        tmp_path,
        paths=[str(REAL / "banking77_train.csv")],
        holdout_paths=[str(REAL / "banking77_test.csv")],
        mapping={"user": "text", "assistant": "category"},
    )
    assert result.splits == {"train": 10_003, "test": 3_080}
    korean = ingest(tmp_path / "ko", paths=[str(REAL / "chatbot_ko.csv")])
    assert korean.languages == {"ko": 11_823}
    assert not result.quarantined
    assert not korean.quarantined
