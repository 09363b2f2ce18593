"""Steps that train refuse data that is not theirs, and the ledger knows."""

from dataclasses import replace
from pathlib import Path

import pytest

from llm_flywheel.components.base_model.component import base_model
from llm_flywheel.components.common.dataset import write_manifest
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.finetune.access import require_access
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.finetune import run
from llm_flywheel.serving.ledger.ledger import Ledger

INTERNAL = {"version": "0123456789abcdef", "access": {"level": "internal"}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings.from_env()
    return replace(found, home=tmp_path, ledger_url=f"sqlite:///{tmp_path}/ledger.db", actor="eva", run_id="run-1")


@pytest.fixture
def internal(tmp_path: Path) -> Path:
    write_manifest(tmp_path / "dataset", INTERNAL)
    return tmp_path / "dataset"


def test_data_within_the_bound_is_used_without_an_event(internal: Path, settings: Settings) -> None:
    assert require_access(internal, "internal", settings).level == "internal"
    assert not (settings.home / "ledger.db").exists()


def test_a_refusal_is_an_audit_event(internal: Path, settings: Settings) -> None:
    with pytest.raises(FlywheelError, match="the data is 'internal', above 'public'"):
        require_access(internal, "public", settings)
    with Ledger.open(settings.ledger_url, read_only=True) as ledger:
        (event,) = ledger.audit_events(action="data.refused")
    assert (event.actor, event.object) == ("eva", "dataset:0123456789abcdef")
    assert event.details == {
        "level": "internal",
        "max_level": "public",
        "reason": "access_level",
        "run_id": "run-1",
    }


def test_a_ledger_that_does_not_answer_does_not_let_anybody_in(internal: Path, settings: Settings) -> None:
    broken = replace(settings, ledger_url="sqlite:////proc/nothing/ledger.db")
    with pytest.raises(FlywheelError, match="the data is 'internal', above 'public'"):
        require_access(internal, "", broken)


def test_finetune_refuses_before_it_reads_a_row_or_a_model(internal: Path, settings: Settings, tmp_path: Path) -> None:
    nowhere = tmp_path / "nothing"
    with pytest.raises(FlywheelError, match="the data is 'internal', above 'public'"):
        run(FinetuneConfig(max_level="public"), internal, nowhere, nowhere, nowhere, settings)


def test_base_model_refuses_too(internal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kfp import dsl

    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    monkeypatch.delenv("FLYWHEEL_LEDGER_URL", raising=False)
    dataset, model = dsl.Dataset(uri=str(internal)), dsl.Model(uri=str(tmp_path / "model"))
    with pytest.raises(SystemExit):
        base_model.python_func({"base_model": "tiny"}, dataset, model)
    assert not (tmp_path / "model").exists()
