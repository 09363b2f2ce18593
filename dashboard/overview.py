"""The overview page: spend, variants and audit events of the ledger."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import streamlit as st

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.dashboard import queries
from llm_flywheel.dashboard.client import LedgerClient, Range
from llm_flywheel.serving.ledger.records import AuditEvent

PRESETS: dict[str, int | None] = {
    "Last 15 minutes": 900,
    "Last hour": 3600,
    "Last 24 hours": 86_400,
    "Last 7 days": 7 * 86_400,
    "Last 30 days": 30 * 86_400,
    "Everything": None,
    "Custom": -1,
}
ALL_RUNS = "All runs"
_TIME = st.column_config.DatetimeColumn("Time (UTC)", format="YYYY-MM-DD HH:mm:ss", timezone="UTC")


def render(client: LedgerClient, ledger_url: str) -> None:
    """Draw the page.

    Args:
        client: Reads the ledger.
        ledger_url: Shown when there is no ledger.
    """
    st.title("Overview")
    try:
        runs = client.runs()
        span, run = _filters(runs)
        usage = queries.usage_frame(client.usage(span, run))
        events = client.audit(span.end)
    except FlywheelError as error:
        _no_ledger(error, ledger_url)
        return
    if not runs and usage.is_empty() and not events:
        _nothing_yet()
        return
    shown = [event for event in events if event.time >= span.start]
    _spend(usage, span)
    _variants(usage, events)
    _audit(client, shown)


def _filters(runs: Sequence[str]) -> tuple[Range, str | None]:
    """The range and run pickers in the sidebar."""
    with st.sidebar:
        preset = st.selectbox("Time range", list(PRESETS), index=2, key="preset")
        seconds = PRESETS[preset]
        now = time.time()
        span = Range(0.0 if seconds is None else now - seconds, now + 1)
        if preset == "Custom":
            span = _custom_range()
        run = st.selectbox("Run", [ALL_RUNS, *runs], key="run", help="The pipeline run that deployed the variants.")
        st.button("Refresh", width="stretch")
        st.caption("All times are UTC. This page reads the ledger and changes nothing.")
    return span, None if run == ALL_RUNS else run


def _custom_range() -> Range:
    today = datetime.now(UTC).date()
    picked = st.date_input("Days (UTC)", (today - timedelta(days=6), today), key="days")
    days = picked if isinstance(picked, tuple) else (picked,)
    first, last = (days[0], days[-1]) if days else (today, today)
    start = datetime.combine(first, datetime.min.time(), UTC)
    end = datetime.combine(last, datetime.min.time(), UTC) + timedelta(days=1)
    return Range(start.timestamp(), end.timestamp())


def _spend(usage: pl.DataFrame, span: Range) -> None:
    st.header("Spend")
    if usage.is_empty():
        st.info("No requests in this range. Choose a longer time range or another run in the sidebar.")
        return
    known = queries.currencies(usage)
    currency = known[0] if known else ""
    if len(known) > 1:
        currency = st.selectbox("Currency", known, key="currency")
    _headline(queries.totals(usage, currency), currency)
    group = st.segmented_control("Group by", list(queries.GROUPS), default="Model", key="group") or "Model"
    column = queries.GROUPS[group]
    left, right = st.columns(2)
    with left:
        over_time = queries.spend_over_time(usage, column, currency)
        st.subheader("Over time")
        _chart_and_table(
            over_time,
            lambda: st.bar_chart(over_time, x="time", y="spend", color=column, x_label="Time (UTC)", y_label=currency),
            {"time": _TIME, column: group, "spend": _money("Spend", currency), "requests": "Requests"},
            "spend_over_time",
        )
    with right:
        by_group = queries.spend_by(usage, column, currency)
        st.subheader(f"By {group.lower()}")
        _chart_and_table(
            by_group,
            lambda: st.bar_chart(by_group, x=column, y="spend", horizontal=True, x_label=currency, y_label=group),
            {
                column: group,
                "requests": "Requests",
                "prompt_tokens": "Prompt tokens",
                "completion_tokens": "Generated tokens",
                "spend": _money("Spend", currency),
            },
            f"spend_by_{column}",
        )


def _headline(totals: queries.Totals, currency: str) -> None:
    spend, requests, errors, prompt, completion = st.columns(5)
    spend.metric("Spend", f"{totals.spend:,.6g} {currency}".strip(), border=True)
    requests.metric("Requests", f"{totals.requests:,}", border=True)
    share = totals.server_errors / totals.requests
    errors.metric("Errors", f"{totals.server_errors:,} ({share:.1%})", border=True, help="Not those of callers.")
    prompt.metric("Prompt tokens", f"{totals.prompt_tokens:,}", border=True)
    completion.metric("Generated tokens", f"{totals.completion_tokens:,}", border=True)
    if totals.unpriced:
        st.caption(
            f"{totals.unpriced:,} requests have no cost, as their tokens or the price of their model is unknown."
        )


def _variants(usage: pl.DataFrame, events: Sequence[AuditEvent]) -> None:
    known = queries.currencies(usage)
    table = queries.variants(usage, events, known[0] if known else "")
    if table.is_empty():
        return
    st.header("Variants")
    label = pl.concat_str("model", pl.lit(" "), "variant", pl.when(pl.col("version") != "").then(
        pl.concat_str(pl.lit(" v"), "version")).otherwise(pl.lit("")))  # fmt: skip
    named = table.with_columns(label.alias("who"))
    traffic, speed = st.columns(2)
    with traffic:
        st.subheader("Share of traffic against weight")
        shares = _long(named, {"share": "measured share", "weight": "configured weight"})
        _chart_and_table(
            shares,
            lambda: st.bar_chart(
                shares,
                x="who",
                y="value",
                color="measure",
                stack=False,
                horizontal=True,
                x_label="per cent",
                y_label="",
            ),
            {"who": "Variant", "measure": "Measure", "value": st.column_config.NumberColumn("Per cent", format="%.1f")},
            "shares",
        )
    with speed:
        st.subheader("Latency and time to first token")
        names = {
            "ttft_p50": "TTFT p50",
            "ttft_p95": "TTFT p95",
            "latency_p50": "latency p50",
            "latency_p95": "latency p95",
        }
        times = _long(named, names)
        _chart_and_table(
            times,
            lambda: st.bar_chart(
                times, x="measure", y="value", color="who", stack=False, x_label="", y_label="milliseconds"
            ),
            {"who": "Variant", "measure": "Measure", "value": st.column_config.NumberColumn("ms", format="%.1f")},
            "latency",
        )
    _table(table, _variant_columns(known[0] if known else ""), "variants")


def _variant_columns(currency: str) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "model": "Model",
        "variant": "Variant",
        "version": "Version",
        "requests": "Requests",
        "share": number("Share %", format="%.1f"),
        "weight": number("Weight %", format="%.1f", help="Mean of the weights in force when the requests arrived."),
        "errors": "Errors",
        "error_rate": number("Error %", format="%.1f"),
        "client_errors": "Caller errors",
        "aborted": "Aborted",
        "ttft_p50": number("TTFT p50 ms", format="%.1f"),
        "ttft_p95": number("TTFT p95 ms", format="%.1f"),
        "latency_p50": number("Latency p50 ms", format="%.1f"),
        "latency_p95": number("Latency p95 ms", format="%.1f"),
        "tokens_per_s": number("Tokens/s", format="%.1f", help="Generated tokens per second that a request took."),
        "spend": _money("Spend", currency),
    }


def _audit(client: LedgerClient, events: Sequence[AuditEvent]) -> None:
    st.header("Audit")
    if st.button("Verify the chain", key="verify"):
        verdict = client.verify()
        if verdict.ok:
            st.success(f"Intact: {verdict.events:,} events. Head: {verdict.head}")
        else:
            st.error(f"Broken at event {verdict.first_bad_seq} ({verdict.reason}): {verdict.detail}.")
    table = queries.audit_frame(events)
    if table.is_empty():
        st.info("No audit events in this range.")
        return
    actor, action, words = st.columns(3)
    actors = actor.multiselect("Actor", sorted(table["actor"].unique()), key="actors", placeholder="All")
    actions = action.multiselect("Action", sorted(table["action"].unique()), key="actions", placeholder="All")
    text = words.text_input("Object or details contain", key="words")
    found = queries.filter_audit(table, actors, actions, text)
    st.caption(f"{found.height:,} of {table.height:,} events in this range, the latest first.")
    columns = {
        "seq": st.column_config.NumberColumn("Event", width="small"), "time": _TIME, "actor": "Actor",
        "action": "Action", "object": "Object", "details": st.column_config.TextColumn("Details", width="large"),
        "hash": "Hash",
    }  # fmt: skip
    _table(found, columns, "audit")


def _chart_and_table(data: pl.DataFrame, draw: Any, columns: dict[str, Any], name: str) -> None:
    """A chart and, on a second tab, the same numbers as a table."""
    chart, table = st.tabs(["Chart", "Table"])
    with chart:
        draw()
    with table:
        _table(data, columns, name)


def _table(data: pl.DataFrame, columns: dict[str, Any], name: str) -> None:
    st.dataframe(data.select(columns), column_config=columns, hide_index=True, width="stretch", key=f"table_{name}")
    st.download_button("Download CSV", data.write_csv(), f"{name}.csv", "text/csv", key=f"csv_{name}")


def _long(table: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    long = table.unpivot(list(names), index="who", variable_name="measure", value_name="value")
    return long.with_columns(pl.col("measure").replace(names)).drop_nulls("value")


def _money(label: str, currency: str) -> Any:
    return st.column_config.NumberColumn(f"{label} ({currency})" if currency else label, format="%.6f")


def _no_ledger(error: FlywheelError, ledger_url: str) -> None:
    if error.reason == "missing":
        _nothing_yet()
        st.caption(f"Looked at {ledger_url.rpartition('@')[2]}")
    else:
        st.error(f"The ledger cannot be read: {error.what}")


def _nothing_yet() -> None:
    st.info("The ledger is empty. A run fills it; start one, then press Refresh.")
    st.code("flywheel run pipelines/configs/quickstart.yaml", language="bash")
