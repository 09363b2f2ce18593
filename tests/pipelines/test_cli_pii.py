"""``flywheel pii scan`` and ``flywheel pii mask`` on files of every kind, good and broken."""

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_flywheel.pipelines.cli import main

MAIL, PHONE = "minjun@example.com", "010-2345-6789"
TEXT = f"메일 {MAIL}로, 전화 {PHONE}입니다"
TYPES = ["--types", "EMAIL,PHONE", "CREDIT_CARD"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def positions(rows: list[Any]) -> list[Any]:
    return [(row["id"], [(span["start"], span["end"], span["type"]) for span in row["spans"]]) for row in rows]


FOUND = [(3, 21, "EMAIL"), (27, 40, "PHONE")]


def test_scan_writes_one_line_per_row_and_prints_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.jsonl").write_text(f'{{"id": "a", "text": "{TEXT}"}}\n\n{{"text": "nothing"}}\n')
    assert main(["pii", "scan", "in.jsonl", "--spans", "out.jsonl", *TYPES]) == 0
    assert positions(lines("out.jsonl")) == [("a", FOUND), (3, [])]
    assert set(lines("out.jsonl")[0]["spans"][0]) == {"start", "end", "type", "score"}
    printed = capsys.readouterr().out
    assert "in.jsonl: 2 rows, 1 with PII" in printed
    assert "spans: out.jsonl" in printed
    assert "minjun" not in printed


def test_scan_can_use_the_names_of_presidio_and_another_id() -> None:
    Path("in.jsonl").write_text(json.dumps({"key": 7, "text": TEXT}))
    arguments = ["--presidio-names", "--id-column", "key", "--types", "EMAIL_ADDRESS", "PHONE_NUMBER"]
    assert main(["pii", "scan", "in.jsonl", "--spans", "out.jsonl", *arguments]) == 0
    assert positions(lines("out.jsonl")) == [(7, [(3, 21, "EMAIL_ADDRESS"), (27, 40, "PHONE_NUMBER")])]


def test_standard_streams_carry_rows_only(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = json.dumps({"text": TEXT}).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["pii", "scan", "-", "--spans", "-", *TYPES]) == 0
    captured = capsysbinary.readouterr()
    assert positions([json.loads(captured.out)]) == [(1, FOUND)]
    assert b"standard input: 1 rows, 1 with PII" in captured.err


def test_messages_are_scanned_and_masked_one_by_one() -> None:
    parts = [{"type": "text", "text": PHONE}, {"type": "image_url", "image_url": {"url": "x"}}]
    chat = {"messages": [{"role": "user", "content": MAIL}, {"role": "user", "content": parts}, {"content": None}]}
    Path("in.jsonl").write_text(json.dumps(chat))
    assert main(["pii", "scan", "in.jsonl", "--spans", "spans.jsonl", *TYPES]) == 0
    spans = lines("spans.jsonl")[0]["spans"]
    assert [(span["type"], span["message"], span.get("part")) for span in spans] == [
        ("EMAIL", 0, None),
        ("PHONE", 1, 0),
    ]
    assert main(["pii", "mask", "in.jsonl", "-o", "out.jsonl", *TYPES]) == 0
    chat["messages"][0]["content"] = "[EMAIL]"
    parts[0]["text"] = "[PHONE]"
    assert lines("out.jsonl") == [chat]


def test_mask_keeps_every_other_byte() -> None:
    row = '{ "x" : 1.50, "f":1E5 ,"text":\t"%s", "m":{"text":"' + MAIL + '"},"u":"\\uac00\\/", "e":[] }\r\n'
    Path("in.jsonl").write_bytes((row % MAIL).encode() + b'{"text":"b","n":1.0}')
    assert main(["pii", "mask", "in.jsonl", "-o", "out.jsonl", *TYPES]) == 0
    assert Path("out.jsonl").read_bytes() == (row % "[EMAIL]").encode() + b'{"text":"b","n":1.0}\n'


def test_mask_of_all_columns_reaches_every_text() -> None:
    Path("in.jsonl").write_text(f'{{"a": "{MAIL}", "b": [1, {{"c": "{PHONE}"}}], "{MAIL}": 2}}\n')
    assert main(["pii", "mask", "in.jsonl", "-o", "out.jsonl", "--all-columns", *TYPES]) == 0
    assert Path("out.jsonl").read_text() == f'{{"a": "[EMAIL]", "b": [1, {{"c": "[PHONE]"}}], "{MAIL}": 2}}\n'


BROKEN = [
    (b'{"text": "minjun@example.com', "json"),
    (b'{"text": NaN}', "json"),
    (b"[1]", "not_an_object"),
    (b'{"other": "minjun@example.com"}', "missing_column"),
    (b'{"text": 5}', "not_text"),
    (b'{"text": null}', "not_text"),
    (b'{"text": "\xff minjun@example.com"}', "encoding"),
    (b'{"text": "minjun@example.com", "text": "a"}', "repeated_key"),
    (b'{"messages": ["minjun@example.com"]}', "not_text"),
    (b'{"text": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json"),
]


@pytest.mark.parametrize(("line", "reason"), BROKEN)
def test_a_broken_row_costs_nothing_but_itself(line: bytes, reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    good = [json.dumps({"text": MAIL}).encode(), line, json.dumps({"text": PHONE}).encode()]
    Path("in.jsonl").write_bytes(b"\n".join(good))
    assert main(["pii", "mask", "in.jsonl", "-o", "out.jsonl.gz", *TYPES]) == 2
    with gzip.open("out.jsonl.gz", "rt") as file:
        assert file.read() == '{"text": "[EMAIL]"}\n{"text": "[PHONE]"}\n'
    assert lines("out.quarantine.jsonl") == [{"line": 2, "reason": reason}]
    captured = capfd.readouterr()
    assert f"in.jsonl:2: {reason}" in captured.err
    assert "Traceback" not in captured.err
    assert "minjun" not in captured.err + captured.out
    assert main(["pii", "scan", "in.jsonl", "--spans", "spans.jsonl", *TYPES]) == 2
    assert [row["id"] for row in lines("spans.jsonl")] == [1, 3]


def test_a_later_run_without_broken_rows_leaves_no_quarantine() -> None:
    Path("in.jsonl").write_text('{"text": "a"}\n{"text": 1}\n')
    assert main(["pii", "mask", "in.jsonl", "-o", "out.jsonl"]) == 2
    Path("in.jsonl").write_text('{"text": "a"}\n')
    assert main(["pii", "mask", "in.jsonl", "-o", "out.jsonl"]) == 0
    assert not Path("out.quarantine.jsonl").exists()


def test_lone_surrogates_stay_valid_json() -> None:
    Path("in.jsonl").write_text(f'{{"id": "\\udc00", "text": "\\ud800 {MAIL}"}}\n')
    assert main(["pii", "mask", "in.jsonl", "-o", "out.jsonl", *TYPES]) == 0
    assert lines("out.jsonl") == [{"id": "\udc00", "text": "\ud800 [EMAIL]"}]
    assert main(["pii", "scan", "in.jsonl", "--spans", "spans.jsonl", *TYPES]) == 0
    assert positions(lines("spans.jsonl")) == [("\udc00", [(2, 20, "EMAIL")])]


@pytest.mark.parametrize("suffix", ["json", "csv", "tsv", "parquet", "jsonl.gz", "jsonl.zst"])
def test_other_kinds_of_file_are_read(suffix: str) -> None:
    rows, name = [{"id": "a", "q": TEXT}, {"id": "b", "q": "x"}], f"in.{suffix}"
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if suffix == "json":
        Path(name).write_text(json.dumps(rows, indent=1))
    elif suffix in ("csv", "tsv"):
        sign = "," if suffix == "csv" else "\t"
        Path(name).write_text(f'id{sign}q\r\na{sign}"{TEXT}"\r\nb{sign}x\r\n')
    elif suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), name)
    elif suffix == "jsonl.gz":
        Path(name).write_bytes(gzip.compress(data))
    else:
        with pa.CompressedOutputStream(name, "zstd") as file:
            file.write(data)
    assert main(["pii", "scan", name, "--spans", "spans.jsonl", "--text-column", "q", *TYPES]) == 0
    assert positions(lines("spans.jsonl")) == [("a", FOUND), ("b", [])]
    assert main(["pii", "mask", name, "-o", "out.jsonl", "--text-column", "q", *TYPES]) == 0
    assert lines("out.jsonl") == [{"id": "a", "q": "메일 [EMAIL]로, 전화 [PHONE]입니다"}, {"id": "b", "q": "x"}]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp949"])
def test_other_encodings_are_read(encoding: str) -> None:
    Path("in.jsonl").write_text(f'{{"text": "{TEXT}"}}\n{{"text": "가나다"}}\n', encoding=encoding)
    assert main(["pii", "scan", "in.jsonl", "--spans", "spans.jsonl", *TYPES]) == 0
    assert positions(lines("spans.jsonl")) == [(1, FOUND), (2, [])]


def test_mask_writes_the_kind_that_the_name_says() -> None:
    Path("in.csv").write_text(f'Q,A\n"{MAIL}, ""x""",1\n')
    assert main(["pii", "mask", "in.csv", "-o", "out.csv", "--text-column", "Q", *TYPES]) == 0
    assert Path("out.csv").read_text() == 'Q,A\n"[EMAIL], ""x""",1\n'
    assert main(["pii", "mask", "in.csv", "-o", "out.json", "--text-column", "Q", *TYPES]) == 0
    assert json.loads(Path("out.json").read_text()) == [{"Q": '[EMAIL], "x"', "A": "1"}]


@pytest.mark.parametrize("workers", ["0", "1", "2"])
def test_order_and_counts_do_not_depend_on_the_workers(workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Path("in.jsonl").open("w") as file:
        for number in range(9_000):
            file.write(json.dumps({"id": number, "text": f"{MAIL} " + "x" * 500}) + "\n")
    arguments = ["--workers", workers, "--types", "EMAIL", "--report", "report.html"]
    assert main(["pii", "scan", "in.jsonl", "--spans", "out.jsonl", *arguments]) == 0
    assert positions(lines("out.jsonl")) == [(number, [(0, 18, "EMAIL")]) for number in range(9_000)]
    assert "9,000 rows, 9,000 with PII" in capsys.readouterr().out
    assert "minjun" not in Path("report.html").read_text()


def test_a_config_file_or_its_section_sets_what_is_looked_for() -> None:
    Path("in.jsonl").write_text(json.dumps({"text": TEXT}))
    for text in ("types: [EMAIL]", "scan_pii: {types: [EMAIL]}"):
        Path("pii.yaml").write_text(text)
        assert main(["pii", "mask", "in.jsonl", "-o", "out.jsonl", "--config", "pii.yaml"]) == 0
        assert lines("out.jsonl") == [{"text": f"메일 [EMAIL]로, 전화 {PHONE}입니다"}]


def test_damaged_compression_is_told_and_not_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    data = "".join(json.dumps({"text": f"{number} {MAIL}"}) + "\n" for number in range(50_000)).encode()
    Path("in.jsonl.gz").write_bytes(gzip.compress(data)[:-50_000])
    assert main(["pii", "scan", "in.jsonl.gz", "--spans", "out.jsonl", "--types", "EMAIL"]) == 2
    line = lines("out.quarantine.jsonl")[0]["line"]
    assert [row["id"] for row in lines("out.jsonl")] == list(range(1, line))
    assert f"in.jsonl.gz:{line}: damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan", "gone.jsonl", "--spans", "o.jsonl"], "gone.jsonl: no such file"),
        (["scan", ".", "--spans", "o.jsonl"], "a folder, not a file"),
        (["scan", "empty.jsonl", "--spans", "o.jsonl"], "the file holds no rows"),
        (["scan", "empty.csv", "--spans", "o.jsonl"], "the file holds no rows"),
        (["scan", "in.jsonl", "--spans", "o.jsonl", "--text-column", "q"], "no column 'q'; found 'text', 'id'\n"),
        (["scan", "in.jsonl", "--spans", "o.jsonl", "--types", "EMIAL"], "did you mean 'EMAIL'?"),
        (["scan", "in.jsonl", "--spans", "o.jsonl", "--min-score", "2"], "min_score"),
        (["scan", "in.jsonl", "--spans", "o.jsonl", "--config", "gone.yaml"], "gone.yaml: no such config file"),
        (["scan", "no.parquet", "--spans", "o.jsonl"], "not a Parquet file"),
        (["scan", "in.txt", "--spans", "o.jsonl"], "unknown kind of file"),
        (["scan", "in.jsonl", "--spans", "o.jsonl", "--report", "./in.jsonl"], "the report is the input"),
        (["scan", "in.jsonl", "--spans", "o.jsonl", "--report", "o.jsonl"], "the report is the output"),
        (["mask", "in.jsonl", "-o", "in.jsonl"], "the output is the input"),
        (["mask", "in.jsonl", "-o", "o.csv"], "a jsonl file is not written as csv"),
        (["mask", "in.jsonl", "-o", "o.parquet"], "a jsonl file is not written as parquet"),
    ],
)
def test_a_mistake_is_one_message_and_no_output(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in.jsonl").write_text(f'{{"text": "a", "id": 1, "{MAIL}": 2}}\n')
    for name in ("empty.jsonl", "empty.csv", "in.txt"):
        Path(name).touch()
    Path("no.parquet").write_text("x")
    assert main(["pii", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("flywheel: ")
    assert "minjun" not in captured.err
    assert not list(Path.cwd().glob("o.*"))


def test_the_list_of_broken_rows_does_not_delete_the_input(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out.quarantine.jsonl").write_text('{"text": "a"}\n')
    assert main(["pii", "scan", "out.quarantine.jsonl", "--spans", "out.jsonl"]) == 2
    assert "out.quarantine.jsonl: the list of broken rows is the input" in capsys.readouterr().err
    assert Path("out.quarantine.jsonl").read_text() == '{"text": "a"}\n'


def test_devices_may_be_named_twice() -> None:
    Path("in.jsonl").write_text('{"text": "a"}\n')
    assert main(["pii", "scan", "in.jsonl", "--spans", "/dev/null", "--report", "/dev/null"]) == 0


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("900101-1234568,Jane Doe,ok", "'ok'"),
        ("user_name,Q1,고객 질문,2024,E-123456,a.b", "'user_name', 'Q1', '고객 질문'"),
        ("900101-1234568", "none that may be shown"),
    ],
)
def test_a_missing_column_shows_only_names_of_columns(
    header: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("h.csv").write_text(header + "\n" + ",".join("1" for _ in header.split(",")) + "\n")
    assert main(["pii", "scan", "h.csv", "--types", "EMAIL", "--spans", "o.jsonl"]) == 2
    told = f"h.csv: no column 'text' or 'messages' or 'conversations'; found {shown}\n"
    assert told in capsys.readouterr().err


def test_it_is_said_that_keys_are_never_masked(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.jsonl").write_text('{"text": "a"}\n')
    assert main(["pii", "mask", "in.jsonl", "-o", "out.jsonl"]) == 0
    assert "Keys are never masked." in " ".join(capsys.readouterr().out.split())
