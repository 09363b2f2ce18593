"""What the scanner finds: typed spans, and the one rule by which overlapping ones are settled."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

PiiType = str
"""Name of a type: one of `PII_TYPES`, or one that a custom recogniser brings."""

PII_TYPES: tuple[PiiType, ...] = (
    "EMAIL", "EMAIL_OBFUSCATED", "PHONE", "CREDIT_CARD", "IBAN", "BANK_ACCOUNT", "IP_ADDRESS", "US_SSN", "US_PASSPORT",
    "KR_RRN", "KR_FRN", "KR_DRIVER_LICENSE", "KR_PASSPORT", "KR_BRN", "SECRET", "PERSON", "ADDRESS",
)  # fmt: skip

NOTHING: PiiType = ""
"""Type of a span that only keeps weaker ones away; no scan reports it."""


class Span(NamedTuple):
    """One piece of personal data in a text.

    Attributes:
        start: First code point of it in the original text.
        end: One past its last code point.
        type: What it is.
        score: How sure the rule is, 0 to 1: a checksum or a vendor's own format is above 0.9, a shape with a
            label beside it above 0.7, a shape alone 0.5 or more.
    """

    start: int
    end: int
    type: PiiType
    score: float


def resolve(spans: Iterable[Span]) -> list[Span]:
    """Settle overlaps and sort by position.

    The rule: the higher score wins, then the longer span, then the one further left, then the type's name. A span
    that overlaps a winner is dropped whole, so that winners keep exactly the bounds their rule gave them.

    Args:
        spans: In any order.

    Returns:
        Disjoint spans in the order of the text.
    """
    ordered = sorted(spans)
    end = 0
    for span in ordered:
        if span[0] < end:
            return [winner for cluster in _clusters(ordered) for winner in _winners(cluster)]
        end = span[1]
    return ordered


def _clusters(ordered: list[Span]) -> Iterable[list[Span]]:
    """Runs of spans that touch each other, directly or through a third."""
    cluster: list[Span] = []
    end = -1
    for span in ordered:
        if cluster and span.start >= end:
            yield cluster
            cluster = []
        cluster.append(span)
        end = max(end, span.end)
    if cluster:
        yield cluster


def _winners(cluster: list[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(cluster, key=lambda item: (-item.score, item.start - item.end, item.start, item.type)):
        at = bisect_left(kept, span)
        before_is_clear = at == 0 or kept[at - 1].end <= span.start
        after_is_clear = at == len(kept) or span.end <= kept[at].start
        if before_is_clear and after_is_clear:
            kept.insert(at, span)
    return kept
