"""Passport numbers that begin with letters: Korea's, and those of the United States since 2021."""

import re

from llm_flywheel.components.scan_pii.rules import cues
from llm_flywheel.components.scan_pii.rules.edges import DIGITS, LETTERS, ends_alone
from llm_flywheel.components.scan_pii.spans import PiiType, Span

# Letter and seven or eight digits in both countries, Korea's three digits, letter, four digits since December 2021,
# Korea's two letters and seven digits until 2008. Source: Passport Act enforcement rules; US Department of State.
_NUMBER = re.compile(
    r"([A-Za-z])(?: ?[0-9]{8}|[0-9]{3}[A-Za-z][0-9]{4}|(?=[0-9 ]{9}(?![0-9]))[0-9]{2,6} [0-9]{2,6})"
    r"|[A-Za-z]{2}[0-9]{7}",
    re.ASCII,
)
# Kinds of Korean passport: ordinary, single, residence, official, diplomatic, travel certificate.
_KOREAN = frozenset("MSRODG")
_RIVALS = cues.OTHER | cues.VERSION | cues.LICENSE | cues.BANK
_FAR, _TOUCHING = 24, 5
# "passport number (671937773) and the old one (C73898178)"
_LISTED = re.compile(r"(?:passports?|여권)[^0-9\n]{0,24}[A-Za-z]{0,2}[0-9]{7,9}[^0-9\n.;]{1,32}\Z", re.IGNORECASE)
_LINKS = frozenset("_-.")
_AMERICAN = re.compile(r"(?<![A-Za-z])(?:U\.?S\.?A?\.?|American)(?![A-Za-z])|미국")


def find(text: str, start: int) -> Span | None:
    """The passport number that begins with the letter or letters at ``start``, or None.

    Korea's ordinary passport (M) counts without a label, unless another number's label is beside it; the others need
    theirs.

    Args:
        text: Folded text.
        start: Position of the first letter.
    """
    before = text[start - 1 : start]
    if before in LETTERS or before in DIGITS or (before in _LINKS and text[start - 3 : start].lower() != "no."):
        return None
    match = _NUMBER.match(text, start)
    if match is None or not ends_alone(text, match.end()):
        return None
    label, gap = cues.before(text, start, cues.PASSPORT | _RIVALS)
    far = _TOUCHING if " " in match.group()[2:] else _FAR
    labelled = (label & cues.PASSPORT and gap <= far) or (not label & _RIVALS and is_listed(text, start))
    letter = match.group(1)
    if not labelled and (letter != "M" or label or " " in match.group()):
        return None
    new_form = text[match.end() - 5] in LETTERS
    korean = letter is None or new_form or (letter.upper() in _KOREAN and not _is_american(text, start, match.end()))
    kind: PiiType = "KR_PASSPORT" if korean else "US_PASSPORT"
    return Span(start, match.end(), kind, 0.85 if labelled else 0.6)


def is_listed(text: str, start: int) -> bool:
    """Whether another passport number with its label stands shortly before."""
    return _LISTED.search(text, max(0, start - 80), start) is not None


def _is_american(text: str, start: int, end: int) -> bool:
    """Whether a word beside a number of a form that both countries use names the other one."""
    return bool(_AMERICAN.search(text, max(0, start - 32), start) or _AMERICAN.search(text, end, end + 6))
