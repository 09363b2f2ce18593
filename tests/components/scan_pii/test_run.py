"""The step from a dataset folder to a masked one, its manifest, report and verdict."""

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llm_flywheel.components.common.dataset import SCHEMA, row_id, version_of, write_manifest, write_table
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.config import ScanPiiConfig
from llm_flywheel.components.scan_pii.scan_pii import ScanResult, run

MAIL, PHONE, CARD = "minjun.kim@example.co.kr", "010-2468-1357", "4111 1111 1111 1111"


def row(user: str, assistant: str = "Thank you.", source: str = "a.csv", meta: str = '{"line": 2}') -> dict[str, Any]:
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return {"id": row_id(messages), "messages": messages, "source": source, "lang": "ko", "meta": meta}


ROWS = [
    row("배터리가 얼마나 가나요?"),
    row(f"김철수입니다. 이메일은 {MAIL}이고 연락처는 {PHONE}입니다.", f"{MAIL}로 보냈습니다."),
    row(f"I paid with {CARD}.", source="b.jsonl", meta=json.dumps({"line": 1, "from": MAIL, "split": "test"})),
]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    write_table(ROWS, folder / "data.parquet")
    write_manifest(folder, {"version": "0123456789abcdef", "rows_in": 5, "quarantined": {"empty": 2}, "files": []})
    return folder


def scan(dataset: Path, **settings: Any) -> tuple[ScanResult, list[dict[str, Any]], dict[str, Any], str]:
    masked, report = dataset.parent / "masked", dataset.parent / "report.html"
    result = run(ScanPiiConfig(**settings), dataset, masked, report)
    table = pq.read_table(masked / "data.parquet")
    assert table.schema.equals(SCHEMA)
    manifest = json.loads((masked / "manifest.json").read_text())
    return result, table.to_pylist(), manifest, report.read_text()


def test_personal_data_is_replaced_and_the_id_follows(dataset: Path) -> None:
    result, rows, _, _ = scan(dataset)
    assert (result.passed, result.reason) == (True, "no unmasked PII")
    assert (result.rows, result.rows_changed) == (3, 2)
    assert result.found == {"EMAIL": 3, "PHONE": 1, "CREDIT_CARD": 1, "PERSON": 1}
    assert result.masked == result.found
    assert result.remaining == {}
    assert rows[0] == ROWS[0]
    assert [message["content"] for message in rows[1]["messages"]] == [
        "[PERSON]입니다. 이메일은 [EMAIL]이고 연락처는 [PHONE]입니다.",
        "[EMAIL]로 보냈습니다.",
    ]
    assert rows[1]["id"] == row_id(rows[1]["messages"])
    assert rows[2]["meta"] == '{"line": 1, "from": "[EMAIL]", "split": "test"}'
    assert [(item["source"], item["lang"]) for item in rows] == [("a.csv", "ko"), ("a.csv", "ko"), ("b.jsonl", "ko")]


def test_manifest_holds_parent_counts_and_verdict(dataset: Path) -> None:
    _, rows, manifest, _ = scan(dataset)
    assert manifest["step"] == "scan_pii"
    assert manifest["parent"] == "0123456789abcdef"
    assert manifest["version"] == version_of(item["id"] for item in rows)
    assert manifest["pii"]["found"] == {"EMAIL": 3, "PHONE": 1, "CREDIT_CARD": 1, "PERSON": 1}
    assert manifest["pii"]["passed"] is True
    assert manifest["pii_by_source"] == {
        "a.csv": {"EMAIL": 2, "PHONE": 1, "PERSON": 1},
        "b.jsonl": {"CREDIT_CARD": 1, "EMAIL": 1},
    }
    assert (manifest["rows_in"], manifest["quarantined"]) == (5, {"empty": 2})


def test_masking_a_masked_dataset_changes_nothing(dataset: Path) -> None:
    first, rows, _, _ = scan(dataset)
    again = run(ScanPiiConfig(), dataset.parent / "masked", dataset.parent / "again")
    assert (again.version, again.rows_changed, again.found) == (first.version, 0, {})
    assert pq.read_table(dataset.parent / "again" / "data.parquet").to_pylist() == rows


def test_report_only_leaves_the_rows_and_fails_the_gate(dataset: Path) -> None:
    result, rows, _, report = scan(dataset, action="report_only")
    assert rows == ROWS
    assert (result.passed, result.masked) == (False, {})
    assert result.reason == "6 unmasked PII spans remain (EMAIL 3, CREDIT_CARD 1, PERSON 1, PHONE 1)"
    assert result.reason in report


def test_kept_type_fails_the_gate_unless_it_is_allowed(dataset: Path) -> None:
    result, _, _, _ = scan(dataset, operators={"EMAIL": "keep"})
    assert (result.passed, result.reason) == (False, "3 unmasked PII spans remain (EMAIL 3)")
    result, rows, _, _ = scan(dataset, operators={"EMAIL": "keep"}, allowed_types=["EMAIL"])
    assert (result.passed, result.reason) == (True, "only allowed PII remains (EMAIL 3)")
    assert MAIL in rows[1]["messages"][0]["content"]


