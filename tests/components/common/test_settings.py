from pathlib import Path

import pytest

from llm_flywheel.components.common.settings import Settings

VARIABLES = ("FLYWHEEL_HOME", "FLYWHEEL_LEDGER_URL", "FLYWHEEL_OBJECT_STORE", "MLFLOW_TRACKING_URI", "FLYWHEEL_RUN_DIR")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_laptop_needs_no_variable_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env()
    assert settings.home == tmp_path / ".flywheel"
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/.flywheel/mlflow.db"
    assert settings.ledger_url == f"sqlite:///{tmp_path}/.flywheel/ledger.db"
    assert settings.object_store == f"file://{tmp_path}/.flywheel/objects"
    assert settings.run_dir is None
    assert list(tmp_path.iterdir()) == []


def test_a_pod_is_told_where_things_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_LEDGER_URL", "postgresql+psycopg://ledger")
    monkeypatch.setenv("FLYWHEEL_OBJECT_STORE", "s3://models/team/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    settings = Settings.from_env()
    assert settings.ledger_url == "postgresql+psycopg://ledger"
    assert settings.object_store == "s3://models/team"
    assert settings.tracking_uri == "http://mlflow:5000"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("FLYWHEEL_LEDGER_URL", "postgresql://u:hunter2@db/ledger"),
        ("MLFLOW_TRACKING_URI", "https://u:hunter2@mlflow"),
    ],
)
def test_a_secret_is_not_shown(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert "hunter2" not in repr(Settings.from_env())


def test_a_pod_without_addresses_lacks_them_and_a_laptop_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert Settings.missing_in_pod() == []
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert Settings.missing_in_pod() == ["FLYWHEEL_OBJECT_STORE", "FLYWHEEL_LEDGER_URL"]
    monkeypatch.setenv("FLYWHEEL_RUN_DIR", "/home/jovyan/.flywheel/runs/x")  # `flywheel run` in a notebook pod
    assert Settings.missing_in_pod() == []
