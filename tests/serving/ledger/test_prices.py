from datetime import UTC, datetime

import pytest

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.ledger.prices import Price, PriceTable, cost, load_prices, per_million, price_for, priced
from llm_flywheel.serving.ledger.records import UsageRow


def _row(model, day, prompt):
    return {"model": model, "valid_from": day, "source": day, "prompt": prompt, "completion": 2 * prompt}


def _time(day):
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


TABLE = bind(
    PriceTable,
    {
        "currency": "EUR",
        "prices": [
            _row("support", "2026-01-01", 1.0),
            _row("support", "2026-06-01", 3.0),
            _row("support-*", "2026-01-01", 5.0),
            _row("support-big-*", "2026-01-01", 7.0),
        ],
    },
)


@pytest.mark.parametrize(
    ("model", "day", "prompt"),
    [
        ("support", "2026-05-31T23:59:59", 1.0),
        ("support", "2026-06-01T00:00:00", 3.0),
        ("support-small", "2026-06-01", 5.0),
        ("support-big-v1", "2026-06-01", 7.0),
    ],
)
def test_the_price_of_the_day_and_of_the_closest_name_counts(model, day, prompt):
    price = price_for(TABLE, model, _time(day))
    assert price is not None
    assert (price.prompt, price.cached, price.completion, price.currency) == (prompt, prompt, 2 * prompt, "EUR")


@pytest.mark.parametrize(("model", "day"), [("support", "2025-12-31"), ("other", "2026-06-01")])
def test_a_model_without_a_price_has_none(model, day):
    assert price_for(TABLE, model, _time(day)) is None


def test_cost_counts_cached_tokens_once_and_at_their_price():
    price = Price(prompt=3.0, cached=0.3, completion=15.0, currency="EUR", source="x")
    assert cost(price, 1_000_000, 400_000, 100_000) == pytest.approx(0.6 * 3.0 + 0.4 * 0.3 + 0.1 * 15.0)
    assert cost(price, 0, 0, 0) == 0.0


def test_own_hardware_is_priced_by_the_hour():
    # 3.60 per hour is 0.001 per second; at 500 tokens per second 1M tokens take 2000 seconds.
    assert per_million(3.60, 500.0) == pytest.approx(2.0)
    hour = {"per_hour": 3.60, "prompt_tokens_per_s": 5000, "completion_tokens_per_s": 500}
    row = {"model": "m", "valid_from": "2026-01-01", "source": "own", "hour": hour}
    price = price_for(bind(PriceTable, {"currency": "EUR", "prices": [row]}), "m", _time("2026-02-01"))
    assert price is not None
    assert (price.prompt, price.cached, price.completion) == pytest.approx((0.2, 0.0, 2.0))


def test_unknown_tokens_have_no_cost_rather_than_none_to_pay():
    row = UsageRow(time=_time("2026-02-01"), request_id="r", model="support", prompt_tokens=10, completion_tokens=5)
    assert priced(row, TABLE).cost == pytest.approx(20 / 1e6)
    assert priced(row, TABLE).currency == "EUR"
    unknown = UsageRow(time=_time("2026-02-01"), request_id="r", model="support")
    assert (priced(unknown, TABLE).cost, priced(unknown, TABLE).currency) == (None, "")


def test_a_wrong_price_file_lists_all_errors():
    rows = [{"model": "a", "valid_from": "soon", "source": "x", "prompt": -1, "completion": 1},
            {"model": "b", "valid_from": "2026-01-01", "source": "x", "prompt": 1}]  # fmt: skip
    with pytest.raises(FlywheelError) as error:
        bind(PriceTable, {"currency": "euro", "prices": rows})
    for part in ("currency", "prices.0.valid_from", "prices.0.prompt", "prices.1: give prompt and completion"):
        assert part in str(error.value)


def test_the_shipped_prices_are_valid_dated_and_name_their_source():
    table = load_prices()
    assert table.prices
    assert price_for(table, "support", _time("2026-11-20")) is not None
