"""The page as a user meets it, over a real ledger."""

import sqlite3
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import llm_flywheel.dashboard.serve as serve
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.ledger.records import UsageRow

APP = Path(serve.__file__).with_name("app.py")


@pytest.fixture
def path(tmp_path, monkeypatch):
    database = tmp_path / "ledger.db"
    monkeypatch.setenv("FLYWHEEL_LEDGER_URL", f"sqlite:///{database}")
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    return database


@pytest.fixture
def filled(path):
    now = time.time()
    rows = [
        UsageRow(
            time=now - 60 - number, request_id=f"r{number}", user="eva" if number < 3 else "jin", team="care",
            model="support", version="2" if number == 0 else "1", variant="canary" if number == 0 else "stable",
            prompt_tokens=100, cached_tokens=0, completion_tokens=10, ttft_s=0.1, latency_s=0.5, cost=0.25,
            currency="EUR", run_id="run-1",
        )
        for number in range(4)
    ]  # fmt: skip
    old = UsageRow(time=now - 10 * 86_400, request_id="old", model="support", variant="stable", run_id="run-0",
                   cost=1.0, currency="EUR", prompt_tokens=1, completion_tokens=1)  # fmt: skip
    with Ledger.open(f"sqlite:///{path}") as ledger:
        ledger.record_usage([*rows, old])
        ledger.append_audit("eva", "gate.pass", "model:support/2", {"gain": 0.5})
        ledger.append_audit("rollout", "model.promote", "model:support/2", {"rule": "non_inferior"})
    return path


def _run():
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    assert not page.exception
    return page


def _tables(page):
    return {tuple(table.value.columns): table.value for table in page.dataframe}


def _metrics(page):
    return {metric.label: metric.value for metric in page.metric}


@pytest.mark.parametrize("exists", [False, True])
def test_an_empty_ledger_says_how_to_fill_it(path, exists):
    if exists:
        Ledger.open(f"sqlite:///{path}").close()
    page = _run()

    assert "The ledger is empty" in page.info[0].value
    assert page.code[0].value == "flywheel run pipelines/configs/quickstart.yaml"
    assert path.exists() is exists


def test_a_broken_ledger_is_a_message(path):
    path.write_text("this is no database " * 100)
    assert "file is not a database" in _run().error[0].value


def test_headline_and_tables(filled):
    page = _run()

    assert _metrics(page) == {
        "Spend (EUR)": "1",
        "Requests": "4",
        "Errors": "0 (0.0%)",
        "Prompt tokens": "400",
        "Generated tokens": "40",
    }
    [variants] = [table for names, table in _tables(page).items() if "error_rate" in names]
    assert variants["variant"].to_list() == ["canary", "stable"]
    assert variants["share"].to_list() == [25.0, 75.0]
    assert variants["latency_p95"].to_list() == [500.0, 500.0]
    # Every chart has a table twin, and every table an export.
    assert len(page.dataframe) == len(page.get("download_button")) == 6


def test_group_by_user(filled):
    page = _run()
    page.button_group(key="group").set_value("User").run()
    [table] = [value for names, value in _tables(page).items() if names[0] == "user"]
    assert table[["user", "spend"]].to_numpy().tolist() == [["eva", 0.75], ["jin", 0.25]]


def test_range_and_run_pickers(filled):
    page = _run()
    page.selectbox(key="preset").set_value("Everything").run()
    assert (page.selectbox(key="run").value, _metrics(page)["Requests"]) == ("run-1", "4")
    page.selectbox(key="run").set_value("All runs").run()
    assert _metrics(page)["Requests"] == "5"
    assert page.selectbox(key="run").options == ["All runs", "run-1", "run-0"]
    page.selectbox(key="run").set_value("run-0").run()
    assert _metrics(page)["Requests"] == "1"
    page.selectbox(key="preset").set_value("Last hour").run()
    assert "No requests in this range" in page.info[0].value
    page.selectbox(key="preset").set_value("Custom").run()
    assert not page.exception


def test_audit_events_are_shown_and_filtered(filled):
    page = _run()
    page.multiselect(key="actors").select("eva").run()
    [table] = [value for names, value in _tables(page).items() if names[0] == "seq"]
    assert table[["seq", "actor", "action", "details"]].to_numpy().tolist() == [
        [1, "eva", "gate.pass", '{"gain": 0.5}']
    ]


def test_verify_says_intact_and_after_tampering_which_event(filled):
    page = _run()
    page.button(key="verify").click().run()
    assert page.success[0].value.startswith("Intact: 2 events. Head: ")

    with sqlite3.connect(filled) as database:
        database.execute("UPDATE audit SET actor = 'mallory' WHERE seq = 2")
    page.button(key="verify").click().run()
    assert page.error[0].value.startswith("Broken at event 2 (changed)")
