"""Spend: the headline numbers, over time, and by model, variant, user, team or version."""

import altair as alt
import polars as pl
import streamlit as st

from llm_flywheel.dashboard import queries
from llm_flywheel.dashboard.widgets import TIME, chart_and_table, money


def render(usage: pl.DataFrame, currency: str) -> None:
    """Draw the panel for one currency."""
    _headline(queries.totals(usage, currency), currency)
    group = st.segmented_control("Group by", list(queries.GROUPS), default="Model", key="group") or "Model"
    left, right = st.columns(2)
    with left:
        _over_time(usage, group, currency)
    with right:
        _by_group(usage, group, currency)


def _headline(totals: queries.Totals, currency: str) -> None:
    spend, requests, errors, prompt, completion = st.columns(5)
    spend.metric(
        f"Spend ({currency})" if currency else "Spend",
        f"{totals.spend:,.{2 if totals.spend < 0.01 else 4}g}",
        border=True,
    )
    requests.metric("Requests", f"{totals.requests:,}", border=True)
    share = f"{totals.server_errors / totals.requests:.1%}"
    errors.metric("Errors", f"{totals.server_errors:,} ({share})", border=True, help="Without those that callers made.")
    prompt.metric("Prompt tokens", f"{totals.prompt_tokens:,}", border=True)
    completion.metric("Generated tokens", f"{totals.completion_tokens:,}", border=True)
    if totals.unpriced:
        st.caption(f"{totals.unpriced:,} requests have no cost: their tokens or the price of their model is unknown.")


def _over_time(usage: pl.DataFrame, group: str, currency: str) -> None:
    column = queries.GROUPS[group]
    table = queries.spend_over_time(usage, column, currency)
    # The scale is UTC: Vega's default is the browser's time zone, which the table twin does not use.
    chart = (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=alt.X("time:T", scale=alt.Scale(type="utc"), title="Time (UTC)"),
            x2="end:T",
            y=alt.Y("bottom:Q", title=currency or "Spend"),
            y2="top:Q",
            color=alt.Color(f"{column}:N", title=group, legend=alt.Legend(orient="bottom")),
            tooltip=[column, "spend", "requests"],
        )
    )
    st.subheader("Over time")
    columns = {"time": TIME, column: group, "spend": money(currency), "requests": "Requests"}
    chart_and_table(table, lambda: st.altair_chart(chart, width="stretch"), columns, "spend_over_time")


def _by_group(usage: pl.DataFrame, group: str, currency: str) -> None:
    column = queries.GROUPS[group]
    table = queries.spend_by(usage, column, currency)
    st.subheader(f"By {group.lower()}")
    columns = {
        column: group,
        "requests": "Requests",
        "prompt_tokens": "Prompt tokens",
        "completion_tokens": "Generated tokens",
        "spend": money(currency),
    }
    chart_and_table(
        table,
        lambda: st.bar_chart(table, x=column, y="spend", horizontal=True, x_label=group, y_label=currency or "Spend"),
        columns,
        f"spend_by_{column}",
    )
