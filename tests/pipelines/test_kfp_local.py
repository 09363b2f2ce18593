"""The local runner itself: kfp before 2.17 ran both branches of an If/Else, or none, and reported success."""

import tempfile
from pathlib import Path

import pytest
from kfp import dsl, local


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def decide(value: float) -> bool:
    return value > 0.5


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def leave_trace(folder: str, name: str):
    from pathlib import Path

    (Path(folder) / name).write_text("ran")


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def fail():
    raise SystemExit(1)


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def note_end(folder: str, status: dsl.PipelineTaskFinalStatus):
    from pathlib import Path

    (Path(folder) / "end").write_text(status.state)


@dsl.pipeline(name="branches")
def branches(value: float, folder: str):
    gate = decide(value=value)
    with dsl.If(gate.output == True):  # noqa: E712
        leave_trace(folder=folder, name="if")
    with dsl.Else():
        leave_trace(folder=folder, name="else")


@dsl.pipeline(name="ending")
def ending(folder: str):
    end = note_end(folder=folder)
    with dsl.ExitHandler(end):
        fail()


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(tmp_path / "root"),
        workspace_root=tempfile.mkdtemp(dir=tmp_path),
    )
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("value", "expected"), [(0.9, ["if"]), (0.1, ["else"])])
def test_exactly_one_branch_runs(traces: Path, value: float, expected: list[str]) -> None:
    branches(value=value, folder=str(traces))
    assert sorted(path.name for path in traces.iterdir()) == expected


def test_the_exit_handler_runs_after_a_failure_and_knows_of_it(traces: Path) -> None:
    with pytest.raises(RuntimeError, match="FAILURE"):
        ending(folder=str(traces))
    assert (traces / "end").read_text() == "FAILED"
