"""Run the training program on this machine: torchrun as a child that cannot outlive this process."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.progress import Progress
from llm_flywheel.components.finetune.events import TrainingLog, failure_text, progress_text
from llm_flywheel.components.finetune.launcher import sigterm_exits

GRACE_S = 5.0
TRAIN = "llm_flywheel.components.finetune.train"


class LocalLauncher:
    """Starts ``torchrun`` and mirrors its progress.

    Args:
        nproc: Training processes; they share the cores.
        module: Module to run on every rank.
    """

    def __init__(self, nproc: int = 1, module: str = TRAIN) -> None:
        self._nproc, self._module = nproc, module

    def run(self, job: Path) -> TrainingLog:
        """Train, and return what the program said.

        Args:
            job: JSON file for the program's ``--config``; its whole output goes to ``train.log`` beside it.

        Raises:
            FlywheelError: The program failed; with the reason it gave, or its last lines.
            SystemExit: This process got SIGTERM; the training is stopped first.
        """
        log = TrainingLog()
        command = torchrun(["--standalone", f"--nproc-per-node={self._nproc}"], self._module, job)
        with (
            job.with_name("train.log").open("w", encoding="utf-8") as copy,
            running(command, self._nproc, stdout=subprocess.PIPE) as process,
        ):
            assert process.stdout is not None
            with Progress("fine-tuning", 100) as progress:
                for line in process.stdout:
                    copy.write(line)
                    event = log.feed(line)
                    if "pct" in event:
                        progress.update(int(event["pct"]), progress_text(event))
            status = process.wait()
        if log.error:
            raise FlywheelError(log.error, where="finetune", reason=log.reason)
        if status or not log.done:
            said = failure_text(list(log.tail))
            raise FlywheelError(
                f"training ended with status {status}: {said}", where=str(job.with_name("train.log")), reason="training"
            )
        return log


def torchrun(options: Sequence[str], module: str, job: Path) -> list[str]:
    """The command line that runs a module on every rank."""
    # Not the script `torchrun`: it is missing where the packages are on PYTHONPATH alone.
    command = [sys.executable, "-m", "torch.distributed.run", "--max-restarts=0"]
    return [*command, *options, "-m", module, "--config", str(job)]


@contextmanager
def running(command: Sequence[str], nproc: int, stdout: int | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run torchrun as a child; the child and every rank end with this context, on SIGTERM, too.

    Args:
        command: See `torchrun`.
        nproc: Training processes of this machine.
        stdout: ``subprocess.PIPE`` for the whole output, None to let it pass.
    """
    with sigterm_exits():
        process = subprocess.Popen(
            command,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=child_environment(os.environ, nproc),
            start_new_session=True,  # Ctrl-C on the terminal reaches this process alone, which then ends the tree
            preexec_fn=_die_with_parent,
        )
        try:
            yield process
        finally:
            stop_tree(process)
            if process.stdout is not None:
                process.stdout.close()


def child_environment(env: "os._Environ[str] | dict[str, str]", nproc: int) -> dict[str, str]:
    """The environment of the training program.

    The ranks share the cores, and a thread that waits for another sleeps: spinning, the default, made a step
    ten times slower on a busy two-core machine. Data is local, so nothing is looked up on the network.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // nproc)
    return {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_DATASETS_OFFLINE": "1",
        **env,
        "PYTHONUNBUFFERED": "1",
    }


def stop_tree(process: "subprocess.Popen[str]", grace_s: float = GRACE_S) -> None:
    """End torchrun and every rank: politely, then not. Ranks are sessions of their own, so there is no one group."""
    try:
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        tree = []
    for member in tree:
        _signal(member, signal.SIGTERM)
    for member in psutil.wait_procs(tree, timeout=grace_s)[1]:
        _signal(member, signal.SIGKILL)
    process.wait()


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _die_with_parent() -> None:
    """Let the kernel send SIGTERM to torchrun when this process is killed without a chance to clean up (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
