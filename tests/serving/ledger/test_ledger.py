"""Usage and audit on a real database; every test runs on SQLite and on PostgreSQL."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import create_engine

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.ledger.chain import next_event
from llm_flywheel.serving.ledger.ledger import Ledger, verify
from llm_flywheel.serving.ledger.records import JournalEntry, UsageRow

ROW = UsageRow(
    time=100.25, request_id="r1", key_id="k1", user="eva", team="care", model="support", version="3",
    variant="canary", prompt_tokens=10, cached_tokens=4, completion_tokens=2, ttft_s=0.125, latency_s=0.5,
    outcome="ok", status=200, cost=1.25e-06, currency="EUR", run_id="run-1", upstream="http://127.0.0.1:8001",
)  # fmt: skip
UNKNOWN = UsageRow(time=101.0, request_id="r2", model="support", variant="stable", outcome="unavailable", status=503)


def _sql(url: str, *statements: str) -> None:
    """What somebody with access to the database can do behind the ledger's back."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_usage_comes_back_as_it_was_written(ledger):
    assert ledger.record_usage([UNKNOWN, ROW]) == 2
    assert ledger.usage_between(0, 1000) == [ROW, UNKNOWN]


def test_a_request_is_counted_once(ledger):
    assert ledger.record_usage([ROW]) == 1
    assert ledger.record_usage([ROW, replace(ROW, cost=9.0), UNKNOWN]) == 1
    assert ledger.usage_between(0, 1000) == [ROW, UNKNOWN]
    assert ledger.record_usage([]) == 0


@pytest.mark.parametrize(
    ("start", "end", "kind", "expected"),
    [
        (100.25, 101.0, {}, ["r1"]),
        (100.26, 101.1, {}, ["r2"]),
        (0, 1000, {"variant": "canary"}, ["r1"]),
        (0, 1000, {"model": "support", "variant": "stable"}, ["r2"]),
        (0, 1000, {"model": "other"}, []),
        (0, 1000, {"run_id": "run-1"}, ["r1"]),
        (0, 1000, {"run_id": ""}, ["r2"]),
    ],
)
def test_usage_between_takes_the_start_and_leaves_the_end(ledger, start, end, kind, expected):
    ledger.record_usage([ROW, UNKNOWN])
    assert [row.request_id for row in ledger.usage_between(start, end, **kind)] == expected


def test_runs_are_listed_with_the_latest_first(ledger):
    ledger.record_usage([ROW, UNKNOWN, replace(ROW, request_id="r3", time=200.0, run_id="run-2")])
    assert ledger.run_ids() == ["run-2", "run-1"]


def test_audit_events_come_back_and_the_chain_holds(ledger):
    before = time.time()
    first = ledger.append_audit("eva", "gate.pass", "model:m/3", {"gain": 0.25, "한국어": ["é", None, 1.0, 1e-7]})
    second = ledger.append_audit("rollout", "model.promote", "model:m/3", {})

    assert (first.seq, first.previous, second.seq, second.previous) == (1, "0" * 64, 2, first.hash)
    assert before <= first.time <= second.time <= time.time()
    assert ledger.audit_events() == [first, second]
    verdict = ledger.verify_audit()
    assert (verdict.ok, verdict.events, verdict.head) == (True, 2, second.hash)


def test_audit_events_are_filtered(ledger):
    first = ledger.append_audit("eva", "gate.pass", "model:m/3", {})
    second = ledger.append_audit("rollout", "model.promote", "model:m/3", {})

    assert ledger.audit_events(actor="eva") == [first]
    assert ledger.audit_events(action="model.promote") == [second]
    assert ledger.audit_events(object="model:m/3") == [first, second]
    assert ledger.audit_events(0, first.time) == []


def test_details_that_are_not_json_are_refused_and_leave_no_event(ledger):
    with pytest.raises(FlywheelError, match="is not JSON"):
        ledger.append_audit("eva", "x", "y", {"path": object()})
    assert ledger.verify_audit().events == 0


