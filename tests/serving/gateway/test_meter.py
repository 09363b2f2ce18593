"""Usage rows reach the ledger in batches, survive its failures, and are never silently lost."""

import asyncio
import json
import logging

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.gateway.meter import UsageWriter
from llm_flywheel.serving.ledger.records import UsageRow


def _row(number: int) -> UsageRow:
    return UsageRow(time=float(number), request_id=f"r{number}")


def _write(record, rows, *, max_backlog=100):
    async def run() -> bool:
        writer = UsageWriter(record, flush_interval_s=0.01, max_backlog=max_backlog)
        for row in rows:
            writer.put(row)
        full = writer.full
        writer.start()
        await writer.close()
        return full

    return asyncio.run(run())


def test_rows_are_written_in_batches_and_in_order():
    batches: list[list[UsageRow]] = []
    _write(batches.append, [_row(number) for number in range(2500)])

    assert [len(batch) for batch in batches] == [1000, 1000, 500]
    assert [row.time for batch in batches for row in batch] == [float(number) for number in range(2500)]


def test_a_refused_batch_is_written_again():
    attempts: list[list[UsageRow]] = []

    def flaky(rows: list[UsageRow]) -> None:
        attempts.append(list(rows))
        if len(attempts) < 3:
            raise FlywheelError("database is locked")

    _write(flaky, [_row(1)])
    assert attempts == [[_row(1)]] * 3


def test_rows_that_cannot_be_written_at_the_end_are_logged_in_full(caplog):
    def broken(rows: list[UsageRow]) -> None:
        raise FlywheelError("disk full")

    with caplog.at_level(logging.CRITICAL):
        _write(broken, [_row(7)])
    lost = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert json.loads(lost[0].getMessage().partition(": ")[2])["request_id"] == "r7"


def test_a_full_backlog_says_so():
    assert _write(lambda rows: None, [_row(1), _row(2)], max_backlog=2) is True
    assert _write(lambda rows: None, [_row(1)], max_backlog=2) is False
