"""Pieces that several panels share: a chart with its table twin, tables with export, column formats."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import streamlit as st

TIME = st.column_config.DatetimeColumn("Time (UTC)", format="YYYY-MM-DD HH:mm:ss", timezone="UTC")


def chart_and_table(data: pl.DataFrame, draw: Callable[[], object], columns: Mapping[str, Any], name: str) -> None:
    """A chart and, on a second tab, the same numbers as a table.

    Args:
        data: What is drawn.
        draw: Draws the chart.
        columns: Columns of the table, with their titles or Streamlit column configs.
        name: Unique on the page; becomes the name of the CSV file.
    """
    chart, table = st.tabs(["Chart", "Table"])
    with chart:
        draw()
    with table:
        table_with_export(data, columns, name)


def table_with_export(data: pl.DataFrame, columns: Mapping[str, Any], name: str) -> None:
    """A table and a button that exports exactly what it shows as CSV."""
    shown = data.select(list(columns))
    st.dataframe(shown, column_config=dict(columns), hide_index=True, width="stretch", key=f"table_{name}")
    st.download_button("Download CSV", shown.write_csv(), f"{name}.csv", "text/csv", key=f"csv_{name}")


def number(label: str, digits: int = 1, note: str | None = None) -> Any:
    """A column of numbers with a fixed number of decimals."""
    return st.column_config.NumberColumn(label, format=f"%.{digits}f", help=note)


def money(currency: str) -> Any:
    """The column of costs."""
    return number(f"Spend ({currency})" if currency else "Spend", digits=6)
