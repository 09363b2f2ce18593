"""The one protocol behind which a training runs somewhere."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

from llm_flywheel.components.finetune.events import TrainingLog


class Launcher(Protocol):
    """Runs the training program to its end."""

    def run(self, job: Path) -> TrainingLog:
        """Train as ``job`` (a JSON file, see `train.Job`) says.

        Raises:
            FlywheelError: The training failed, or the place to run it is not available.
        """


@contextmanager
def sigterm_exits() -> Iterator[None]:
    """While this lasts, SIGTERM raises SystemExit with status 143, so that what was started is ended as on Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough: the way out must not be interrupted
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
