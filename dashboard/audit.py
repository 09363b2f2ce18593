"""Audit: the events of the chain, filtered, and the check that none was changed or removed."""

from collections.abc import Sequence

import streamlit as st

from llm_flywheel.dashboard import queries
from llm_flywheel.dashboard.client import LedgerClient
from llm_flywheel.dashboard.widgets import TIME, table_with_export
from llm_flywheel.serving.ledger.records import AuditEvent


def render(client: LedgerClient, events: Sequence[AuditEvent]) -> None:
    """Draw the panel for the events of the range; the check always reads the whole chain."""
    if st.button("Verify the chain", key="verify"):
        _verify(client)
    table = queries.audit_frame(events)
    if table.is_empty():
        st.info("No audit events in this range.")
        return
    actor, action, words = st.columns(3)
    actors = actor.multiselect("Actor", table["actor"].unique().sort().to_list(), key="actors", placeholder="All")
    actions = action.multiselect("Action", table["action"].unique().sort().to_list(), key="actions", placeholder="All")
    text = words.text_input("Object or details contain", key="words")
    found = queries.filter_audit(table, actors, actions, text)
    st.caption(f"{found.height:,} of {table.height:,} events in this range, the latest first.")
    columns = {
        "seq": st.column_config.NumberColumn("Event", width="small"),
        "time": TIME,
        "actor": "Actor",
        "action": "Action",
        "object": "Object",
        "details": st.column_config.TextColumn("Details", width="large"),
        "hash": "Hash",
    }
    table_with_export(found, columns, "audit")


def _verify(client: LedgerClient) -> None:
    verdict = client.verify()
    if verdict.ok:
        st.success(f"Intact: {verdict.events:,} events. Head: {verdict.head}")
    else:
        st.error(f"Broken at event {verdict.first_bad_seq} ({verdict.reason}): {verdict.detail}.")
