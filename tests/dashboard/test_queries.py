from datetime import UTC, date, datetime

import polars as pl
import pytest

from llm_flywheel.dashboard import queries
from llm_flywheel.dashboard.client import Range
from llm_flywheel.dashboard.overview import days_range, preset_range
from llm_flywheel.serving.ledger.records import AuditEvent, UsageRow


def _row(number, **values):
    base = {"time": 100.0, "request_id": f"r{number}", "model": "support", "variant": "stable", "version": "1"}
    return UsageRow(**{**base, **values})


def _weights(seq, time, **weights):
    return AuditEvent(seq, time, "eva", "gateway.set_weights", "model:support", {"to": weights}, "", "")


ROWS = [
    _row(1, user="eva", prompt_tokens=10, completion_tokens=4, cost=2.0, currency="EUR", ttft_s=0.1, latency_s=0.5),
    _row(2, user="eva", prompt_tokens=10, completion_tokens=4, cost=3.0, currency="EUR", ttft_s=0.3, latency_s=1.5),
    _row(3, user="jin", variant="canary", version="2", outcome="upstream_error", status=502, time=130.0),
    _row(4, user="jin", variant="canary", version="2", prompt_tokens=1, completion_tokens=2, cost=7.0,
         currency="EUR", latency_s=1.0, time=160.0),
    _row(5, variant="", version="", model="", outcome="client_error", status=401, time=161.0),
    _row(6, user="jin", cost=9.0, currency="USD", prompt_tokens=1, completion_tokens=0, latency_s=1.0, time=162.0),
    _row(7, user="jin", outcome="aborted", status=499, time=163.0),
]  # fmt: skip


def test_totals_count_one_currency_and_name_what_has_no_cost():
    found = queries.totals(queries.usage_frame(ROWS), "EUR")
    assert found == queries.Totals(
        requests=7, server_errors=1, prompt_tokens=22, completion_tokens=10, spend=12.0, unpriced=1
    )


def test_currencies_come_by_number_of_requests():
    assert queries.currencies(queries.usage_frame(ROWS)) == ["EUR", "USD"]
    assert queries.currencies(queries.usage_frame([])) == []


def test_spend_by_user_is_sorted_and_names_the_unknown():
    table = queries.spend_by(queries.usage_frame(ROWS), "user", "EUR")
    assert table.select("user", "requests", "spend").rows() == [("jin", 4, 7.0), ("eva", 2, 5.0), ("(none)", 1, 0.0)]


@pytest.mark.parametrize(("seconds", "width"), [(0, 1), (119, 1), (600, 5), (3600, 60), (86_400, 900), (1e12, 604_800)])
def test_buckets_keep_a_chart_readable(seconds, width):
    assert queries.bucket_seconds(seconds) == width


def test_spend_over_time_fills_buckets_and_stacks_them():
    rows = [
        _row(1, time=7200.0, user="eva", cost=1.0, currency="EUR"),
        _row(2, time=7259.9, user="eva", cost=2.0, currency="EUR"),
        _row(3, time=7200.5, user="jin", cost=4.0, currency="EUR"),
        _row(4, time=10800.0, user="eva", cost=8.0, currency="EUR"),
    ]
    table = queries.spend_over_time(queries.usage_frame(rows), "user", "EUR")
    two, three = datetime(1970, 1, 1, 2, tzinfo=UTC), datetime(1970, 1, 1, 3, tzinfo=UTC)
    assert table.select("time", "user", "spend", "requests", "bottom", "top").rows() == [
        (two, "eva", 3.0, 2, 0.0, 3.0),
        (two, "jin", 4.0, 1, 3.0, 7.0),
        (three, "eva", 8.0, 1, 0.0, 8.0),
    ]
    assert (table["end"] - table["time"]).dt.total_seconds().unique().to_list() == [60]


def test_no_usage_gives_empty_tables_of_the_same_shape():
    empty = queries.usage_frame([])
    full = queries.usage_frame(ROWS)
    assert queries.spend_over_time(empty, "user", "").columns == queries.spend_over_time(full, "user", "").columns
    assert queries.variants(empty, [], "").is_empty()
    assert queries.audit_frame([]).is_empty()


def test_a_variant_in_numbers():
    table = queries.variants(queries.usage_frame(ROWS), [_weights(1, 0.0, stable=60, canary=40)], "EUR")
    canary, stable = table.rows(named=True)

    assert (canary["variant"], canary["version"], canary["requests"], canary["errors"]) == ("canary", "2", 2, 1)
    assert (canary["share"], canary["weight"], canary["error_rate"]) == (pytest.approx(100 / 3), 40.0, 50.0)
    assert (canary["ttft_p50"], canary["latency_p50"], canary["tokens_per_s"], canary["spend"]) == (
        None, 1000.0, 2.0, 7.0,
    )  # fmt: skip
    assert (stable["requests"], stable["errors"], stable["aborted"], stable["spend"]) == (4, 0, 1, 5.0)
    assert (stable["ttft_p50"], stable["ttft_p95"]) == (pytest.approx(200.0), pytest.approx(290.0))
    assert stable["tokens_per_s"] == pytest.approx(8 / 3.0)


def test_expected_shares_follow_weights_that_change():
    rows = [_row(number, time=float(number)) for number in range(1, 6)]
    events = [_weights(1, 2.5, stable=90, canary=10), _weights(2, 4.5, stable=50, canary=50)]
    table = queries.expected_shares(queries.usage_frame(rows), events).sort("variant")
    # Requests 1 and 2 came before any weights were known; 3 and 4 under 90:10, 5 under 50:50.
    assert table.rows() == [
        ("support", "canary", pytest.approx((10 + 10 + 50) / 3)),
        ("support", "stable", pytest.approx((90 + 90 + 50) / 3)),
    ]


def test_shares_without_known_weights_have_none():
    table = queries.variants(queries.usage_frame(ROWS), [], "EUR")
    assert table["weight"].to_list() == [None, None]


def test_long_form_leaves_out_what_was_not_measured():
    table = pl.DataFrame({"model": ["m", "m"], "variant": ["canary", "stable"], "version": ["2", ""],
                          "ttft_p50": [None, 5.0]}, schema_overrides={"ttft_p50": pl.Float64})  # fmt: skip
    assert queries.by_measure(table, {"ttft_p50": "TTFT p50"}).rows() == [("m stable", "TTFT p50", 5.0)]


@pytest.mark.parametrize(
    ("actors", "actions", "words", "expected"),
    [
        ([], [], "", [3, 2, 1]),
        (["eva"], [], "", [3, 1]),
        ([], ["gate.pass"], "", [1]),
        ([], [], " GAIN ", [1]),
        ([], [], "model:b", [2]),
        (["jin"], ["gate.pass"], "", []),
    ],
)
def test_audit_events_are_filtered(actors, actions, words, expected):
    events = [
        AuditEvent(1, 1.0, "eva", "gate.pass", "model:a", {"gain": 0.5}, "", "h1"),
        AuditEvent(2, 2.0, "jin", "model.promote", "model:b", {}, "", "h2"),
        AuditEvent(3, 3.0, "eva", "model.promote", "model:c", {}, "", "h3"),
    ]
    found = queries.filter_audit(queries.audit_frame(events), actors, actions, words)
    assert found["seq"].to_list() == expected


def test_ranges():
    assert preset_range("Last hour", 10_000.0) == Range(6_400.0, 10_001.0)
    assert preset_range("Everything", 10_000.0) == Range(0.0, 10_001.0)
    assert days_range(date(1970, 1, 1), date(1970, 1, 2)) == Range(0.0, 172_800.0)