def test_gate_judges_the_written_file(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, _, _, _ = scan(dataset, scan_meta=False)
    assert result.found == {"EMAIL": 2, "PHONE": 1, "CREDIT_CARD": 1, "PERSON": 1}
    result = run(ScanPiiConfig(action="report_only"), dataset.parent / "masked", dataset.parent / "second")
    assert (result.passed, result.reason) == (False, "1 unmasked PII span remains (EMAIL 1)")


@pytest.mark.parametrize("action", ["mask", "report_only"])
def test_no_raw_value_leaves_the_step(
    dataset: Path, action: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    _, _, manifest, report = scan(dataset, action=action, allow_list=["ceo@example.com"])
    shown = report + json.dumps(manifest, ensure_ascii=False) + caplog.text + "".join(capsys.readouterr())
    for value in (MAIL, "minjun", PHONE, "2468", CARD, "4111", "김철수", "ceo@example.com"):
        assert value not in shown
    assert "aaaaaa.aaa@aaaaaaa.aa.aa" in report
    assert "연락처" in report


def test_result_does_not_depend_on_the_batch_size(dataset: Path) -> None:
    large, rows, _, _ = scan(dataset)
    small, same_rows, _, _ = scan(dataset, batch_rows=1)
    assert (small, same_rows) == (large, rows)


@pytest.mark.parametrize("settings", [{}, {"action": "report_only"}])
def test_result_does_not_depend_on_the_number_of_workers(dataset: Path, settings: dict[str, Any]) -> None:
    rows = [row(f"{number} {MAIL if number % 3 else ''}", meta=json.dumps({"line": number})) for number in range(20)]
    write_table(rows, dataset / "data.parquet")
    one, in_order, manifest, _ = scan(dataset, workers=1, batch_rows=3, **settings)
    machine = (dataset.parent / "masked" / "report.json").read_text()
    two, same_rows, same_manifest, _ = scan(dataset, workers=2, batch_rows=3, **settings)
    assert (two, same_rows) == (one, in_order)
    assert (dataset.parent / "masked" / "report.json").read_text() == machine
    assert same_manifest["pii"] == manifest["pii"]
    assert [json.loads(item["meta"])["line"] for item in in_order] == list(range(20))


def test_a_message_without_content_is_told_by_its_row(dataset: Path) -> None:
    broken = {**ROWS[0], "messages": [{"role": "user", "content": None}]}
    write_table([ROWS[0], ROWS[1], broken], dataset / "data.parquet")
    with pytest.raises(FlywheelError, match="row 3 has a message without role or content"):
        run(ScanPiiConfig(batch_rows=2), dataset, dataset.parent / "masked")


def test_rows_of_many_megabytes_go_in_jobs_of_their_own(dataset: Path) -> None:
    rows = [row(f"{MAIL} " + "가" * 2_000_000, meta="") for _ in range(8)]
    write_table(rows, dataset / "data.parquet")
    result, masked, _, _ = scan(dataset, types=["EMAIL"])
    assert (result.rows, result.rows_changed, result.masked) == (8, 8, {"EMAIL": 8})
    assert {item["messages"][0]["content"][:9] for item in masked} == {"[EMAIL] 가"}


def test_meta_that_is_no_json_or_has_two_equal_keys_after_masking_loses_nothing(dataset: Path) -> None:
    rows = [row("a", meta=f"from {MAIL}"), row("b", meta=json.dumps({MAIL: 1, "x@example.com": 2}))]
    write_table(rows, dataset / "data.parquet")
    _, masked, _, _ = scan(dataset)
    assert [item["meta"] for item in masked] == ["from [EMAIL]", '{"[EMAIL]": 1, "[EMAIL] 2": 2}']


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda folder: (folder / "data.parquet").unlink(), "missing"),
        (lambda folder: (folder / "data.parquet").write_bytes(b"no parquet a@example.com"), "schema"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest"),
        (lambda folder: write_table([], folder / "data.parquet"), "no_rows"),
        (lambda folder: write_table([{**ROWS[0], "messages": [{"role": "user"}]}], folder / "data.parquet"), "schema"),
    ],
)
def test_unusable_input_is_a_users_error_without_its_content(dataset: Path, break_it: Any, reason: str) -> None:
    break_it(dataset)
    with pytest.raises(FlywheelError) as error:
        run(ScanPiiConfig(), dataset, dataset.parent / "masked")
    assert error.value.reason == reason
    assert "@" not in str(error.value)


def test_a_repeated_key_in_meta_hides_no_value(dataset: Path) -> None:
    write_table([row("a", meta='{"a":"kim@example.com","a":"ok"}')], dataset / "data.parquet")
    _, masked, _, _ = scan(dataset)
    assert [item["meta"] for item in masked] == ['{"a":"[EMAIL]","a":"ok"}']
