"""What holds for the embedded ledger only."""

import sqlite3
from dataclasses import replace

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.ledger.ledger import Ledger, verify
from llm_flywheel.serving.ledger.records import AuditVerdict, UsageRow


def test_every_append_is_durable_in_a_write_ahead_log(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{path}") as ledger:
        engine = ledger._engine
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_read_only_writes_nothing_and_wants_a_ledger(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with pytest.raises(FlywheelError) as error:
        Ledger.open(url, read_only=True)
    assert error.value.reason == "missing"
    assert list(tmp_path.iterdir()) == []

    Ledger.open(url).close()
    with Ledger.open(url, read_only=True) as ledger:
        with pytest.raises(FlywheelError, match="readonly"):
            ledger.record_usage([UsageRow(time=1.0, request_id="r")])
        assert ledger.verify_audit().ok


@pytest.mark.parametrize("url", ["mysql://eva:secret@host/db", "not a url", "sqlite://"])
def test_an_unusable_address_is_explained_without_its_password(url):
    with pytest.raises(FlywheelError) as error:
        Ledger.open(url)
    assert error.value.reason == "url"
    assert "secret" not in str(error.value)


def test_a_file_that_is_no_database_is_explained(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_text("hello, this is not a database; " * 100)
    with pytest.raises(FlywheelError, match="the ledger refused: file is not a database"):
        Ledger.open(f"sqlite:///{path}")


def test_verify_says_intact_broken_or_missing(tmp_path):
    path = tmp_path / "ledger.db"
    settings = replace(Settings.from_env(), ledger_url=f"sqlite:///{path}")
    with pytest.raises(FlywheelError, match="there is no ledger yet"):
        verify(settings)

    with Ledger.open(settings.ledger_url) as ledger:
        head = ledger.append_audit("eva", "x", "y", {}).hash
    assert verify(settings) == AuditVerdict(ok=True, events=1, head=head)

    with sqlite3.connect(path) as database:
        database.execute("UPDATE audit SET actor = 'mallory'")
    broken = verify(settings)
    assert (broken.ok, broken.first_bad_seq, broken.reason) == (False, 1, "changed")
