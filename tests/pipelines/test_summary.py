import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.step import StepRecord
from llm_flywheel.pipelines.local import FAILED, OK, RunResult
from llm_flywheel.pipelines.summary import show


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(Settings.from_env(), home=tmp_path, tracking_uri="sqlite:///m.db")


def shown(result: RunResult, settings: Settings, *, kept: bool) -> str:
    console = Console(file=io.StringIO(), width=120)
    show(result, settings, kept=kept, console=console)
    return console.file.getvalue()


def test_a_green_run_shows_steps_reports_and_what_to_type_next(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "endpoint.json").write_text(json.dumps({"model": "chat"}))
    steps = [
        StepRecord("curate", "ok", 1.0, 2.5, {"train": 1200}, [str(tmp_path / "curate.html")]),
        StepRecord("rollout", "ok", 2.0, 20.0, {"decision": "promote"}),
    ]
    text = shown(RunResult("run-1", tmp_path, OK, steps, 22.4), settings, kept=False)
    assert "train 1,200" in text
    assert str(tmp_path / "curate.html") in text
    assert "Run run-1 ended green after 22 s." in text
    assert f"FLYWHEEL_HOME={tmp_path}" in text
    assert "rollout replay run-1" in text
    assert "serve chat" in text


def test_a_red_run_says_why_and_offers_no_model(settings: Settings, tmp_path: Path) -> None:
    steps = [StepRecord("ingest", "failed", 1.0, 0.1, error="a.csv: [no] such file\n  fix: ls")]
    text = shown(RunResult("run-1", tmp_path, FAILED, steps, 3.0), settings, kept=False)
    assert "Run run-1 ended red after 3 s." in text
    assert "a.csv: [no] such file\n  fix: ls" in text
    assert "serve" not in text


def test_a_kept_endpoint_is_asked_with_curl_and_the_openai_client(settings: Settings, tmp_path: Path) -> None:
    endpoint = {
        "model": "chat",
        "base_url": "http://127.0.0.1:1/v1",
        "key_file": "/k e/y",
        "example_question": "What's new?",
    }
    (tmp_path / "endpoint.json").write_text(json.dumps(endpoint))
    text = shown(RunResult("run-1", tmp_path, OK, [], 3.0), settings, kept=True)
    assert "curl -s http://127.0.0.1:1/v1/chat/completions" in text
    assert "base_url=" in text
    assert "down run-1" in text
