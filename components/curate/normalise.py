"""One spelling for one text: Unicode NFC, plain spaces, line feeds as line ends, no invisible control characters."""

import re
import unicodedata

_LINE_END = re.compile("\r\n|[\r\u0085\u2028\u2029\v\f]")
# C0 and C1 controls but tab and line feed; zero-width space, word joiner, soft hyphen and BOM; the direction marks
# that can make text read differently from what it says (CVE-2021-42574). The zero-width joiners stay: emoji and
# Indic scripts need them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u2060\ufeff\u202a-\u202e\u2066-\u2069]"
)
_SPACE = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


def normalise(text: str) -> str:
    """Return ``text`` in its one spelling; indentation and spaces inside a line stay, for code and tables.

    Args:
        text: Any text.

    Returns:
        NFC text (Unicode Standard Annex 15) without leading or trailing white space; the function is idempotent.
    """
    text = unicodedata.normalize("NFC", text)
    text = _LINE_END.sub("\n", text)
    text = _INVISIBLE.sub("", text)
    text = _SPACE.sub(" ", text)
    text = _TRAILING.sub("", text)
    text = _BLANK_LINES.sub("\n\n", text)
    # Taking out an invisible character can bring a base and its combining mark together.
    return unicodedata.normalize("NFC", text.strip())
