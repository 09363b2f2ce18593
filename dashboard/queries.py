"""What the dashboard computes, as pure functions from ledger rows to tables."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from llm_flywheel.serving.ledger.records import AuditEvent, UsageRow

SERVER_ERRORS = ("upstream_error", "timeout", "unavailable")
GROUPS = {"Model": "model", "Variant": "variant", "User": "user", "Team": "team", "Version": "version"}
SET_WEIGHTS = "gateway.set_weights"
NONE = "(none)"

_SCHEMA: dict[str, type[pl.DataType]] = {
    "time": pl.Float64,
    "request_id": pl.String,
    "key_id": pl.String,
    "user": pl.String,
    "team": pl.String,
    "model": pl.String,
    "version": pl.String,
    "variant": pl.String,
    "prompt_tokens": pl.Int64,
    "cached_tokens": pl.Int64,
    "completion_tokens": pl.Int64,
    "ttft_s": pl.Float64,
    "latency_s": pl.Float64,
    "outcome": pl.String,
    "status": pl.Int64,
    "cost": pl.Float64,
    "currency": pl.String,
    "run_id": pl.String,
    "upstream": pl.String,
}
_TIME = pl.Datetime("ms", "UTC")
# A chart with more bars than this is slower and no clearer.
_MOST_BUCKETS = 120
_BUCKETS_S = (1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 86_400, 7 * 86_400)


@dataclass(frozen=True)
class Totals:
    """The numbers at the top of the page.

    Attributes:
        requests: All requests.
        server_errors: Those that failed through no fault of the caller.
        prompt_tokens: Sum over requests with known tokens.
        completion_tokens: The same for generated tokens.
        spend: Sum of costs, in one currency.
        unpriced: Answered or aborted requests without a cost, as tokens or price are unknown.
    """

    requests: int
    server_errors: int
    prompt_tokens: int
    completion_tokens: int
    spend: float
    unpriced: int


def usage_frame(rows: Iterable[UsageRow]) -> pl.DataFrame:
    """Usage rows as a table, one column per field."""
    return pl.DataFrame([vars(row) for row in rows], schema=_SCHEMA)


def currencies(usage: pl.DataFrame) -> list[str]:
    """The currencies that occur, the one with most requests first."""
    counts = usage.filter(pl.col("currency") != "").group_by("currency").len().sort("len", "currency", descending=True)
    return counts["currency"].to_list()


def totals(usage: pl.DataFrame, currency: str) -> Totals:
    """The numbers at the top of the page; costs in another currency than ``currency`` are left out."""
    return Totals(
        requests=usage.height,
        server_errors=usage.filter(pl.col("outcome").is_in(SERVER_ERRORS)).height,
        prompt_tokens=int(usage["prompt_tokens"].sum()),
        completion_tokens=int(usage["completion_tokens"].sum()),
        spend=float(usage.filter(pl.col("currency") == currency)["cost"].sum()),
        unpriced=usage.filter(pl.col("outcome").is_in(["ok", "aborted"]) & pl.col("cost").is_null()).height,
    )


def spend_by(usage: pl.DataFrame, column: str, currency: str) -> pl.DataFrame:
    """Requests, tokens and spend per value of ``column``, the dearest first."""
    in_currency = pl.col("cost").filter(pl.col("currency") == currency)
    return (
        _named(usage, column)
        .group_by(column)
        .agg(
            pl.len().alias("requests"),
            pl.col("prompt_tokens").sum(),
            pl.col("completion_tokens").sum(),
            in_currency.sum().alias("spend"),
        )
        .sort(["spend", "requests", column], descending=[True, True, False])
    )


def bucket_seconds(seconds: float) -> int:
    """Width of the time buckets that cut ``seconds`` into a number of bars that a person can read."""
    return next((width for width in _BUCKETS_S if seconds / width <= _MOST_BUCKETS), _BUCKETS_S[-1])


def spend_over_time(usage: pl.DataFrame, column: str, currency: str) -> pl.DataFrame:
    """Spend and requests per time bucket and value of ``column``.

    Returns:
        Columns ``time`` and ``end`` (of the bucket, UTC), ``column``, ``spend``, ``requests``, and ``bottom`` and
        ``top``, the stretch of the bucket's stacked bar.
    """
    if usage.is_empty():
        return pl.DataFrame(
            schema={
                "time": _TIME,
                "end": _TIME,
                column: pl.String,
                "spend": pl.Float64,
                "requests": pl.UInt32,
                "top": pl.Float64,
                "bottom": pl.Float64,
            }
        )
    first, last = (float(bound) for bound in usage.select(pl.min("time"), pl.max("time").alias("last")).row(0))
    width = bucket_seconds(last - first)
    start = (pl.col("time") // width * width * 1000).cast(pl.Int64).cast(_TIME)
    end = (pl.col("time") + pl.duration(seconds=width)).alias("end")
    return (
        _named(usage, column)
        .group_by(start.alias("time"), column)
        .agg(pl.col("cost").filter(pl.col("currency") == currency).sum().alias("spend"), pl.len().alias("requests"))
        .sort("time", column)
        .select("time", end, column, "spend", "requests", pl.col("spend").cum_sum().over("time").alias("top"))
        .with_columns((pl.col("top") - pl.col("spend")).alias("bottom"))
    )


def expected_shares(usage: pl.DataFrame, events: Sequence[AuditEvent]) -> pl.DataFrame:
    """What share of a model's requests each variant should have had: the mean weight over their arrivals.

    Weights change while a rollout runs; comparing with the last ones only would call every rollout wrong.

    Args:
        usage: Usage rows.
        events: Audit events; those of action `SET_WEIGHTS` on ``model:NAME`` hold the weights.

    Returns:
        Columns ``model``, ``variant``, ``weight`` (per cent, mean over requests that arrived under known weights).
    """
    changes = [
        {"model": event.object.removeprefix("model:"), "time": event.time, "variant": variant, "weight": float(weight)}
        for event in events
        if event.action == SET_WEIGHTS
        for variant, weight in _weights(event.details).items()
    ]
    schema = {"model": pl.String, "time": pl.Float64, "variant": pl.String, "weight": pl.Float64}
    table = pl.DataFrame(changes, schema=schema).sort("time")
    arrivals = usage.filter(pl.col("variant") != "").select("model", "time").sort("time")
    parts = [
        arrivals.join_asof(table.filter(pl.col("variant") == name), on="time", by="model", check_sortedness=False)
        .drop_nulls("weight")
        .group_by("model", "variant")
        .agg(pl.col("weight").mean())
        for name in table["variant"].unique().sort()
    ]
    return pl.concat(parts) if parts else table.select("model", "variant", "weight")


def variants(usage: pl.DataFrame, events: Sequence[AuditEvent], currency: str) -> pl.DataFrame:
    """One row per model, variant and version: traffic, errors, speed and spend.

    Times are milliseconds over answered requests; ``tokens_per_s`` is generated tokens per second that a request
    took; shares and weights are per cent.
    """
    ok = pl.col("outcome") == "ok"
    routed = usage.filter(pl.col("variant") != "")
    table = (
        routed.group_by("model", "variant", "version")
        .agg(
            pl.len().alias("requests"),
            pl.col("outcome").is_in(SERVER_ERRORS).sum().alias("errors"),
            (pl.col("outcome") == "client_error").sum().alias("client_errors"),
            (pl.col("outcome") == "aborted").sum().alias("aborted"),
            *[
                (pl.col(column).filter(ok).quantile(quantile, "linear") * 1000).alias(f"{name}_p{quantile * 100:.0f}")
                for name, column in (("ttft", "ttft_s"), ("latency", "latency_s"))
                for quantile in (0.5, 0.95)
            ],
            _ratio(pl.col("completion_tokens").filter(ok).sum(), pl.col("latency_s").filter(ok).sum()).alias(
                "tokens_per_s"
            ),
            pl.col("cost").filter(pl.col("currency") == currency).sum().alias("spend"),
        )
        .with_columns(
            (pl.col("errors") / pl.col("requests") * 100).alias("error_rate"),
            (pl.col("requests") / pl.col("requests").sum().over("model") * 100).alias("share"),
        )
    )
    return table.join(expected_shares(usage, events), on=["model", "variant"], how="left").sort(
        "model", "variant", "version"
    )


def by_measure(table: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The table of `variants` in long form, for grouped bars; what was not measured is left out.

    Args:
        table: From `variants`.
        names: Columns to take, with the names they get.

    Returns:
        Columns ``variant`` (with its model and version), ``measure``, ``value``.
    """
    version = pl.when(pl.col("version") != "").then(pl.format(" v{}", "version")).otherwise(pl.lit(""))
    who = pl.concat_str("model", pl.lit(" "), "variant", version)
    long = table.with_columns(variant=who).unpivot(
        list(names), index="variant", variable_name="measure", value_name="value"
    )
    return long.with_columns(pl.col("measure").replace(dict(names))).drop_nulls("value")


