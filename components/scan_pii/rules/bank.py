"""Bank accounts, which have no check digit of their own: only beside a label or the name of a bank."""

import re
from functools import cache

from llm_flywheel.components.scan_pii import checksums
from llm_flywheel.components.scan_pii.rules import cues
from llm_flywheel.components.scan_pii.rules.edges import ends_alone
from llm_flywheel.components.scan_pii.rules.patterns import data
from llm_flywheel.components.scan_pii.spans import Span

LABELS = cues.BANK | cues.TRANSFER | cues.BANK_NAME | cues.ROUTING
_FAR, _NAME_FAR = 16, 3
_MONEY = re.compile(r" ?(?:원|만|억|달러|엔|유로|won|krw|usd|dollars?|eur|euros?)(?![A-Za-z])", re.IGNORECASE)
_CURRENCIES = frozenset("$₩€£¥")


def find_beside_label(text: str, start: int, end: int, digits: str, label: int, gap: int) -> Span | None:
    """An account or routing number after its label, or None.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
        label: Kinds of the label.
        gap: Code points between the label and the number.
    """
    if not ends_alone(text, end):
        return None
    grouped = is_grouped(text[start:end])
    if label & cues.ROUTING and len(digits) == 9 and checksums.aba(digits):
        return Span(start, end, "BANK_ACCOUNT", 0.8)
    if label & cues.BANK_NAME and not (grouped and gap <= _NAME_FAR):
        return None
    if gap > _FAR or _MONEY.match(text, end) or text[start - 1 : start] in _CURRENCIES:
        return None
    # What is paid in or sent is often a sum, so a compact number needs more digits there.
    least = 9 if grouped else 8 if label & cues.BANK else 10
    return Span(start, end, "BANK_ACCOUNT", 0.7) if least <= len(digits) <= 17 else None


def is_grouped(number: str) -> bool:
    """Whether a number is written as an account is: with dashes, or eleven digits or more in groups of blanks."""
    return "-" in number or (number.count(" ") in (2, 3) and len(number) > 12 and "." not in number)


def find_before_label(text: str, start: int, end: int, digits: str) -> Span | None:
    """An account number with its bank or, when it is grouped, its holder after it ("110123456789 신한은행"), or None.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    if not (10 <= len(digits) <= 14 and ends_alone(text, end)):
        return None
    grouped = text.count("-", start, end) >= 2
    named = cues.after(text, end, LABELS) if grouped else _bank_after().match(text, end)
    return Span(start, end, "BANK_ACCOUNT", 0.65) if named else None


@cache
def _bank_after() -> re.Pattern[str]:
    """The name of a Korean bank right after a number."""
    names = "|".join(data()["cues"]["bank_name"])
    return re.compile(
        rf" ?[(\[]?[A-Za-z]{{0,4}}(?:[가-힣]{{0,6}}(?:은행|뱅크|농협|수협|신협|금고|우체국)|(?:{names})(?![가-힣]))"
    )
