"""Work on all cores: results in the order of the jobs, a few jobs in memory, no traceback when a process dies."""

import multiprocessing
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.workers import available_cores, end_with_parent, submit

Job = TypeVar("Job")
Result = TypeVar("Result")

# With fewer jobs than this a second process costs more, about half a second, than it saves.
_WORTH_A_PROCESS = 8
_IN_FLIGHT_PER_WORKER = 3


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
            future = submit(pool, _do, job)
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
    end_with_parent()
    _work = make()


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
