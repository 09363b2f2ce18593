"""The Streamlit program: ``flywheel dashboard`` starts it, one module per page."""

import streamlit as st

from llm_flywheel.components.common.settings import Settings
from llm_flywheel.dashboard.client import LedgerClient
from llm_flywheel.dashboard.overview import render

# Emoji, never :material: icons: those make the browser fetch from another host.
st.set_page_config(page_title="LLM Flywheel", page_icon="🎡", layout="wide")


def overview() -> None:
    """Spend, variants and audit of the ledger that this process's settings name."""
    render(LedgerClient(Settings.from_env().ledger_url))


st.navigation([st.Page(overview, title="Overview", icon="📊", default=True)]).run()
