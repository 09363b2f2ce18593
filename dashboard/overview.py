"""The overview page: spend, variants and audit events of the ledger."""

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl
import streamlit as st

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.dashboard import audit, queries, spend, variants
from llm_flywheel.dashboard.client import LedgerClient, Range

PRESETS: dict[str, int] = {
    "Last 15 minutes": 900,
    "Last hour": 3600,
    "Last 24 hours": 86_400,
    "Last 7 days": 7 * 86_400,
    "Last 30 days": 30 * 86_400,
}
EVERYTHING, CUSTOM, ALL_RUNS = "Everything", "Custom", "All runs"


def render(client: LedgerClient) -> None:
    """Draw the page."""
    st.title("Overview")
    try:
        _page(client)
    except FlywheelError as error:
        if error.reason == "missing":
            _nothing_yet()
            st.caption(f"Looked for {error.where}")
        else:
            st.error(f"The ledger cannot be read: {error.what}")


def _page(client: LedgerClient) -> None:
    runs = client.runs()
    span, run = _filters(runs)
    usage = queries.usage_frame(client.usage(span, run))
    events = client.audit(span.end)
    if not (runs or events or client.has_usage()):
        _nothing_yet()
        return
    st.header("Spend")
    if usage.is_empty():
        st.info("No requests in this range. Choose a longer time range or another run in the sidebar.")
    else:
        currency = _currency(usage)
        spend.render(usage, currency)
        st.header("Variants")
        variants.render(usage, events, currency)
    st.header("Audit")
    audit.render(client, [event for event in events if event.time >= span.start])


def _filters(runs: Sequence[str]) -> tuple[Range, str | None]:
    """The range and run pickers in the sidebar."""
    with st.sidebar:
        preset = st.selectbox("Time range", [*PRESETS, EVERYTHING, CUSTOM], index=2, key="preset")
        span = _custom_range() if preset == CUSTOM else preset_range(preset, time.time())
        # The run that just ended is what a person comes to look at; it is the first of the list.
        run = st.selectbox(
            "Run",
            [ALL_RUNS, *runs],
            index=min(1, len(runs)),
            key="run",
            help="The pipeline run that deployed the variants.",
        )
        st.button("Refresh", width="stretch", key="refresh")
        st.caption("All times are UTC. This page reads the ledger and changes nothing.")
    return span, None if run == ALL_RUNS else run


def preset_range(preset: str, now: float) -> Range:
    """The range that a preset means at ``now`` (Unix seconds)."""
    # One second more, as the end is exclusive and a request may arrive while the page is drawn.
    return Range(0.0 if preset == EVERYTHING else now - PRESETS[preset], now + 1)


def days_range(first: date, last: date) -> Range:
    """The range from the start of ``first`` to the end of ``last``, UTC."""
    start = datetime.combine(first, datetime.min.time(), UTC)
    end = datetime.combine(last, datetime.min.time(), UTC) + timedelta(days=1)
    return Range(start.timestamp(), end.timestamp())


def _custom_range() -> Range:
    today = datetime.now(UTC).date()
    picked = st.date_input("Days (UTC)", (today - timedelta(days=6), today), key="days")
    days = picked if isinstance(picked, tuple) and picked else (today,)
    return days_range(days[0], days[-1])


def _currency(usage: pl.DataFrame) -> str:
    known = queries.currencies(usage)
    if len(known) > 1:
        return str(st.selectbox("Currency", known, key="currency"))
    return known[0] if known else ""


def _nothing_yet() -> None:
    st.info("The ledger is empty. A run fills it: start one, then reload this page.")
    st.code("flywheel run pipelines/configs/quickstart.yaml", language="bash")
