"""The rules' data (``patterns.yaml`` and the other files of this folder) as typed objects; read once per process."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class CardRange:
    """Issuer prefixes of one card brand.

    Attributes:
        first: Lowest prefix.
        last: Highest prefix, as long as ``first``.
        lengths: Numbers of digits a card of this range can have.
        cue: Whether it counts only beside a word such as "card".
    """

    first: str
    last: str
    lengths: frozenset[int]
    cue: bool


@cache
def data(name: str = "patterns") -> dict[str, Any]:
    """One whole file of this folder, by its name without the suffix."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8")
    value: dict[str, Any] = yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader, in C where there is one
    return value


@cache
def calling_codes() -> dict[str, tuple[int, int]]:
    """National number lengths (least, most) by country calling code."""
    return {code: (least, most) for code, (least, most) in data()["calling_codes"].items()}


@cache
def card_ranges() -> tuple[CardRange, ...]:
    """Card ranges, in the order of the file."""
    return tuple(
        CardRange(item["first"], item["last"], frozenset(item["lengths"]), item.get("cue", False))
        for item in data()["cards"]
    )


@cache
def iban_lengths() -> dict[str, int]:
    """Length of an IBAN by country code."""
    lengths: dict[str, int] = data()["iban_lengths"]
    return lengths


@cache
def file_suffixes() -> frozenset[str]:
    """Last labels that make ``name@2x.png`` a file name."""
    return frozenset(data()["file_suffixes"])