def audit_frame(events: Iterable[AuditEvent]) -> pl.DataFrame:
    """Audit events as a table, the latest first; ``time`` is a UTC date and time, ``details`` JSON."""
    schema = {
        "seq": pl.Int64, "time": pl.Float64, "actor": pl.String, "action": pl.String, "object": pl.String,
        "details": pl.String, "hash": pl.String,
    }  # fmt: skip
    rows = [
        {**{name: getattr(event, name) for name in schema}, "details": json.dumps(event.details, ensure_ascii=False)}
        for event in events
    ]
    time = (pl.col("time") * 1000).cast(pl.Int64).cast(_TIME)
    return pl.DataFrame(rows, schema=schema).with_columns(time.alias("time")).sort("seq", descending=True)


def filter_audit(audit: pl.DataFrame, actors: Sequence[str], actions: Sequence[str], words: str) -> pl.DataFrame:
    """Audit events of some actors and actions (none: all) that contain ``words`` in their object or details."""
    if actors:
        audit = audit.filter(pl.col("actor").is_in(actors))
    if actions:
        audit = audit.filter(pl.col("action").is_in(actions))
    needle = words.strip().lower()
    if needle:
        text = pl.concat_str("object", "details", separator=" ").str.to_lowercase()
        audit = audit.filter(text.str.contains(needle, literal=True))
    return audit


def _weights(details: Mapping[str, object]) -> dict[str, int]:
    weights = details.get("to")
    return {str(k): v for k, v in weights.items() if isinstance(v, int)} if isinstance(weights, dict) else {}


def _named(usage: pl.DataFrame, column: str) -> pl.DataFrame:
    return usage.with_columns(pl.when(pl.col(column) == "").then(pl.lit(NONE)).otherwise(pl.col(column)).alias(column))


def _ratio(top: pl.Expr, bottom: pl.Expr) -> pl.Expr:
    return pl.when(bottom > 0).then(top / bottom)
