"""The ledger: usage rows and the audit chain in SQLite (WAL) or PostgreSQL, through SQLAlchemy Core."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, Table, create_engine, event, func, insert, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from llm_flywheel.components.common.errors import FlywheelError, without_password
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.ledger.chain import GENESIS, canonical_json, next_event, verify_chain
from llm_flywheel.serving.ledger.records import AuditEvent, AuditVerdict, JournalEntry, UsageRow
from llm_flywheel.serving.ledger.tables import audit, audit_head, metadata, rollout_journal, usage

_USAGE_COLUMNS = tuple(usage.c[field.name] for field in fields(UsageRow))
_AUDIT_COLUMNS = tuple(audit.c[field.name] for field in fields(AuditEvent))
_JOURNAL_COLUMNS = tuple(rollout_journal.c[field.name] for field in fields(JournalEntry))
_BUSY_MS = 30_000  # several processes write; each transaction takes milliseconds
_SCHEMA_LOCK = 0x666C7977  # any constant; PostgreSQL advisory lock while tables are made


class Ledger:
    """Usage and audit of everything that runs; safe for several processes and threads at once.

    Example:
        >>> ledger = Ledger.open("sqlite:////tmp/ledger.db")
        >>> ledger.append_audit("eva", "model.promote", "model:support/3", {"from": "challenger"}).seq
        1
        >>> ledger.verify_audit().ok
        True
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> "Ledger":
        """Connect, and create the tables where they are missing.

        Args:
            url: SQLAlchemy URL, ``sqlite:////absolute/path.db`` or ``postgresql+psycopg://…``.
            read_only: Create nothing and refuse every write.

        Raises:
            FlywheelError: The URL is not usable, the database does not answer, or ``read_only`` and there is none.
        """
        parsed = _parsed(url)
        if parsed.get_backend_name() == "sqlite":
            _prepare_folder(parsed, read_only=read_only)
        try:
            engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
        except ModuleNotFoundError as error:
            raise FlywheelError(
                f"the database driver {error.name} is not installed",
                where=without_password(str(parsed)),
                fix='pip install "psycopg[binary]" and use postgresql+psycopg://…',
                reason="driver",
            ) from None
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _on_sqlite_read_only if read_only else _on_sqlite_connect)
            event.listen(engine, "begin", _on_sqlite_begin)
        ledger = cls(engine)
        if not read_only:
            ledger._create_tables()
        return ledger

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record_usage(self, rows: Sequence[UsageRow]) -> int:
        """Write usage rows in one transaction; a row whose ``request_id`` is known already is ignored.

        Returns:
            How many rows were new.
        """
        if not rows:
            return 0
        return self._insert_new(usage, [vars(row) for row in rows])

    def usage_between(
        self,
        start: float,
        end: float,
        model: str | None = None,
        variant: str | None = None,
        run_id: str | None = None,
    ) -> list[UsageRow]:
        """Usage rows with ``start <= time < end`` (Unix seconds), oldest first, optionally of one kind only."""
        query = select(*_USAGE_COLUMNS).where(usage.c.time >= start, usage.c.time < end)
        for column, value in ((usage.c.model, model), (usage.c.variant, variant), (usage.c.run_id, run_id)):
            if value is not None:
                query = query.where(column == value)
        with self._read() as connection:
            found = connection.execute(query.order_by(usage.c.time, usage.c.request_id))
            return [UsageRow(*row) for row in found]

    def has_usage(self) -> bool:
        """Whether any request was ever recorded."""
        with self._read() as connection:
            return connection.execute(select(usage.c.request_id).limit(1)).first() is not None

    def run_ids(self) -> list[str]:
        """Every run that has usage, the one with the latest request first."""
        query = (
            select(usage.c.run_id)
            .where(usage.c.run_id != "")
            .group_by(usage.c.run_id)
            .order_by(text("max(time) desc"), usage.c.run_id)
        )
        with self._read() as connection:
            return list(connection.execute(query).scalars())

    def append_audit(self, actor: str, action: str, object: str, details: Mapping[str, Any]) -> AuditEvent:
        """Append one event to the chain; it is durable when this returns.

        Args:
            actor: Who did it.
            action: What was done, dotted (``model.promote``).
            object: What it was done to (``model:name/3``).
            details: Facts; JSON values only.

        Raises:
            FlywheelError: ``details`` are not JSON, or the database refuses.
        """
        # Through JSON once, so that what is hashed is what is read back.
        stored = canonical_json(dict(details))
        with self._write() as connection:
            head = connection.execute(select(audit_head.c.seq, audit_head.c.hash).with_for_update()).one()
            made = next_event(head.hash, head.seq + 1, time.time(), actor, action, object, json.loads(stored))
            connection.execute(insert(audit).values(**{**vars(made), "details": stored}))
            connection.execute(update(audit_head).values(seq=made.seq, hash=made.hash))
        return made

    def audit_events(
        self,
        start: float = 0.0,
        end: float = float("inf"),
        *,
        actor: str | None = None,
        action: str | None = None,
        object: str | None = None,
    ) -> list[AuditEvent]:
        """Audit events with ``start <= time < end`` in chain order, optionally of one actor, action or object."""
        query = select(*_AUDIT_COLUMNS).where(audit.c.time >= start)
        if end != float("inf"):
            query = query.where(audit.c.time < end)
        for column, value in ((audit.c.actor, actor), (audit.c.action, action), (audit.c.object, object)):
            if value is not None:
                query = query.where(column == value)
        with self._read() as connection:
            return [_event(row) for row in connection.execute(query.order_by(audit.c.seq))]

    def verify_audit(self) -> AuditVerdict:
        """Check the whole chain, and that it ends where the head record says."""
        with self._read() as connection:
            head = connection.execute(select(audit_head.c.seq, audit_head.c.hash)).one_or_none()
            if head is None:
                return AuditVerdict(False, 0, 1, "head", "the head record is missing")
            rows = connection.execution_options(yield_per=5_000).execute(select(*_AUDIT_COLUMNS).order_by(audit.c.seq))
            return verify_chain((_event(row) for row in rows), head.seq, head.hash)

    def append_journal(self, entry: JournalEntry) -> bool:
        """Write one entry of a rollout's journal; it is durable when this returns.

        Returns:
            Whether it was written; False if the rollout has an entry with this ``seq`` already.
        """
        body = json.dumps(entry.body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return self._insert_new(rollout_journal, [{**vars(entry), "body": body}]) == 1

    def journal(self, run_id: str, model: str, version: str) -> list[JournalEntry]:
        """The journal of one rollout, from its first entry on; empty if there was none."""
        mine = {"run_id": run_id, "model": model, "version": version}
        query = select(*_JOURNAL_COLUMNS).filter_by(**mine).order_by(rollout_journal.c.seq)
        with self._read() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def journal_heads(self, model: str) -> list[JournalEntry]:
        """The last entry of every rollout of a model, oldest first."""
        key = rollout_journal.c.run_id, rollout_journal.c.version
        last = select(*key, func.max(rollout_journal.c.seq)).where(rollout_journal.c.model == model).group_by(*key)
        query = select(*_JOURNAL_COLUMNS).where(
            rollout_journal.c.model == model, tuple_(*key, rollout_journal.c.seq).in_(last)
        )
        with self._read() as connection:
            return [_entry(row) for row in connection.execute(query.order_by(rollout_journal.c.time))]

    def _insert_new(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert the rows whose primary key is not there yet; returns how many those were."""
        module = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        statement = module.insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
        with self._write() as connection:
            return connection.execute(statement, rows).rowcount

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with (
            _explained(self._engine),
            self._engine.connect() as connection,
            connection.execution_options(flywheel_write=True).begin(),
        ):
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        # One snapshot for several statements: PostgreSQL's default would see a later head than the events.
        with _explained(self._engine), self._engine.connect() as connection:
            if self._engine.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def _create_tables(self) -> None:
        with self._write() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
            metadata.create_all(connection)
            if connection.execute(select(audit_head.c.id)).first() is None:
                connection.execute(insert(audit_head).values(id=1, seq=0, hash=GENESIS))


def verify(settings: Settings) -> AuditVerdict:
    """Check the audit chain of the ledger that ``settings`` name.

    Raises:
        FlywheelError: There is no ledger, or it does not answer.
    """
    with Ledger.open(settings.ledger_url, read_only=True) as ledger:
        return ledger.verify_audit()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() in ("sqlite", "postgresql"):
            return parsed
    except (ArgumentError, NoSuchModuleError, ValueError):
        pass
    raise FlywheelError(
        "not a ledger address",
        where=url.partition("://")[0] or "ledger_url",
        fix="use sqlite:////absolute/path/ledger.db or postgresql+psycopg://user@host/database",
        reason="url",
    )


def _prepare_folder(url: URL, *, read_only: bool) -> None:
    if not url.database or url.database == ":memory:":
        raise FlywheelError("a ledger must be a file", where=without_password(str(url)), reason="url")
    path = Path(url.database)
    if read_only and not path.exists():
        raise FlywheelError(
            "there is no ledger yet", where=str(path), fix="flywheel run pipelines/configs/quickstart.yaml",
            reason="missing",
        )  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlywheelError(f"cannot make the folder: {error}", where=str(path), reason="ledger") from None


def _event(row: Row[Any]) -> AuditEvent:
    values = row._asdict()
    try:
        values["details"] = json.loads(values["details"])
    except ValueError:  # tampered with; the chain check will say so
        values["details"] = {"unreadable": values["details"]}
    return AuditEvent(**values)


def _entry(row: Row[Any]) -> JournalEntry:
    values = row._asdict()
    return JournalEntry(**{**values, "body": json.loads(values["body"])})


def _on_sqlite_connect(connection: Any, _: object) -> None:
    connection.isolation_level = None  # _on_sqlite_begin opens transactions, not the driver
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")


def _on_sqlite_read_only(connection: Any, _: object) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    connection.execute("PRAGMA query_only=ON")


def _switch_to_wal(connection: Any) -> None:
    # SQLite does not wait for busy_timeout when two processes change the journal mode of a new file at once.
    import sqlite3

    for attempt in range(200):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if attempt == 199:
                raise
            time.sleep(0.05)


def _on_sqlite_begin(connection: Connection) -> None:
    # A deferred transaction that reads the head and then writes would fail when another writer came between.
    immediate = connection.get_execution_options().get("flywheel_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    """Turn a database failure into one message, without SQL and without the password."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise FlywheelError(
            f"the ledger refused: {str(cause).strip()}", where=without_password(str(engine.url)), reason="ledger"
        ) from None
