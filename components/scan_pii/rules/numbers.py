"""Every number of a person in one pass: windows of digits, their shape, and what a number of that shape can be.

A window is a run of digits and of what people write between them. Its shape ("ddd-dddd-dddd") is looked up in a
cache of the candidates that this shape allows; only then a candidate's digits are looked at, its surroundings next, and
the words beside it last.
"""

import re
import string
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules import iban, ip, passport, phone
from llm_flywheel.components.scan_pii.rules.remembered import Remembered
from llm_flywheel.components.scan_pii.rules.shapes import candidates
from llm_flywheel.components.scan_pii.spans import PiiType, Span

TYPES: frozenset[PiiType] = frozenset(
    {"PHONE", "CREDIT_CARD", "IBAN", "BANK_ACCOUNT", "IP_ADDRESS", "US_SSN", "US_PASSPORT", "KR_RRN", "KR_FRN",
     "KR_DRIVER_LICENSE", "KR_PASSPORT", "KR_BRN"}
)  # fmt: skip
# Windows overlap where one is cut, so that the time stays linear. No number is longer than half of this.
_LONGEST_WINDOW = 96
_KINDS = bytes.maketrans(
    (string.digits + string.ascii_uppercase + string.ascii_lowercase).encode(), b"d" * 10 + b"A" * 26 + b"a" * 26
)
# Seven characters or more of a number; or the beginning of an IBAN whose bank is spelled with letters, or the end of
# a Korean passport number (M123A4567), whose digits alone are too few.
_WINDOW = re.compile(rb"d(?:[d ().\-/_]{5,}d|(?<=A.)d[ \-dA][dA]{4})", re.DOTALL)
_NEXT_GROUP = re.compile(b"[^d]d")
_CANDIDATES = Remembered(candidates)
_NO_DIGITS = b" ().-/_+"
_LETTERS, _LEADS, _LEADS_WITH_SPACE = frozenset(b"Aa"), frozenset(b"Aa+("), frozenset(b"Aa+( ")
_LEADING = re.compile(rb"\+[ (]?\Z|\(\Z")
_BEFORE = 6
_PASSPORT = re.compile(rb"(?:d{8}|ddd[Aa]d{4})(?![dAa])|(?=[d ]{9}(?![dAa]))d{2,6} d{2,6}(?! )")
_OLD_PASSPORT = re.compile(rb"d{7}(?![dAa])")


def find(text: str) -> Iterator[Span]:
    """Yield every span of the types in `TYPES`.

    Args:
        text: Folded text.
    """
    raw = text.encode("latin-1", "replace")
    shape = raw.translate(_KINDS)
    leads = _LEADS_WITH_SPACE if b"+" in raw else _LEADS
    done = 0
    for start, end in _windows(shape):
        before = shape[start - 1] if start else 0
        if before in leads:
            if before in _LETTERS:
                span = _after_letters(text, shape, start) if start >= done else None
                if span:
                    yield span
                    done = span.end
                elif shape[end : end + 1] in (b"A", b"a"):
                    continue
            else:
                lead = _LEADING.search(shape, max(0, start - 2), start)
                if lead:
                    start = lead.start()
        found = _CANDIDATES[shape[start:end]]
        if found:
            digits = raw[start:end].translate(None, _NO_DIGITS).decode()
            for first, last, digit, past, rules in found:
                if start + first < done:
                    continue
                for classify in rules[digits[digit]]:
                    span = classify(text, start + first, start + last, digits[digit:past])
                    if span:
                        yield span
                        done = span.end
                        break
    if ip.V6_HINT.search(raw):
        yield from ip.find_v6(text, raw)
    # One character is found ten times faster than two.
    if ("공" in text or "영" in text) and ("공일" in text or "영일" in text):
        yield from phone.find_spelled(text)


def _windows(shape: bytes) -> Iterator[tuple[int, int]]:
    """Bounds of the windows; a long one is cut at groups, in pieces that overlap by a half."""
    for match in _WINDOW.finditer(shape):
        start, end = match.span()
        while end - start > _LONGEST_WINDOW:
            yield start, shape.rindex(b"d", start, start + _LONGEST_WINDOW) + 1
            group = _NEXT_GROUP.search(shape, start + _LONGEST_WINDOW // 2, end)
            if group is None:
                break
            start = group.start() + 1
        else:
            yield start, end


def _lettered(around: bytes) -> tuple[int, int]:
    """How many characters before a window an IBAN and a passport number may begin; 0 where none can.

    Args:
        around: Kinds of the six characters before the window, of which the last is a letter, and of the next ten.
    """
    before, after = around[:_BEFORE], around[_BEFORE:]
    letters = len(before) - len(before.rstrip(b"Aa"))
    if letters > 2:
        return (8 if letters == 4 and before[:2] == b"dd" else 0), 0
    is_passport = (_PASSPORT if letters == 1 else _OLD_PASSPORT).match(after)
    return (2 if letters == 2 else 0), (letters if is_passport else 0)


_LETTERED = Remembered(_lettered)


def _after_letters(text: str, shape: bytes, start: int) -> Span | None:
    """An IBAN or a passport number whose letters stand before the window."""
    before = shape[start - _BEFORE : start] if start >= _BEFORE else shape[:start].rjust(_BEFORE)
    to_iban, to_passport = _LETTERED[before + shape[start : start + 10]]
    span = iban.find(text, start - to_iban) if start >= to_iban > 0 else None
    return span or (passport.find(text, start - to_passport) if to_passport else None)
