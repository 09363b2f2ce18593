"""What a request costs: a dated price table as data, and the cost as a pure function."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from llm_flywheel.components.common.config import Section, bind, load_yaml
from llm_flywheel.serving.ledger.records import UsageRow

DEFAULT_PRICES = Path(__file__).with_name("prices.yaml")


class HourPrice(Section):
    """Own hardware: what an hour of it costs, and what it does in an hour when it is busy."""

    per_hour: float = Field(ge=0, description="Price of one hour of the machine or GPU.")
    prompt_tokens_per_s: float = Field(gt=0, description="Prompt tokens per second at full load.")
    completion_tokens_per_s: float = Field(gt=0, description="Generated tokens per second at full load.")


class PriceRow(Section):
    """Price of one model (or a pattern of names) from one day on."""

    model: str = Field(min_length=1, description="Public model name, or a pattern with * and ?.")
    valid_from: date = Field(description="First day, UTC, this price holds.")
    source: str = Field(min_length=1, description="Where the numbers come from.")
    prompt: float | None = Field(None, ge=0, description="Per 1M prompt tokens.")
    cached: float | None = Field(None, ge=0, description="Per 1M cached prompt tokens; default: as prompt.")
    completion: float | None = Field(None, ge=0, description="Per 1M generated tokens.")
    hour: HourPrice | None = Field(None, description="Instead of the three above.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        per_token = self.prompt is not None and self.completion is not None
        if self.hour is not None and (self.prompt, self.cached, self.completion) != (None, None, None):
            raise ValueError("give either hour or prompt and completion, not both")
        if self.hour is None and not per_token:
            raise ValueError("give prompt and completion (per 1M tokens), or hour")
        return self


class PriceTable(Section):
    """A price file: one currency, any number of dated rows."""

    currency: str = Field(pattern="^[A-Z]{3}$", description="ISO 4217 code.")
    prices: list[PriceRow]


@dataclass(frozen=True)
class Price:
    """Price per 1M tokens, by kind of token.

    Attributes:
        prompt: For prompt tokens that were computed.
        cached: For prompt tokens that came from a cache.
        completion: For generated tokens.
        currency: ISO 4217 code.
        source: Where the numbers come from.
    """

    prompt: float
    cached: float
    completion: float
    currency: str
    source: str


def load_prices(path: Path = DEFAULT_PRICES) -> PriceTable:
    """Read a price file.

    Raises:
        FlywheelError: The file is missing or wrong; all errors at once.
    """
    return bind(PriceTable, load_yaml(path), where=str(path))


def price_for(table: PriceTable, model: str, time: float) -> Price | None:
    """The price of ``model`` at ``time`` (Unix seconds UTC), or None when the table has none.

    An exact name beats a pattern, a longer pattern a shorter one; of those that match equally well, the one
    that became valid last.
    """
    day = datetime.fromtimestamp(time, UTC).date()
    rows = [row for row in table.prices if row.valid_from <= day and fnmatchcase(model, row.model)]
    if not rows:
        return None
    best = max(rows, key=lambda row: (row.model == model, len(row.model), row.valid_from))
    return _price(best, table.currency)


def cost(price: Price, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float:
    """Cost of one request in the price's currency.

    Args:
        price: Per 1M tokens.
        prompt_tokens: All prompt tokens, cached ones included (as OpenAI's ``usage`` counts).
        cached_tokens: Those that came from a cache.
        completion_tokens: Generated tokens.
    """
    computed = prompt_tokens - cached_tokens
    return (computed * price.prompt + cached_tokens * price.cached + completion_tokens * price.completion) / 1_000_000


def priced(row: UsageRow, table: PriceTable) -> UsageRow:
    """The row with its cost; without one when its tokens are unknown or the table has no price for its model."""
    price = price_for(table, row.model, row.time)
    if price is None or row.prompt_tokens is None or row.completion_tokens is None:
        return replace(row, cost=None, currency="")
    amount = cost(price, row.prompt_tokens, row.cached_tokens or 0, row.completion_tokens)
    return replace(row, cost=amount, currency=price.currency)


def per_million(per_hour: float, tokens_per_s: float) -> float:
    """Price of 1M tokens on hardware that costs ``per_hour`` and makes ``tokens_per_s`` when busy."""
    return per_hour / 3600 / tokens_per_s * 1_000_000


def models_without_price(table: PriceTable, models: Sequence[str], time: float) -> list[str]:
    """Those of ``models`` that ``table`` has no price for at ``time``."""
    return [model for model in models if price_for(table, model, time) is None]


def _price(row: PriceRow, currency: str) -> Price:
    if row.hour is not None:
        prompt = per_million(row.hour.per_hour, row.hour.prompt_tokens_per_s)
        completion = per_million(row.hour.per_hour, row.hour.completion_tokens_per_s)
        return Price(prompt, 0.0, completion, currency, row.source)
    if row.prompt is None or row.completion is None:
        raise AssertionError("PriceRow checks this")
    cached = row.prompt if row.cached is None else row.cached
    return Price(row.prompt, cached, row.completion, currency, row.source)
