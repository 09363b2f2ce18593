"""What a person gets who types something wrong: one message, status 2, no traceback."""

from pathlib import Path

import pytest

from llm_flywheel.pipelines.cli import main

QUICKSTART = str(Path(__file__).parents[2] / "pipelines" / "configs" / "quickstart.yaml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "gone.yaml"], "gone.yaml: no such config file"),
        (["run", QUICKSTART, "--set", "gate"], "--set gate: expected section.key=value"),
        (["run", QUICKSTART, "--set", "ingest=5", "--data", "a.csv"], "ingest: got 5 (int)"),
        (["run", QUICKSTART, "--data", "gone.csv"], "ingest.paths.0: no such file or folder: gone.csv"),
        (["submit", QUICKSTART], "no KFP API address"),
        (["submit", QUICKSTART, "--host", "http://127.0.0.1:9"], "deploy.target: local starts a gateway"),
        (["submit", QUICKSTART, "--host", "http://127.0.0.1:9", "--set", "deploy.target=none"], "cannot connect"),
        (["compile", "-o", "/proc/none/flywheel.yaml"], "/proc/none"),
        (["compile", "--set", "core_imag=x"], "core_imag: unknown key; did you mean 'core_image'?"),
        (["rollout", "replay", "gone"], "gone: neither an evidence file nor a run with a rollout"),
        (["down", "gone"], "gone: no such run"),
        (["audit", "verify"], "ledger"),
        (["serve", "gone"], "gone: no such registered model"),
    ],
)
def test_a_mistake_is_one_message(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FLYWHEEL_HOME", "KFP_HOST", "KFP_TOKEN", "FLYWHEEL_LEDGER_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("flywheel: ")
    assert message in captured.err
    assert "Traceback" not in captured.err + captured.out


def test_a_token_that_is_no_text_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe\x00")
    arguments = ["--host", "http://127.0.0.1:9", "--token-file", str(tmp_path / "token")]
    assert main(["submit", QUICKSTART, "--set", "deploy.target=none", *arguments]) == 2
    assert "cannot read the token" in capsys.readouterr().err


def test_compile_writes_what_check_then_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "flywheel.yaml")
    settings = ["-o", output, "--set", "core_image=registry/core@sha256:1"]
    assert main(["compile", *settings]) == 0
    assert main(["compile", "--check", *settings]) == 0
    assert main(["compile", "--check", "-o", output]) == 2
    assert "out of date" in capsys.readouterr().err
