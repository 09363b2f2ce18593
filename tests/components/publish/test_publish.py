from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import local_path
from llm_flywheel.components.publish.config import PublishConfig
from llm_flywheel.components.publish.publish import run
from llm_flywheel.components.publish.registry import artifact_location
from llm_flywheel.serving.ledger.ledger import Ledger

CONFIG = PublishConfig(model_name="support", purpose="Answers tickets.", limits=["No legal advice."])
Inputs = Callable[..., dict[str, Path]]


def client(settings: Settings) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(settings.tracking_uri, settings.tracking_uri)


def versions(settings: Settings) -> list[Any]:
    return list(client(settings).search_model_versions("name = 'support'"))


def audit(settings: Settings) -> list[str]:
    with Ledger.open(settings.ledger_url) as ledger:
        return [f"{event.actor} {event.action} {event.object}" for event in ledger.audit_events()]


def test_publishing_stores_registers_and_tells_the_ledger(local_settings: Settings, inputs: Inputs) -> None:
    paths = inputs()
    result = run(CONFIG, **paths, settings=local_settings)

    assert (result.name, result.version, result.new) == ("support", "1", True)
    assert (local_path(result.uri) / "adapter_model.safetensors").read_bytes() == b"adapter"
    assert (local_path(result.base_uri) / "config.json").exists()
    assert result.base_uri.startswith(f"{local_settings.object_store}/models/_base/")

    registered = client(local_settings).get_model_version_by_alias("support", "challenger")
    assert (str(registered.version), registered.source) == ("1", result.uri)
    kept = {key: registered.tags[key] for key in ("kind", "dataset_version", "base_uri", "gate.gain", "gate.metric")}
    assert kept == {
        "kind": "adapter",
        "dataset_version": "d1",
        "base_uri": result.base_uri,
        "gate.gain": "0.7",
        "gate.metric": "exact_match",
    }
    mlflow_run = client(local_settings).get_run(registered.run_id)
    assert mlflow_run.data.params["lora.r"] == "16"
    assert mlflow_run.data.metrics == {
        "eval.exact_match": 0.8,
        "eval.exact_match_n": 20.0,
        "gate.base": 0.1,
        "gate.tuned": 0.8,
        "gate.gain": 0.7,
        "gate.min_gain": 0.05,
    }
    (dataset,) = mlflow_run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("support", "d1")
    assert mlflow_run.info.status == "FINISHED"
    names = [item.path for item in client(local_settings).list_artifacts(registered.run_id)]
    assert sorted(names) == ["dataset.json", "model_card.md"]
    assert audit(local_settings) == ["eva model.publish model:support/1"]


def test_the_card_says_what_a_user_must_know(local_settings: Settings, inputs: Inputs) -> None:
    paths = inputs()
    run(CONFIG, **paths, settings=local_settings)
    card = paths["card"].read_text()
    assert card.startswith("# support, version 1\n\nAnswers tickets.")
    for line in (
        "| masked.EMAIL | 12 |",
        "| splits | train: 80, test: 20 |",
        "| gain | 0.7 |",
        "| exact_match | 0.8 |",
        "| lora.r | 16 |",
        "- No legal advice.",
        '"model": "support"',
    ):
        assert line in card


def test_a_retried_step_finds_its_own_version(local_settings: Settings, inputs: Inputs) -> None:
    first = run(CONFIG, **inputs(), settings=local_settings)
    again = run(CONFIG, **inputs(), settings=local_settings)
    assert (again.version, again.new, again.uri) == ("1", False, first.uri)
    assert len(versions(local_settings)) == 1
    assert len(client(local_settings).search_runs(["1"])) == 1
    assert audit(local_settings) == ["eva model.publish model:support/1"]


def test_a_step_that_died_before_it_registered_reuses_its_run(local_settings: Settings, inputs: Inputs) -> None:
    run(CONFIG, **inputs(), settings=local_settings)
    client(local_settings).delete_model_version("support", "1")
    again = run(CONFIG, **inputs(), settings=local_settings)
    assert again.new
    assert len(client(local_settings).search_runs(["1"])) == 1


