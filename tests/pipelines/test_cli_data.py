"""``flywheel data diff`` and ``flywheel data log`` on folders and runs."""

import json
from pathlib import Path

import pytest

from llm_flywheel.pipelines.cli import main
from tests.components.common.conftest import row, write_dataset

RUN = "demo-20261121-100000-bbbb"
BEFORE = [row("mail minjun@example.com\x1b[31m", 1), row("two", 2), row("three", 3)]
AFTER = [row("mail [EMAIL]", 1), row("two", 2), row("four", 9, source="새파일.csv")]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One run with two datasets, ``scan_pii`` made from ``ingest``."""
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    artifacts = tmp_path / "runs" / RUN / "artifacts" / "llm-flywheel-1"
    parent = write_dataset(artifacts / "ingest" / "dataset", {"data": BEFORE}, run_id=RUN, quarantined={"json": 2})
    write_dataset(
        artifacts / "scan-pii" / "masked",
        {"data": AFTER},
        "scan_pii",
        run_id=RUN,
        parent=parent,
        access={"level": "internal"},
        pii={"found": {"EMAIL": 1}, "masked": {"EMAIL": 1}, "remaining": {}},
    )
    return tmp_path


def test_diff_of_a_dataset_with_itself_is_equal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "diff", "demo", RUN]) == 0
    assert "equal: the same rows in the same splits" in capsys.readouterr().out


def test_diff_tells_rows_and_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "diff", "demo:ingest", "demo"]) == 1
    printed = capsys.readouterr().out
    assert f"(scan_pii of {RUN}), 3 rows, internal" in printed
    rows = {
        cells[1].strip(): cells[2].strip()
        for cells in (line.split("│") for line in printed.splitlines()[2:9])
        if len(cells) > 2
    }
    assert rows == {"same in both": "1", "changed": "1", "removed: only in A": "1", "added: only in B": "1"}
    assert "+ added 새파일.csv:9, id " in printed
    assert "minjun" not in printed


def test_diff_shows_texts_when_asked_to_and_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "diff", "demo:ingest", "demo", "--show-text", "--examples", "1"]) == 1
    printed = capsys.readouterr().out
    assert "-   user: mail minjun@example.com\N{REPLACEMENT CHARACTER}[31m" in printed
    assert "+   user: mail [EMAIL]" in printed
    assert "\x1b" not in printed


def test_diff_as_json_is_all_there_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "diff", "demo:ingest", "demo", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    kinds = ("same", "changed", "removed", "added", "rows_a", "rows_b")
    assert {key: told[key] for key in kinds} == dict(zip(kinds, (1, 1, 1, 1, 3, 3), strict=True))
    assert told["equal"] is False
    assert told["b"]["level"] == "internal"
    assert [shift["name"] for shift in told["shifts"]] == ["characters", "tokens", "language", "source"]
    assert "minjun" not in json.dumps(told)


def test_diff_writes_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    page = tmp_path / "new" / "diff.html"
    assert main(["data", "diff", "demo:ingest", "demo", "--html", str(page)]) == 1
    text = page.read_text(encoding="utf-8")
    assert "A: 3 = 1 same + 1 changed + 1 removed. B: 3 = 1 same + 1 changed + 1 added." in text
    assert text.count("<svg") == 5
    assert "새파일.csv" in text
    assert "minjun" not in text
    assert f"report: {page}" in capsys.readouterr().out
    assert not list(recwarn)


def test_a_wrong_name_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "diff", "demo", "nothing"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("flywheel: nothing: no dataset folder, run or dataset version of that name")
    assert "fix: flywheel data log" in error


def test_log_has_every_version_the_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "log"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("scan_pii") < printed.index("ingest")
    assert "level          internal" in printed
    assert "rows           5 in = 3 out + 2 dropped (json 2)" in printed
    assert "personal data  found 1, masked 1, remaining 0" in printed
    assert f"by eva in {RUN}" in printed


def test_log_follows_the_parents_of_a_folder(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(home / "mine", {"data": AFTER[:1]}, "curate", parent="ffffffffffffffff")
    assert main(["data", "log", str(home / "mine")]) == 0
    assert "ffffffffffffffff, the parent of" in capsys.readouterr().out


def test_log_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "log", "demo", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [version["step"] for version in told] == ["scan_pii", "ingest"]
    assert told[0]["parent"] == told[1]["version"]


def test_log_without_any_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "empty"))
    assert main(["data", "log"]) == 2


def test_diff_says_that_only_one_is_split(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(home / "whole", {"data": AFTER})
    write_dataset(home / "split", {"train": AFTER[:2], "test": AFTER[2:]}, "curate")
    assert main(["data", "diff", str(home / "whole"), str(home / "split")]) == 1
    cells = [[cell.strip() for cell in line.split("│")] for line in capsys.readouterr().out.splitlines()]
    assert ["", "same, but only one of A and B is split", "3", "", ""] in cells
    assert main(["data", "diff", str(home / "whole"), str(home / "split"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["relabelled"] == {"split": 3}
