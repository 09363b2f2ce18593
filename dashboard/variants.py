"""Variants: share of traffic against weight, errors, speed and spend of each."""

from collections.abc import Sequence

import polars as pl
import streamlit as st

from llm_flywheel.dashboard import queries
from llm_flywheel.dashboard.widgets import chart_and_table, money, number, table_with_export
from llm_flywheel.serving.ledger.records import AuditEvent

_SHARES = {"share": "measured share", "weight": "weight in force"}
_TIMES = {
    "ttft_p50": "TTFT p50",
    "ttft_p95": "TTFT p95",
    "latency_p50": "latency p50",
    "latency_p95": "latency p95",
}


def render(usage: pl.DataFrame, events: Sequence[AuditEvent], currency: str) -> None:
    """Draw the panel; ``events`` hold the weights."""
    table = queries.variants(usage, events, currency)
    if table.is_empty():
        st.info("No request in this range reached a variant.")
        return
    traffic, speed = st.columns(2)
    with traffic:
        st.subheader("Share of traffic against weight")
        _bars(queries.by_measure(table, _SHARES), "per cent", "shares")
    with speed:
        st.subheader("Latency and time to first token")
        _bars(queries.by_measure(table, _TIMES), "milliseconds", "latency")
    st.subheader("All numbers")
    table_with_export(table, _columns(currency), "variants")


def _bars(data: pl.DataFrame, unit: str, name: str) -> None:
    columns = {"variant": "Variant", "measure": "Measure", "value": number(unit.capitalize())}
    chart_and_table(
        data,
        lambda: st.bar_chart(
            data, x="measure", y="value", color="variant", stack=False, horizontal=True, x_label="", y_label=unit
        ),
        columns,
        name,
    )


def _columns(currency: str) -> dict[str, object]:
    return {
        "model": "Model",
        "variant": "Variant",
        "version": "Version",
        "requests": "Requests",
        "share": number("Share %"),
        "weight": number("Weight %", note="Mean of the weights in force when the requests arrived."),
        "errors": "Errors",
        "error_rate": number("Error %"),
        "client_errors": "Caller errors",
        "aborted": "Aborted",
        "ttft_p50": number("TTFT p50 ms"),
        "ttft_p95": number("TTFT p95 ms"),
        "latency_p50": number("Latency p50 ms"),
        "latency_p95": number("Latency p95 ms"),
        "tokens_per_s": number("Tokens/s", note="Generated tokens per second that a request took."),
        "spend": money(currency),
    }
