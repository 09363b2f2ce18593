"""Processes of this machine that work for another one: how many, and how they end with it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

_CGROUP = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Cores this process may use: its affinity, and the CPU limit of its container (cgroup v2)."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="utf-8").split()
        return max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        return cores


def submit(pool: ProcessPoolExecutor, function: Callable[..., Result], *arguments: Any) -> "Future[Result]":
    """Give a pool a job, which may start a worker.

    Until `end_with_parent` runs there, Ctrl-C would print the worker's traceback: blocked, the signal waits in this
    process and is never seen in the worker, which inherits the mask.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(function, *arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def end_with_parent() -> None:
    """Called first in a worker: Ctrl-C is for the parent, which ends its workers; killed, it must not leave them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
