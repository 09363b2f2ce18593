"""International bank account numbers (ISO 13616): country, length of that country, mod 97."""

import re

from llm_flywheel.components.scan_pii import checksums
from llm_flywheel.components.scan_pii.rules.edges import DIGITS, LETTERS
from llm_flywheel.components.scan_pii.rules.patterns import iban_lengths
from llm_flywheel.components.scan_pii.spans import Span


def find(text: str, start: int) -> Span | None:
    """The IBAN whose country begins at ``start``, compact or in groups, in either case, or None.

    Args:
        text: Folded text.
        start: First code point of the two letters.
    """
    size = iban_lengths().get(text[start : start + 2].upper(), 0)
    if not size or (start and (text[start - 1] in LETTERS or text[start - 1] in DIGITS or text[start - 1] == "_")):
        return None
    end = _end(text, start, size) or _broken_end(text, start, size)
    if not end:
        return None
    value = text[start:end].replace("-", " ")
    compact = value.replace(" ", "")
    if len(compact) != size or not (compact.isascii() and compact.isalnum()) or not checksums.iban(compact.upper()):
        return None
    return Span(start, end, "IBAN", 0.97)


def _broken_end(text: str, start: int, size: int) -> int:
    """One past the last of ``size`` letters and digits with blanks anywhere, when the word IBAN leads to it; or 0."""
    if "IBAN" not in text[max(0, start - 14) : start].upper():
        return 0
    matched = re.compile(rf"(?:[A-Za-z0-9] ?){{{size - 1}}}[A-Za-z0-9](?![A-Za-z0-9])", re.ASCII).match(text, start)
    return matched.end() if matched else 0


def _end(text: str, start: int, size: int) -> int:
    """One past the last of ``size`` letters and digits, in one piece or in groups of four; 0 for a part of more."""
    piece = text[start : start + size + (size - 1) // 4]
    if piece[4:5] in LETTERS or piece[4:5] in DIGITS:
        end = start + size
    elif not piece[4::5].strip(" -"):
        end = start + len(piece)
    else:
        return 0
    following = text[end : end + 1]
    return 0 if following in LETTERS or following in DIGITS else end
