"""Whether a number stands for itself or is a piece of something longer."""

import string

from llm_flywheel.components.scan_pii.rules import cues

LETTERS = frozenset(string.ascii_letters)
DIGITS = frozenset(string.digits)
WORD = LETTERS | DIGITS | {"_"}
_LINKS = frozenset("-.")


def starts_alone(text: str, start: int, label: int = 0) -> bool:
    """Whether nothing before belongs to the number.

    Args:
        text: Folded text.
        start: First code point of the number.
        label: Kinds of label that may touch it ("SSN078-05-1120", "tel_01023456789").
    """
    if not start:
        return True
    last = text[start - 1]
    if last in WORD:
        if not label or last in DIGITS:
            return False
        found, gap = cues.before(text, start, label, 16)
        return bool(found) and gap == (last == "_")
    return not (last in _LINKS and start > 1 and text[start - 2] in DIGITS)


def ends_alone(text: str, end: int) -> bool:
    """Whether nothing after belongs to the number; a full stop or dash is fine as long as no digit follows."""
    following = text[end : end + 1]
    return following not in WORD and not (following in _LINKS and text[end + 1 : end + 2] in DIGITS)


def alone(text: str, start: int, end: int, label: int = 0) -> bool:
    """Whether a number is not a piece of a longer word, number, dotted or dashed code; Hangul may touch it."""
    return ends_alone(text, end) and starts_alone(text, start, label)
