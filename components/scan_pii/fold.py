r"""The view of a text in which the rules search: people write one number in many alphabets, dashes and blanks.

Full-width and other scripts' digits, typographic dashes, no-break spaces, and the ``\n`` of JSON inside JSON turn into
the ASCII character they stand for, one for one; placeholders of an earlier masking are blanked out, so that nothing
is found in or across them. Invisible and combining characters are taken out and Hangul jamo are put together; then the
view is shorter than the text, and `Folded.original` leads back.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from llm_flywheel.components.scan_pii.spans import PII_TYPES

BLANK = "\0"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\u2500\u3161\ufe58\ufe63"
_SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
# Interpuncts, which people put between the groups of a number.
_DOTS = "\u318d\u2219\u22c5\uff65"
# Decimal digits of every script (Unicode category Nd), each block of ten in order.
_ZEROS = [point for point in range(0x80, sys.maxunicode + 1) if unicodedata.decimal(chr(point), None) == 0]
_TABLE = {
    **dict.fromkeys(_DASHES, "-"),
    **dict.fromkeys(_SPACES, " "),
    **dict.fromkeys(_DOTS, "\u00b7"),
    **{chr(0xFF01 + offset): chr(0x21 + offset) for offset in range(94)},
    **{chr(zero + digit): str(digit) for zero in _ZEROS for digit in range(10)},
}
# Soft hyphen, joiners, direction marks, variation selectors, tags; combining marks, key caps; Hangul jamo.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\U000e0000-\U000e0fff"
)
_COMBINING = "\u0300-\u034e\u0350-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_JAMO = "\u1100-\u115e\u1161-\u11ff"
# Most texts hold nothing but these ranges, in which nothing is folded: one quick look settles it.
_UNUSUAL = re.compile("[^\x00-\x7f\uac00-\ud7a3\u2018-\u2027\u00ae-\u02ff\u3001-\u3160\u4e00-\u9fff\u0370-\u058f]")
_REMOVABLE = re.compile(f"[{_INVISIBLE}]+|(?P<combining>[{_COMBINING}]+)|(?P<jamo>[{_JAMO}]+)")
_DOT_IN_NUMBER = re.compile("(?<=[0-9])[\u00b7\u2022\u30fb](?=[0-9])")
_ESCAPE = re.compile(r'\\(?:[nrt"/]|u[0-9A-Fa-f]{4})')


class Folded(NamedTuple):
    """A text as the rules read it.

    Attributes:
        text: ASCII digits, dashes, spaces and full-width letters; nothing invisible.
        starts: First code point in the original for each character of ``text``, where that is not its own position.
        ends: One past its last code point in the original.
    """

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The bounds in the original text of a non-empty piece of this one."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


@cache
def placeholder(types: Iterable[str] = PII_TYPES) -> re.Pattern[str]:
    """What a masking leaves: ``[EMAIL]``, ``[PHONE:1234]``, or ten small letters for a pseudonym."""
    names = "|".join(sorted(types))
    return re.compile(rf"\[(?:{names})(?::(?:[0-9A-Za-z]{{1,4}}|[a-z]{{10}}))?\]", re.ASCII)


def fold(text: str, placeholders: re.Pattern[str] | None = None) -> Folded:
    """Return ``text`` as the rules read it.

    Args:
        text: Any string, lone surrogates and control characters included.
        placeholders: What to blank out; `placeholder` of the built-in types when not given.

    Returns:
        The view, of the same length unless the text has invisible or combining characters or Hangul jamo.
    """
    starts = ends = None
    if not text.isascii() and (unusual := set(_UNUSUAL.findall(text))):
        if any(_REMOVABLE.match(char) for char in unusual):
            text, starts, ends = _without_invisible(text)
        text = _UNUSUAL.sub(_plain, text)
    if "\u00b7" in text or "\u2022" in text or "\u30fb" in text:
        text = _DOT_IN_NUMBER.sub("-", text)
    if "\\" in text:
        text = _ESCAPE.sub(_unescape, text)
    if "[" in text:
        text = (placeholders or placeholder()).sub(lambda match: BLANK * len(match.group()), text)
    return Folded(text, starts, ends)


def _without_invisible(text: str) -> tuple[str, list[int] | None, list[int] | None]:
    """Take out what does not show, and compose jamo; a combining mark belongs to the character before it."""
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for match in _REMOVABLE.finditer(text):
        start, end = match.span()
        parts.append(text[at:start])
        starts += range(at, start)
        ends += range(at + 1, start + 1)
        if match.lastgroup == "jamo":
            composed = _composed(match.group())
            parts.append("".join(syllable for syllable, _, _ in composed))
            starts += [start + low for _, low, _ in composed]
            ends += [start + high for _, _, high in composed]
        elif ends and match.lastgroup == "combining":
            ends[-1] = end
        at = end
    if at == 0:
        return text, None, None
    parts.append(text[at:])
    starts += range(at, len(text))
    ends += range(at + 1, len(text) + 1)
    return "".join(parts), starts, ends


def _composed(jamo: str) -> list[tuple[str, int, int]]:
    """Syllables of a run of conjoining jamo with their bounds in it (Unicode Standard 3.12, Hangul composition)."""
    syllables: list[tuple[str, int, int]] = []
    at = 0
    while at < len(jamo):
        size = next((size for size in (3, 2) if len(unicodedata.normalize("NFC", jamo[at : at + size])) == 1), 1)
        size = min(size, len(jamo) - at)
        syllables.append((unicodedata.normalize("NFC", jamo[at : at + size]), at, at + size))
        at += size
    return syllables


def _plain(match: re.Match[str]) -> str:
    return _TABLE.get(match.group(), match.group())


def _unescape(match: re.Match[str]) -> str:
    found = match.group()
    return f" {found[1]}" if found[1] in '"/' else " " * len(found)
