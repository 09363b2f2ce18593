"""Order, bounds and failures of work on several processes."""

import functools
import operator
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.parallel import ordered

ADD_ONE = functools.partial(functools.partial, operator.add, 1)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    assert list(ordered(ADD_ONE, range(20), workers)) == [(number, number + 1) for number in range(20)]


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_are_taken_a_few_at_a_time(workers: int) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(1_000):
            taken.append(number)
            yield number

    results = ordered(ADD_ONE, jobs(), workers)
    next(results)
    assert len(taken) <= 3 * workers
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_is_told_without_its_message(workers: int) -> None:
    with pytest.raises(FlywheelError) as error:
        list(ordered(functools.partial(operator.attrgetter, "secret"), ["a@example.com"] * 3, workers))
    assert error.value.reason == "scan_failed"
    assert "AttributeError at" in str(error.value)
    assert "example" not in str(error.value)


def test_a_worker_that_cannot_start_is_one_error() -> None:
    make = functools.partial(functools.partial, os._exit)
    with pytest.raises(FlywheelError, match="a worker process died") as error:
        list(ordered(make, range(3), 2))
    assert error.value.reason == "worker_died"


def test_a_killed_worker_is_one_error_and_leaves_no_process() -> None:
    before = set(psutil.Process().children())
    results = ordered(functools.partial(functools.partial, time.sleep), [0, *[60] * 10], 2)
    next(results)
    workers = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    workers[0].kill()
    with pytest.raises(FlywheelError, match="a worker process died"):
        next(results)
    left = {child for child in psutil.Process().children() if child not in before}
    assert [child for child in left if "spawn_main" in " ".join(child.cmdline())] == []


def test_a_worker_is_deaf_to_ctrl_c_from_its_first_moment() -> None:
    deaf: list[bool] = []
    others = set(psutil.Process().children())  # of tests before this one

    def jobs() -> Iterator[int]:
        yield 1
        for child in set(psutil.Process().children()) - others:
            if "spawn_main" in " ".join(child.cmdline()):
                status = dict(line.split(":\t") for line in Path(f"/proc/{child.pid}/status").read_text().splitlines())
                masks = int(status["SigBlk"], 16) | int(status["SigIgn"], 16)
                deaf.append(bool(masks & 1 << signal.SIGINT - 1))
        yield 2

    assert list(ordered(ADD_ONE, jobs(), 2)) == [(1, 2), (2, 3)]
    assert deaf and all(deaf)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
