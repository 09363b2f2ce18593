r"""A length-preserving view of a text, in which the rules search; their spans are valid in the original.

People write numbers with full-width digits, typographic dashes and no-break spaces; JSON inside JSON carries
``\n`` as two characters. The fold turns each such character into the ASCII one it stands for, one for one, and
blanks out the placeholders of an earlier masking, so that nothing is found in or across them.
"""

import re

from llm_flywheel.components.scan_pii.spans import PII_TYPES

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\u2500\u3161\ufe58\ufe63"
_SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
# Full-width ASCII, Arabic-Indic, extended Arabic-Indic and Devanagari digits, mathematical digits.
_TABLE = {
    **dict.fromkeys(_DASHES, "-"),
    **dict.fromkeys(_SPACES, " "),
    **{chr(0xFF01 + offset): chr(0x21 + offset) for offset in range(94)},
    **{chr(zero + digit): str(digit) for zero in (0x0660, 0x06F0, 0x0966) for digit in range(10)},
    **{chr(0x1D7CE + offset): str(offset % 10) for offset in range(50)},
}
_FOLDABLE = re.compile(f"[{_DASHES}{_SPACES}\uff01-\uff5e\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\U0001d7ce-\U0001d7ff]")
_ESCAPE = re.compile(r'\\(?:[nrt"/]|u[0-9A-Fa-f]{4})')

PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(PII_TYPES)})(?::[0-9A-Za-z]{{1,4}})?\]", re.ASCII)
BLANK = "\0"


def fold(text: str) -> str:
    """Return ``text`` as the rules read it: same length, ASCII digits, dashes, spaces and full-width letters.

    Args:
        text: Any string, lone surrogates and control characters included.

    Returns:
        A string of the same number of code points.
    """
    if not text.isascii():
        text = _FOLDABLE.sub(lambda match: _TABLE[match.group()], text)
    if "\\" in text:
        text = _ESCAPE.sub(_unescape, text)
    if "[" in text:
        text = PLACEHOLDER.sub(lambda match: BLANK * len(match.group()), text)
    return text


def _unescape(match: re.Match[str]) -> str:
    found = match.group()
    return f" {found[1]}" if found[1] in '"/' else " " * len(found)
