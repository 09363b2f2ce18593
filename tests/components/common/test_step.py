import os
from dataclasses import replace
from pathlib import Path

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.step import read_steps, step


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(Settings.from_env(), home=tmp_path, run_dir=tmp_path / "run")


def test_a_step_leaves_a_record_of_what_it_did(settings: Settings, tmp_path: Path) -> None:
    with step("curate", settings) as record:
        record.summary["rows"] = 10
    (stored,) = read_steps(tmp_path / "run")
    assert (stored.name, stored.status, stored.summary) == ("curate", "ok", {"rows": 10})
    assert stored.seconds > 0


def test_reports_are_collected_under_the_run_with_a_suffix_that_opens_them(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("<!DOCTYPE html><p>hi")
    (tmp_path / "card").write_text("# Card")
    with step("curate", settings) as record:
        record.report(tmp_path / "page")
        record.report(tmp_path / "card")
        record.report(tmp_path / "gone")
    (stored,) = read_steps(tmp_path / "run")
    reports = tmp_path / "run" / "reports"
    assert stored.reports == [str(reports / "curate.html"), str(reports / "curate-1.md"), str(tmp_path / "gone")]
    assert (reports / "curate.html").read_text() == "<!DOCTYPE html><p>hi"


def test_a_users_error_ends_the_step_with_status_one_and_its_message(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught, step("ingest", settings):
        raise FlywheelError("no such file", where="a.csv", fix="ls")
    assert caught.value.code == 1
    (stored,) = read_steps(tmp_path / "run")
    assert (stored.status, stored.error) == ("failed", "a.csv: no such file\n  fix: ls")


def test_a_bug_keeps_its_traceback_and_is_recorded(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), step("gate", settings):
        _ = 1 / 0
    (stored,) = read_steps(tmp_path / "run")
    assert (stored.status, stored.error) == ("failed", "ZeroDivisionError: division by zero")


def test_steps_come_in_the_order_they_started(settings: Settings, tmp_path: Path) -> None:
    for name in ("z", "a"):
        with step(name, settings):
            pass
    assert [record.name for record in read_steps(tmp_path / "run")] == ["z", "a"]


def test_a_step_in_a_cluster_has_no_run_folder_and_writes_nothing(settings: Settings, tmp_path: Path) -> None:
    with step("curate", replace(settings, run_dir=None)):
        pass
    assert os.listdir(tmp_path) == []