TAMPERING = {
    "changed details": (["UPDATE audit SET details = '{\"n\":99}' WHERE seq = 3"], 3, "changed"),
    "changed actor": (["UPDATE audit SET actor = 'mallory' WHERE seq = 1"], 1, "changed"),
    "changed time": (["UPDATE audit SET time = time + 1 WHERE seq = 5"], 5, "changed"),
    "details are no JSON": (["UPDATE audit SET details = '{' WHERE seq = 2"], 2, "changed"),
    "details are NaN": (["UPDATE audit SET details = '{\"n\":NaN}' WHERE seq = 2"], 2, "changed"),
    "hash is no hash": (["UPDATE audit SET previous = 'zz' WHERE seq = 2"], 2, "changed"),
    "removed first": (["DELETE FROM audit WHERE seq = 1"], 1, "missing"),
    "removed inside": (["DELETE FROM audit WHERE seq = 3"], 3, "missing"),
    "removed last": (["DELETE FROM audit WHERE seq = 5"], 5, "missing"),
    "removed all": (["DELETE FROM audit"], 1, "missing"),
    "swapped": (
        [
            "UPDATE audit SET seq = 30 WHERE seq = 3",
            "UPDATE audit SET seq = 3 WHERE seq = 4",
            "UPDATE audit SET seq = 4 WHERE seq = 30",
        ],
        3,
        "changed",
    ),
    "appended by hand": (
        ["INSERT INTO audit SELECT 6, time, actor, action, object, details, previous, hash FROM audit WHERE seq = 5"],
        6,
        "changed",
    ),
    "head removed": (["DELETE FROM audit_head"], 1, "head"),
    "head set back": (["UPDATE audit_head SET seq = 4"], 5, "unknown"),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_tampering_is_found_and_the_event_named(ledger, ledger_url, name):
    statements, bad, reason = TAMPERING[name]
    for number in range(1, 6):
        ledger.append_audit("eva", "count", "thing", {"n": number})
    assert ledger.verify_audit().ok

    _sql(ledger_url, *statements)

    verdict = ledger.verify_audit()
    assert (verdict.ok, verdict.first_bad_seq, verdict.reason) == (False, bad, reason)


@pytest.mark.parametrize("bad", [1, 3, 5])
def test_an_event_that_was_replaced_and_hashed_anew_is_found(ledger, ledger_url, bad):
    for number in range(1, 6):
        ledger.append_audit("eva", "count", "thing", {"n": number})
    old = ledger.audit_events()[bad - 1]
    forged = next_event(old.previous, bad, old.time, "mallory", old.action, old.object, {"n": 0})

    _sql(
        ledger_url,
        f"UPDATE audit SET actor = 'mallory', details = '{{\"n\":0}}', hash = '{forged.hash}' WHERE seq = {bad}",
    )

    verdict = ledger.verify_audit()
    assert (verdict.ok, verdict.first_bad_seq, verdict.reason) == (False, bad, "rewritten")


def test_threads_append_one_chain(ledger):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ledger.append_audit("t", "count", "thing", {"n": number}), range(80)))
    assert ledger.verify_audit().events == 80
    assert ledger.verify_audit().ok
    assert sorted(event.details["n"] for event in ledger.audit_events()) == list(range(80))


def test_processes_open_and_append_one_chain(ledger_url):
    code = (
        "import sys; from llm_flywheel.serving.ledger.ledger import Ledger\n"
        "from llm_flywheel.serving.ledger.records import JournalEntry, UsageRow\n"
        "ledger = Ledger.open(sys.argv[1])\n"
        "for n in range(25):\n"
        "    ledger.append_audit('p' + sys.argv[2], 'count', 'thing', {'n': n})\n"
        "    ledger.record_usage([UsageRow(time=float(n), request_id=f'{sys.argv[2]}-{n}')])\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, ledger_url, str(number)]) for number in range(4)]
    assert [process.wait(120) for process in running] == [0, 0, 0, 0]

    with Ledger.open(ledger_url, read_only=True) as ledger:
        verdict = ledger.verify_audit()
        assert (verdict.ok, verdict.events) == (True, 100)
        assert len(ledger.usage_between(0, 1000)) == 100


def test_verify_reads_the_ledger_of_the_settings(ledger, ledger_url):
    ledger.append_audit("eva", "x", "y", {})
    assert verify(replace(Settings.from_env(), ledger_url=ledger_url)).events == 1


def test_opening_again_keeps_everything(ledger, ledger_url):
    ledger.append_audit("eva", "x", "y", {})
    ledger.record_usage([ROW])
    with Ledger.open(ledger_url) as again:
        assert again.append_audit("eva", "x", "y", {}).seq == 2
        assert again.usage_between(0, 1000) == [ROW]


def entry(seq: int, run_id: str = "run-1", version: str = "2", time: float = 1.5, **body: object) -> JournalEntry:
    return JournalEntry(run_id, "support", version, seq, time, "look", body)


def test_a_journal_comes_back_as_it_was_written(ledger):
    entries = [entry(0, rate=0.1, words="한국어"), entry(1, deep={"list": [1, None]})]
    assert all(ledger.append_journal(made) for made in entries)
    assert ledger.journal("run-1", "support", "2") == entries
    assert ledger.journal("run-2", "support", "2") == []


def test_only_one_writer_gets_a_place_in_a_journal(ledger):
    assert ledger.append_journal(entry(0, by="first"))
    assert not ledger.append_journal(entry(0, by="second"))
    assert ledger.journal("run-1", "support", "2") == [entry(0, by="first")]


def test_the_last_entry_of_every_rollout_of_a_model_is_found(ledger):
    last = [entry(1, "run-2", time=2.0), entry(0, version="3", time=3.0), entry(2, time=4.0)]
    for made in [entry(0), entry(1), entry(0, "run-2"), *last, replace(entry(7), model="other")]:
        ledger.append_journal(made)
    assert ledger.journal_heads("support") == last
