"""Numbers whose shape says little: the label beside them says what they are."""

import re

from llm_flywheel.components.scan_pii import checksums
from llm_flywheel.components.scan_pii.rules import bank, card, cues, korea, passport, phone, registration
from llm_flywheel.components.scan_pii.rules.edges import LETTERS, WORD, ends_alone
from llm_flywheel.components.scan_pii.spans import Span

_TIME = re.compile(r"[0-9]{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:(?:[01][0-9]|2[0-3])(?:[0-5][0-9]){2})?")
_OWN = cues.SSN | cues.PASSPORT | cues.LICENSE | cues.BRN
_ALL = _OWN | cues.PHONE | bank.LABELS | cues.OTHER | cues.CARD | cues.RRN | cues.VERSION | cues.IP
_FAR = 26
_CLOSE, _TOUCHING = 14, 10
_LINKS = frozenset("-./")


def find(text: str, start: int, end: int, digits: str) -> Span | None:
    """A number by its label, or None.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    size = len(digits)
    if _is_known(text, start, end, digits) or _is_part(text, start, end):
        return None
    if digits[:2] == "00":
        span = phone.find_exit_code(text, start)
        if span:
            return span
    if size == 10 and end - start == 10 and checksums.brn(digits) and korea.names_company(text, start):
        return Span(start, end, "KR_BRN", 0.75)
    label, gap = cues.before(text, start, _ALL, _FAR + 8)
    if not label or (gap > _FAR and not label & cues.OTHER):
        if size == 9 == end - start and passport.is_listed(text, start):
            return Span(start, end, "US_PASSPORT", 0.6)
        return phone.find_beside_sign(text, start, end, digits) or bank.find_before_label(text, start, end, digits)
    if label & cues.PASSPORT and len(digits) == 8 and start > 1 and text[start - 2] in LETTERS:
        return passport.find(text, start - 2)
    if label & cues.PHONE:
        number = phone.find_beside_label(text, start, end, digits, gap)
        return number or bank.find_before_label(text, start, end, digits)
    if label & bank.LABELS:
        if label == cues.BANK_NAME and not bank.is_grouped(text[start:end]):
            label, gap = cues.before(text, start, bank.LABELS & ~cues.BANK_NAME)
        return bank.find_beside_label(text, start, end, digits, label, gap)
    if label & _OWN and gap <= _FAR and ends_alone(text, end):
        return _own(text, start, end, digits, label)
    return None


def find_broken(text: str, start: int, end: int, digits: str) -> Span | None:
    """A resident registration or card number right after its label, with blanks anywhere (printed and read again).

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    label, gap = cues.before(text, start, cues.RRN | cues.CARD, _CLOSE)
    if gap > _TOUCHING or not label:
        return None
    if label & cues.CARD:
        return card.find(text, start, end, digits)
    return korea.find_rrn(text, start, end, digits) if len(digits) == 13 else None


def _own(text: str, start: int, end: int, digits: str, label: int) -> Span | None:
    """Compact numbers that a label makes an identifier."""
    size = len(digits)
    if size == 9 and label & cues.PASSPORT and end - start == 9:
        return Span(start, end, "US_PASSPORT", 0.75)
    if size == 9 and label & cues.SSN and registration.issued(digits):
        return Span(start, end, "US_SSN", 0.8)
    if size == 10 and label & cues.BRN and checksums.brn(digits) and text[start - 1] != "제":
        return Span(start, end, "KR_BRN", 0.85)
    if size == 12 and label & cues.LICENSE and korea.is_license(digits):
        return Span(start, end, "KR_DRIVER_LICENSE", 0.8)
    return None


def _is_part(text: str, start: int, end: int) -> bool:
    """Whether letters or digits touch the number, or lead to it with a dash ("SKU-12345678")."""
    before = text[start - 1] if start else ""
    if before in WORD or (before in _LINKS and start > 1 and text[start - 2] in WORD):
        return True
    return text[end : end + 1] in WORD and text[end] not in "xXeE"


def _is_known(text: str, start: int, end: int, digits: str) -> bool:
    """A date, a time stamp, a book (ISBN), a call centre (1588-0000): nobody's, whatever stands beside it."""
    if digits[:2] in ("19", "20") and len(digits) in (8, 14):
        return _TIME.fullmatch(digits) is not None
    if len(digits) == 8 and end - start == 9:
        return digits[:2] in ("15", "16", "18")
    # Milliseconds since 1970, from 2008 to 2033.
    return len(digits) == 13 and (digits[:3] in ("978", "979") or (end - start == 13 and "12" <= digits[:2] <= "19"))
