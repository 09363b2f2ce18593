"""What one check of `flywheel doctor` is, and how many of them run without ever raising or hanging."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llm_flywheel.components.common.errors import FlywheelError

DEADLINE_S = 20.0


@dataclass(frozen=True)
class Check:
    """One thing that a target needs.

    Attributes:
        name: What was looked at.
        ok: Whether it is as it should be.
        detail: What was found.
        fix: The command that mends it; empty when `ok`.
        required: Whether the target cannot work without it.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    required: bool = True


@dataclass(frozen=True)
class Planned:
    """A check that has not run yet.

    Attributes:
        name: Its name, should it not get as far as to tell it.
        run: Does the work; may raise.
        required: As in `Check`; a check that says otherwise itself is believed.
    """

    name: str
    run: Callable[[], Check]
    required: bool = True


def run_checks(planned: Sequence[Planned], deadline_s: float = DEADLINE_S) -> list[Check]:
    """Run checks side by side.

    Args:
        planned: What to run.
        deadline_s: Seconds until the checks that still run are given up.

    Returns:
        One result per check, in the same order; a check that raised or hung is a failed one.
    """
    results: dict[int, Check] = {}

    def work(index: int, item: Planned) -> None:
        results[index] = _guarded(item)

    # Daemon threads, not an executor: a check that hangs must not keep the process from ending.
    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(planned)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + deadline_s
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return [
        results.get(index) or Check(item.name, False, f"no answer in {deadline_s:g} s", required=item.required)
        for index, item in enumerate(planned)
    ]


def _guarded(item: Planned) -> Check:
    try:
        check = item.run()
    except FlywheelError as error:
        detail = f"{error.where}: {error.what}" if error.where else error.what
        return Check(item.name, False, detail, error.fix, item.required)
    except Exception as error:  # a broken check must not hide the others
        text = " ".join(str(error).split())[:300]
        return Check(item.name, False, f"the check failed: {type(error).__name__}: {text}", required=item.required)
    return replace(check, required=check.required and item.required)
