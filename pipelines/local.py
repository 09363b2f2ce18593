"""Runs the pipeline on this machine through ``kfp.local`` and cleans up after it, whatever happens."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.step import StepRecord, read_steps
from llm_flywheel.pipelines.transcript import Transcript
from llm_flywheel.serving.local.processes import reap
from llm_flywheel.serving.local.watchdog import start_watchdog

OK, FAILED, INTERRUPTED = 0, 1, 130


@dataclass
class RunResult:
    """How a local run ended.

    Attributes:
        run_id: Unique name of the run.
        run_dir: Folder with its artifacts, step records and log.
        status: `OK`, `FAILED` or `INTERRUPTED`; also the exit status of the command.
        steps: One record per step that started.
        seconds: Wall time.
    """

    run_id: str
    run_dir: Path
    status: int
    steps: list[StepRecord] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def error(self) -> str:
        """What the first failed step said, or empty."""
        return next((step.error for step in self.steps if step.status == "failed"), "")


def run(name: str, config: dict[str, Any], *, settings: Settings, keep: bool = False) -> RunResult:
    """Run the pipeline once.

    Args:
        name: Start of the run id.
        config: The bound run configuration as plain values.
        settings: Where state goes.
        keep: Leave the model server and the gateway running.

    Returns:
        The result, also for a failed or interrupted run.
    """
    run_id = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    run_dir = settings.home / "runs" / run_id
    run_dir.mkdir(parents=True)
    saved = run_dir / "config.yaml"
    saved.touch(mode=0o600)  # addresses in it may hold a password
    saved.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    started = time.monotonic()
    watchdog = start_watchdog(run_dir, run_id)
    status = FAILED
    try:
        with _environment(settings, run_id, run_dir), _signals(run_dir, run_id):
            status = _execute(config, run_dir)
    except KeyboardInterrupt:
        status = INTERRUPTED
    finally:
        if keep and status == OK:
            watchdog.keep()
        else:
            reap(run_dir, run_id)
        watchdog.close()
    return RunResult(run_id, run_dir, status, read_steps(run_dir), time.monotonic() - started)


def _execute(config: dict[str, Any], run_dir: Path) -> int:
    """Call the pipeline under the local runner; its output goes through a transcript."""
    from kfp import local

    from llm_flywheel.pipelines.flywheel import build
    from llm_flywheel.pipelines.tasks import LocalProfile

    # kfp deletes its workspace recursively after a run: it gets a fresh folder of its own, never one of ours.
    workspace = tempfile.mkdtemp(prefix="flywheel-workspace-")
    transcript = Transcript(sys.stdout, run_dir / "run.log")
    try:
        with contextlib.redirect_stdout(transcript):
            local.init(
                local.SubprocessRunner(use_venv=False),
                pipeline_root=str(run_dir / "artifacts"),
                workspace_root=workspace,
            )
            build(LocalProfile())(config=config)
        return OK
    except RuntimeError as error:
        # kfp's word for "a task failed". What failed and why is in the step records, unless no step got that far.
        if not any(step.status == "failed" for step in read_steps(run_dir)):
            raise
        transcript.write(f"{error}\n")
        return FAILED
    finally:
        transcript.close()
        shutil.rmtree(workspace, ignore_errors=True)


@contextlib.contextmanager
def _environment(settings: Settings, run_id: str, run_dir: Path) -> Iterator[None]:
    """Tell the steps, which are child processes, which run they belong to."""
    added = {
        "FLYWHEEL_HOME": str(settings.home),
        "FLYWHEEL_RUN_ID": run_id,
        "FLYWHEEL_RUN_DIR": str(run_dir),
        # The virtual environment's programs (torchrun) first, also when it was not activated.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }
    before = dict(os.environ)
    os.environ.update(added)
    # Without bytecode every step compiles torch, MLflow and kfp again: seconds per step.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _signals(run_dir: Path, run_id: str) -> Iterator[None]:
    """Make SIGINT, SIGTERM and SIGHUP end the running step first; kfp would wait for it."""

    def stop(number: int, frame: object) -> None:
        reap(run_dir, run_id)
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: dict[int, Callable[..., Any] | int | None] = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def endpoint_of(run_dir: Path) -> dict[str, Any] | None:
    """What ``deploy`` wrote about the running endpoint, or None when it did not get that far."""
    path = run_dir / "endpoint.json"
    if not path.exists():
        return None
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
