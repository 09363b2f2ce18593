"""Tables of the ledger, the same on SQLite and PostgreSQL."""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

usage = Table(
    "usage",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("time", Double, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("variant", Text, nullable=False),
    Column("prompt_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("ttft_s", Double),
    Column("latency_s", Double, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("cost", Double),
    Column("currency", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("upstream", Text, nullable=False),
    Index("usage_time", "time"),
    Index("usage_model_variant_time", "model", "variant", "time"),
    Index("usage_run_time", "run_id", "time"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("details", Text, nullable=False),  # canonical JSON, exactly what was hashed
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

# One row: the end of the chain. Writers lock it, so that two processes never append to the same event,
# and a tail that was cut off is missed.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)

# One row per thing that a rollout did, written before it acts on it, so that another process can go on from there.
# The key is also a fence: two processes that go on with one rollout want the same `seq`, and one of them is refused.
rollout_journal = Table(
    "rollout_journal",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("time", Double, nullable=False),
    Column("phase", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Index("rollout_journal_model", "model"),
)
