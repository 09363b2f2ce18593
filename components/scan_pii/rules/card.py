"""Payment card numbers: issuer prefix, length and Luhn digit (ISO/IEC 7812)."""

import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii import checksums
from llm_flywheel.components.scan_pii.rules.patterns import card_ranges, cues
from llm_flywheel.components.scan_pii.rules.rule import stands_alone
from llm_flywheel.components.scan_pii.spans import Span

_SEP = r"(?: ?[-._/] ?| {1,2})"
_CANDIDATE = re.compile(
    rf"[0-9]{{4}}(?:{_SEP}?[0-9]{{4}}{_SEP}?[0-9]{{4}}{_SEP}?[0-9]{{4}}(?:{_SEP}?[0-9]{{2,3}})?(?![0-9])"
    rf"|{_SEP}[0-9]{{6}}{_SEP}[0-9]{{4,5}}(?![0-9])|[0-9]{{8,15}}(?![0-9]))",
    re.ASCII,
)


def find(text: str) -> Iterator[Span]:
    """Yield card numbers, compact or in groups of four or 4-6-5.

    Args:
        text: Folded text.
    """
    at = 0
    while match := _CANDIDATE.search(text, at):
        start, end = match.span()
        at = start + 1
        if not stands_alone(text, start, end):
            continue
        score = _score(text, start, re.sub("[^0-9]", "", match.group()))
        if score:
            yield Span(start, end, "CREDIT_CARD", score)
            at = end


def _score(text: str, start: int, digits: str) -> float:
    """How sure it is that these digits are a card; 0 when they are not."""
    ranges = [
        item
        for item in card_ranges()
        if len(digits) in item.lengths and item.first <= digits[: len(item.first)] <= item.last
    ]
    if not ranges or not checksums.luhn(digits) or digits.count(digits[0]) == len(digits):
        return 0.0
    if cues("card", "other_number").before(text, start) == "card":
        return 0.98
    return 0.0 if all(item.cue for item in ranges) else 0.9
