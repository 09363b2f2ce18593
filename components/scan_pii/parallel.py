"""Work on all cores: results in the order of the jobs, a few jobs in memory, no traceback when a process dies."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from llm_flywheel.components.common.errors import FlywheelError

Job = TypeVar("Job")
Result = TypeVar("Result")

# With fewer jobs than this a second process costs more, about half a second, than it saves.
_WORTH_A_PROCESS = 8
_IN_FLIGHT_PER_WORKER = 3
_CGROUP = Path("/sys/fs/cgroup")


class _Failed(NamedTuple):
    """What may be told of an exception: its message can hold a piece of a row."""

    kind: str
    place: str


_work: Callable[[Any], Any]


def ordered(
    make: Callable[[], Callable[[Job], Result]], jobs: Iterable[Job], workers: int = 0
) -> Iterator[tuple[Job, Result]]:
    """Do the same work on every job.

    Args:
        make: Makes the function that does one job; called once per process, pickled to get there.
        jobs: Taken as they are needed, three per process ahead of the results.
        workers: Processes; 0 for all cores, or none beside this one when there are only a few jobs; 1 for none.

    Yields:
        Every job with its result, in the order of the jobs, whatever ``workers`` is.

    Raises:
        FlywheelError: The work failed on a job, or a process died; told without any text of the job.
    """
    jobs = iter(jobs)
    if workers == 0:
        first = list(islice(jobs, _WORTH_A_PROCESS))
        workers = available_cores() if len(first) == _WORTH_A_PROCESS else 1
        jobs = chain(first, jobs)
    return _in_processes(make, jobs, workers) if workers > 1 else _here(make, jobs)


def available_cores() -> int:
    """Cores this process may use: its affinity, and the CPU limit of its container (cgroup v2)."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="utf-8").split()
        return max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        return cores


def _here(make: Callable[[], Callable[[Job], Result]], jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
    work = make()
    for job in jobs:
        yield job, _succeeded(_attempt(work, job))


def _in_processes(
    make: Callable[[], Callable[[Job], Result]], jobs: Iterable[Job], workers: int
) -> Iterator[tuple[Job, Result]]:
    make()  # what is wrong with the settings is told by this process
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (make,))
    waiting: deque[tuple[Job, Future[Result | _Failed]]] = deque()
    try:
        for job in jobs:
            # It starts a worker, where Ctrl-C would print a traceback until `_start` runs: blocked, the signal waits in
            # this process and is never seen in the worker, which inherits the mask.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                future = pool.submit(_do, job)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            waiting.append((job, future))
            if len(waiting) >= workers * _IN_FLIGHT_PER_WORKER:
                done, future = waiting.popleft()
                yield done, _succeeded(future.result())
        while waiting:
            done, future = waiting.popleft()
            yield done, _succeeded(future.result())
    except BrokenProcessPool:
        raise FlywheelError(
            "a worker process died, probably for lack of memory",
            fix="give it more memory, or set scan_pii.workers (--workers) or scan_pii.batch_rows lower",
            reason="worker_died",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start(make: Callable[[], Callable[[Any], Any]]) -> None:
    global _work
    # Ctrl-C is for the parent, which ends its workers; and a parent that is killed must not leave them behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _work = make()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(job: Any) -> Any:
    return _attempt(_work, job)


def _attempt(work: Callable[[Job], Result], job: Job) -> Result | _Failed:
    try:
        return work(job)
    except FlywheelError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        return _Failed(type(error).__name__, f"{Path(frames[-1].filename).name}:{frames[-1].lineno}")


def _succeeded(result: Result | _Failed) -> Result:
    if isinstance(result, _Failed):
        raise FlywheelError(
            f"the scan failed: {result.kind} at {result.place} (its message is withheld: it can hold a piece of a row)",
            reason="scan_failed",
        )
    return result
