"""A progress bar on a terminal, and percent lines where standard output is no terminal."""

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """Shows how far one long piece of work has come.

    Example:
        >>> with Progress("training", total=100) as progress:
        ...     progress.update(10, "loss 2.31")
    """

    def __init__(self, title: str, total: int, every_s: float = 10.0) -> None:
        self._title, self._total, self._every_s = title, max(1, total), every_s
        self._last = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = ("[progress.description]{task.description}", BarColumn(), TaskProgressColumn())
            self._bar = Bar(*columns, TimeRemainingColumn(), TextColumn("{task.fields[detail]}"))
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, detail="")
        return self

    def update(self, done: int, detail: str = "") -> None:
        """Report ``done`` of the total, with a few words or numbers to show beside it."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, detail=detail)
        elif done >= self._total or time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            percent = 100 * done // self._total
            print(f"{self._title}: {percent} %" + (f" ({detail})" if detail else ""), flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