def test_other_bytes_or_another_pipeline_run_make_another_version(local_settings: Settings, inputs: Inputs) -> None:
    first = run(CONFIG, **inputs(), settings=local_settings)
    other = run(CONFIG, **inputs(weights=b"better"), settings=local_settings)
    third = run(CONFIG, **inputs(), settings=replace(local_settings, run_id="run-2"))
    assert (first.version, other.version, third.version) == ("1", "2", "3")
    assert first.base_uri == other.base_uri
    assert third.uri == first.uri
    assert str(client(local_settings).get_model_version_by_alias("support", "challenger").version) == "3"


def test_a_run_that_kfp_opened_is_used_and_left_open(local_settings: Settings, inputs: Inputs) -> None:
    artifacts = (local_settings.home / "kfp").as_uri()
    experiment = client(local_settings).create_experiment("kfp", artifact_location=artifacts)
    opened = client(local_settings).create_run(experiment).info.run_id
    run(CONFIG, **inputs(), settings=replace(local_settings, mlflow_run_id=opened))
    assert versions(local_settings)[0].run_id == opened
    assert client(local_settings).get_run(opened).info.status == "RUNNING"
    assert client(local_settings).get_run(opened).data.params["seed"] == "7"


def test_a_failed_gate_publishes_nothing(local_settings: Settings, inputs: Inputs) -> None:
    with pytest.raises(FlywheelError, match="gain too small") as caught:
        run(CONFIG, **inputs(passed=False), settings=local_settings)
    assert caught.value.reason == "gate"
    assert versions(local_settings) == []
    assert not (local_settings.home / "objects").exists()


def test_a_missing_decision_publishes_nothing(local_settings: Settings, inputs: Inputs) -> None:
    paths = inputs()
    paths["decision"].unlink()
    with pytest.raises(FlywheelError, match="no readable JSON"):
        run(CONFIG, **paths, settings=local_settings)
    assert versions(local_settings) == []


@pytest.mark.parametrize(
    ("reference", "uri"),
    [("Qwen/Qwen3-0.6B", "hf://Qwen/Qwen3-0.6B"), ("s3://models/base", "s3://models/base")],
)
def test_a_base_that_is_a_reference_is_not_copied(
    local_settings: Settings, inputs: Inputs, reference: str, uri: str
) -> None:
    paths = inputs()
    (paths["base"] / "config.json").unlink()
    (paths["base"] / "flywheel.json").write_text(f'{{"reference": "{reference}"}}')
    assert run(CONFIG, **paths, settings=local_settings).base_uri == uri
    assert not (local_settings.home / "objects/models/_base").exists()


def test_a_registry_that_does_not_answer_is_explained(local_settings: Settings, inputs: Inputs) -> None:
    broken = replace(local_settings, tracking_uri="sqlite:////proc/nowhere/mlflow.db")
    with pytest.raises(FlywheelError) as caught:
        run(CONFIG, **inputs(), settings=broken)
    assert caught.value.reason == "registry"


def test_migrations_of_a_fresh_database_are_not_told(
    local_settings: Settings, inputs: Inputs, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fresh = replace(local_settings, tracking_uri=f"sqlite:///{tmp_path / 'new.db'}")
    run(CONFIG, **inputs(), settings=fresh)
    out, err = capfd.readouterr()
    assert "Running upgrade" not in out + err
    assert "Creating initial" not in out + err


@pytest.mark.parametrize(
    ("tracking", "location"),
    [
        ("postgresql+psycopg://eva@db/mlflow", "s3://models/team/mlflow"),
        ("sqlite:////state/mlflow.db", "file:///state/mlartifacts/my%20tests"),
        ("https://mlflow.example.org", None),
        ("http://127.0.0.1:5000", None),
        ("file:///state/mlruns", None),
        ("/state/mlruns", None),
    ],
)
def test_artifacts_never_go_to_the_working_folder(
    local_settings: Settings, tracking: str, location: str | None
) -> None:
    settings = replace(local_settings, home=Path("/state"), tracking_uri=tracking, object_store="s3://models/team")
    assert artifact_location(settings, "my tests") == location
