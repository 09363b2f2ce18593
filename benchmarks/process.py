"""Run a program and watch what it uses."""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import psutil

_EVERY_S = 0.2


class Used(NamedTuple):
    """What a program and all processes that it started used."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def run(command: Sequence[str]) -> Used:
    """Run a program to its end; its output goes to standard error.

    Raises:
        SystemExit: It failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    peak = 0.0
    with subprocess.Popen(command, stdout=sys.stderr) as process:
        while process.poll() is None:
            peak = max(peak, _memory_mb(process.pid))
            time.sleep(_EVERY_S)
    wall = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} ended with status {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Used(wall, cpu, peak)


def _memory_mb(pid: int) -> float:
    """Memory of a process and its descendants; what they share counts once."""
    total = 0
    with suppress(psutil.Error):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total / 1e6
