"""One spelling for one text: Unicode NFC, plain spaces, line feeds as line ends, no invisible characters."""

import re
import unicodedata

_LINE_ENDS = "\r\u0085\u2028\u2029\v\f"
_LINE_END = re.compile(f"\r\n|[{_LINE_ENDS}]")
# C0 and C1 controls but tab and line feed; zero-width space, word joiner, invisible operators, soft hyphen and BOM;
# the direction marks that can make text read differently from what it says (CVE-2021-42574); tag characters, which
# can hide a whole sentence from a reader. The zero-width joiners stay: emoji and Indic scripts need them.
_INVISIBLE = (
    "\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u180e\u200b\u200e\u200f\u2060-\u2064\ufeff\ufff9-\ufffb"
    "\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f"
)
# What looks invisible but says something: the flag of Scotland is a black flag and tags (UTS 51, ED-14a), and C1
# controls are bytes of UTF-8 that was read as Latin-1, without which nobody could repair the text later.
_MEANT = "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f|" + "|".join(
    ("[\xc2-\xdf][\x80-\xbf]", "[\xe0-\xef][\x80-\xbf]{2}", "[\xf0-\xf4][\x80-\xbf]{3})")
)
_INVISIBLE_OR_MEANT = re.compile(f"{_MEANT}|[{_INVISIBLE}]")
# More than one variation selector after a character is never valid (Unicode 16, 23.4) and can carry hidden bytes.
_SELECTOR = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_SELECTORS = re.compile(f"[{_SELECTOR}]{{2,}}")
# With the blanks that are no spaces to Unicode: the Hangul fillers and the empty Braille pattern.
_SPACES = "\xa0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000\u3164\uffa0"
_SPACE = re.compile(f"[{_SPACES}]")
# One look that most texts need no more than.
_UNUSUAL = re.compile(f"[{_LINE_ENDS}{_INVISIBLE}{_SELECTOR}{_SPACES}]")
_TRAILING = re.compile(r"(?<![ \t])[ \t]++(?=\n)")
_INDENTED = re.compile(r"\n[ \t]++\S")
_BLANK_LINES = re.compile(r"\n{3,}")
# A fenced block of Markdown (CommonMark 0.31, 4.5), closed or up to the end of the text.
_FENCED = re.compile(r"^( {0,3}(`{3,}+|~{3,}+)[^\n]*+\n.*?(?:^ {0,3}\2[`~]*[ \t]*$|\Z))", re.MULTILINE | re.DOTALL)


def normalise(text: str) -> str:
    """Return ``text`` in its one spelling; spaces inside a line, indentation and blank lines in code blocks stay.

    Text in a wrong encoding ("â€™") is left as it is: a repair that guesses can damage what was right.

    Args:
        text: Any text.

    Returns:
        NFC text (Unicode Standard Annex 15) without blank lines at either end; the function is idempotent.
    """
    text = unicodedata.normalize("NFC", text)
    if _UNUSUAL.search(text):
        text = _SPACE.sub(" ", text)
        text = _LINE_END.sub("\n", text)
        text = _INVISIBLE_OR_MEANT.sub(lambda found: found[1] or "", text)
        text = _SELECTORS.sub("", text)
        # Taking out an invisible character can bring a base and its combining mark together.
        text = unicodedata.normalize("NFC", text)
    # Stripped first: a first line that loses its indentation may become a fence by that.
    return "".join(_tidied(_stripped(text)))


def _tidied(text: str) -> list[str]:
    if "```" not in text and "~~~" not in text:
        return [_prose(text)]
    parts = _FENCED.split(text)  # prose, block, its fence, prose, ...
    return [part if at % 3 == 1 else _prose(part) for at, part in enumerate(parts) if at % 3 != 2]


def _prose(text: str) -> str:
    if " \n" in text or "\t\n" in text:
        text = _TRAILING.sub("", text)
    return _BLANK_LINES.sub("\n\n", text) if "\n\n\n" in text else text


def _stripped(text: str) -> str:
    """``text`` without white space at its ends, but for the indentation of a first line among indented ones."""
    stripped = text.strip()
    if not _INDENTED.search(stripped):
        return stripped
    return text[: len(text) - len(text.lstrip())].rpartition("\n")[2] + stripped
