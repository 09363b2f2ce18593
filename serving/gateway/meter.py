"""Usage rows on their way to the ledger: collected off the hot path, written in batches, never dropped."""

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.ledger.records import UsageRow

logger = logging.getLogger(__name__)

_BATCH = 1_000
_LONGEST_PAUSE_S = 5.0
_LAST_ATTEMPTS = 3


class UsageWriter:
    """A background task between the requests and the ledger.

    Args:
        record: Writes rows durably; runs on a thread. Repeated rows must do no harm.
        flush_interval_s: How long rows are collected before they are written.
        max_backlog: Rows that may wait; see `full`.
    """

    def __init__(
        self, record: Callable[[Sequence[UsageRow]], object], *, flush_interval_s: float, max_backlog: int
    ) -> None:
        self._record = record
        self._interval = flush_interval_s
        self._max_backlog = max_backlog
        self._rows: deque[UsageRow] = deque()
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether the ledger is so far behind that no further request may be served unmetered."""
        return len(self._rows) >= self._max_backlog

    def put(self, row: UsageRow) -> None:
        """Hand over a row; returns at once."""
        self._rows.append(row)
        self._wake.set()

    def start(self) -> None:
        """Begin to write in the background."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what is left. Rows that the ledger still refuses go to the log, as JSON."""
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        failures = 0
        while not (self._closing.is_set() and (not self._rows or failures >= _LAST_ATTEMPTS)):
            if not self._rows:
                self._wake.clear()
                await self._wake.wait()
            await self._pause(self._interval * 2**failures)
            failures = 0 if await self._write_batch() else min(failures + 1, 30)
        for row in self._rows:
            logger.critical("usage row not written: %s", json.dumps(asdict(row)))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), min(seconds, _LONGEST_PAUSE_S))

    async def _write_batch(self) -> bool:
        batch = [self._rows[index] for index in range(min(_BATCH, len(self._rows)))]
        try:
            await asyncio.to_thread(self._record, batch)
        except FlywheelError as error:
            logger.error("%d usage rows wait for the ledger: %s", len(self._rows), error)
            return False
        except Exception:  # a bug must not end this task, or every later row would be lost
            logger.exception("%d usage rows wait for the ledger", len(self._rows))
            return False
        for _ in batch:
            self._rows.popleft()
        return True
