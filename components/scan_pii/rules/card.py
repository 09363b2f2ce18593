"""Payment card numbers: issuer prefix, length and Luhn digit (ISO/IEC 7812)."""

from functools import lru_cache

from llm_flywheel.components.scan_pii import checksums
from llm_flywheel.components.scan_pii.rules import cues
from llm_flywheel.components.scan_pii.rules.edges import DIGITS, alone
from llm_flywheel.components.scan_pii.rules.patterns import card_ranges
from llm_flywheel.components.scan_pii.spans import Span


def find(text: str, start: int, end: int, digits: str) -> Span | None:
    """A card number, or None.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    needs_cue = _needs_cue(digits[:4], len(digits))
    if needs_cue is None or not checksums.luhn(digits) or digits.count(digits[0]) == len(digits):
        return None
    if not alone(text, start, end, cues.CARD):
        return None
    if digits[0] == "9" and text[end : end + 1] == " " and text[end + 1 : end + 2] in DIGITS:
        # The tracking number of a parcel (USPS: 22 digits from 92 on).
        return None
    if needs_cue or digits[0] == "9":
        label = cues.before(text, start, cues.CARD | cues.OTHER)[0]
        if label == cues.OTHER or (needs_cue and not label):
            return None
    return Span(start, end, "CREDIT_CARD", 0.9)


@lru_cache(maxsize=1 << 15)
def _needs_cue(prefix: str, length: int) -> bool | None:
    """Whether a number of this prefix and length counts only beside a word such as "card"; None: never."""
    fitting = [
        item
        for item in card_ranges()
        if length in item.lengths and item.first <= prefix[: len(item.first)] <= item.last
    ]
    return all(item.cue for item in fitting) if fitting else None
