"""Numbers of a person at a public office: US social security, Korean resident and foreigner registration."""

import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii import checksums
from llm_flywheel.components.scan_pii.rules.patterns import cues
from llm_flywheel.components.scan_pii.rules.rule import stands_alone
from llm_flywheel.components.scan_pii.spans import PiiType, Span

_SEP = r"(?: ?[-.] ?| )"
_SSN = re.compile(rf"([0-9]{{3}})(?:{_SEP}([0-9]{{2}}){_SEP}([0-9]{{4}})|([0-9]{{2}})([0-9]{{4}}))(?![0-9])", re.ASCII)
_RRN = re.compile(rf"[0-9]{{6}}({_SEP}?)[0-9]{{7}}(?![0-9])", re.ASCII)


_SSN_CUES = ("ssn", "phone", "rrn", "card", "other_number")
_RRN_CUES = ("other_number", "rrn", "phone", "card")


def find_ssn(text: str) -> Iterator[Span]:
    """Yield US social security numbers.

    A number that was never issued (area 000, 666 or 9xx, group 00, serial 0000; SSA POMS RM 10201.035) is none.
    There is no check digit, so a label decides: with one every spelling counts, without one only the dashed form,
    and beside another number's label nothing does.

    Args:
        text: Folded text.
    """
    for match in _SSN.finditer(text):
        area, group, serial, group2, serial2 = match.groups()
        group, serial = group or group2, serial or serial2
        if area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000":
            continue
        if not stands_alone(text, *match.span()):
            continue
        cue = cues(*_SSN_CUES).around(text, *match.span())
        if cue == "ssn":
            yield Span(*match.span(), "US_SSN", 0.85)
        elif cue is None and match.group().count("-") == 2:
            yield Span(*match.span(), "US_SSN", 0.5)


def find_rrn(text: str) -> Iterator[Span]:
    """Yield Korean resident (KR_RRN) and foreigner (KR_FRN) registration numbers.

    The birth date must exist. The check digit decides; without a valid one the number counts beside its label
    or, for the dashed form, when the holder was born after check digits were given up (October 2020).

    Args:
        text: Folded text.
    """
    for match in _RRN.finditer(text):
        if not stands_alone(text, *match.span()):
            continue
        digits = match.group()[:6] + match.group()[-7:]
        if digits[6] in "09":
            continue
        kind: PiiType = "KR_RRN" if digits[6] in "1234" else "KR_FRN"
        score = _rrn_score(text, match, digits, kind)
        if score:
            yield Span(*match.span(), kind, score)


def _rrn_score(text: str, match: re.Match[str], digits: str, kind: PiiType) -> float:
    birth = checksums.rrn_birth(digits)
    if birth is None:
        return 0.0
    labelled = cues(*_RRN_CUES).around(text, *match.span())
    valid = checksums.rrn(digits) if kind == "KR_RRN" else checksums.frn(digits)
    if labelled == "rrn":
        return 0.98 if valid else 0.75
    if labelled == "other_number" and not match.group(1):
        # Thirteen digits in a row beside "created" or "order" are a time stamp in milliseconds or an order.
        return 0.0
    if valid:
        return 0.95
    random_since = birth >= checksums.RRN_RANDOM_SINCE
    return 0.6 if random_since and match.group(1) and labelled is None else 0.0
