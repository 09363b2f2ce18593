"""Telephone numbers: international (E.164), North American, Korean, and others beside a label."""

import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules.patterns import calling_codes, cues
from llm_flywheel.components.scan_pii.rules.rule import stands_alone
from llm_flywheel.components.scan_pii.spans import Span

_SEP = r"(?: ?[-./] ?| )"
_MORE = rf"(?:{_SEP}?(?:\([0-9]{{1,5}}\)|[0-9]{{1,14}})){{0,7}}"
_INTERNATIONAL = re.compile(rf"\+ ?(?:\([1-9][0-9]{{0,3}}\)|[1-9][0-9]{{0,14}}){_MORE}", re.ASCII)
_WITH_00 = re.compile(rf"00[1-9][0-9]{{0,13}}(?:{_SEP}(?:\([0-9]{{1,5}}\)|[0-9]{{1,14}})){{0,7}}", re.ASCII)
_GROUP = re.compile(r"\(([0-9]+)\)|([0-9]+)", re.ASCII)
_EXTENSION = re.compile(r" ?(?:x|ext\.?|extension|내선) ?[0-9]{1,6}(?![0-9A-Za-z])", re.ASCII | re.IGNORECASE)

_NANP_REST = rf"[2-9][0-9]{{2}}{_SEP}[0-9]{{4}}(?![0-9])"
_NANP = (
    re.compile(rf"\([2-9][0-9]{{2}}\)(?: ?-? ?|\.){_NANP_REST}", re.ASCII),
    re.compile(rf"1{_SEP}\(?[2-9][0-9]{{2}}\)?{_SEP}{_NANP_REST}", re.ASCII),
    re.compile(rf"[2-9][0-9]{{2}}{_SEP}{_NANP_REST}", re.ASCII),
)
# Spelled as in North America with an extension or an exit code, whatever its area.
_LIKE_NANP = (
    re.compile(rf"\(?[0-9]{{3}}\)?{_SEP}?[0-9]{{3}}{_SEP}[0-9]{{4}}(?= ?(?:x|ext) ?\.? ?[0-9])", re.ASCII),
    re.compile(rf"001{_SEP}[0-9]{{3}}{_SEP}[0-9]{{3}}{_SEP}[0-9]{{4}}(?![0-9])", re.ASCII),
)
_KOREAN_AREA = r"0(?:2|[3-6][1-5]|70|50[2-8]|60|80)"
_KOREAN_END = rf"{_SEP}?[0-9]{{4}}(?![0-9])"
_KOREAN = (
    re.compile(rf"01(?:0(?:{_SEP}[0-9]{{4}}|[1-9][0-9]{{3}})|[16-9]{_SEP}?[2-9][0-9]{{2,3}}){_KOREAN_END}", re.ASCII),
    re.compile(rf"82{_SEP}\(?0?\)?1[016-9]{_SEP}?[2-9][0-9]{{2,3}}{_KOREAN_END}", re.ASCII),
    re.compile(rf"{_KOREAN_AREA}(?:\) ?|{_SEP})[1-9][0-9]{{2,3}}{_SEP}[0-9]{{4}}(?![0-9])", re.ASCII),
    re.compile(rf"\((?:{_KOREAN_AREA}|01[016-9])\)(?: ?-? ?)[1-9][0-9]{{2,3}}{_KOREAN_END}", re.ASCII),
)
_KOREAN_COMPACT = re.compile(r"0(?:2|[3-6][1-5]|70)[2-9][0-9]{6,7}(?![0-9])", re.ASCII)
_LABELLED = re.compile(
    rf"(?:\([0-9]{{1,5}}\)|[0-9]{{1,12}})(?:{_SEP}?\([0-9]{{1,5}}\)|{_SEP}[0-9]{{2,11}}){{0,6}}", re.ASCII
)
_NO_DIGIT = re.compile("[^0-9]")
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-./ ][01]?[0-9][-./ ][0-3]?[0-9](?: [0-9]{2})?"
    r"|[0-3]?[0-9][-./][0-3]?[0-9][-./](?:19|20)?[0-9]{2}"
    r"|(?:19|20)[0-9]{2}[01][0-9][0-3][0-9](?:[0-9]{4}|[0-9]{6})?|[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
    re.ASCII,
)
_STRUCTURED = re.compile("[-.(]")
_LABEL_AFTER = re.compile(r"[ -](?:office|fax|mobile|cell|home|work|tel)(?![A-Za-z0-9])", re.ASCII | re.IGNORECASE)
_KINDS = ("phone", "other_number", "card", "ssn", "rrn", "ip", "version")
_MOST_BETWEEN_LABEL_AND_NUMBER = 14


def find(text: str) -> Iterator[Span]:
    """Yield telephone numbers with their extension; numbers of a company's call centre (1588-0000) are nobody's.

    Args:
        text: Folded text.
    """
    yield from _international(text)
    for pattern in _KOREAN:
        yield from _national(text, pattern, 0.85)
    for pattern in _NANP:
        yield from _national(text, pattern, 0.8)
    for pattern in _LIKE_NANP:
        yield from _national(text, pattern, 0.75)
    for match in _KOREAN_COMPACT.finditer(text):
        if _alone(text, *match.span()) and _label(text, match.start()) != "other_number":
            yield Span(*match.span(), "PHONE", 0.6)
    yield from _labelled(text)


def _label(text: str, start: int, window: int = 40) -> str | None:
    return cues(*_KINDS).before(text, start, window)


def _alone(text: str, start: int, end: int) -> bool:
    """Whether nothing else touches the number; an extension (``x123``) is a part of it."""
    return stands_alone(text, start, _with_extension(text, end))


def _with_extension(text: str, end: int) -> int:
    match = _EXTENSION.match(text, end)
    return match.end() if match else end


def _international(text: str) -> Iterator[Span]:
    for match in _INTERNATIONAL.finditer(text):
        before = text[match.start() - 1 : match.start()]
        if before.isascii() and (before.isalnum() or before in tuple("_+")):
            continue
        end = _e164_end(text, match)
        if end:
            yield Span(match.start(), _with_extension(text, end), "PHONE", 0.9)
    for match in _WITH_00.finditer(text):
        end = _e164_end(text, match)
        if end and _alone(text, match.start(), end) and _label(text, match.start(), 24) == "phone":
            yield Span(match.start(), _with_extension(text, end), "PHONE", 0.7)


def _e164_end(text: str, match: re.Match[str]) -> int:
    """Where the number ends: after the last group that its country's numbers can have; 0 when none fits.

    Source: ITU-T E.164, at most fifteen digits; lengths by country in ``patterns.yaml``.
    """
    digits, end = "", 0
    for group in _GROUP.finditer(match.group()):
        if not (group.group() == "(0)" and digits):
            digits += group.group(1) or group.group(2)
        if match.group()[0] == "0":
            digits = digits.removeprefix("00")
        if len(digits) > 16:
            break
        at = match.start() + group.end()
        if _is_e164(digits) and _alone_at_end(text, at):
            end = at
    return end


def _alone_at_end(text: str, end: int) -> bool:
    after = text[end : end + 1]
    return not (after.isascii() and (after.isalnum() or after == "_")) or _with_extension(text, end) > end


def _is_e164(digits: str) -> bool:
    code = next((digits[:size] for size in (3, 2, 1) if digits[:size] in calling_codes()), "")
    national = digits[len(code) :]
    if code == "1":
        return len(national) == 10
    if code and code != "39":
        national = national.removeprefix("0")
    least, most = calling_codes()[code] if code else (8, 15)
    return least <= len(national) <= most


def _national(text: str, pattern: re.Pattern[str], score: float) -> Iterator[Span]:
    for match in pattern.finditer(text):
        start, end = match.span()
        if not _alone(text, start, end):
            continue
        label = _label(text, start)
        if label == "other_number" and not (text.startswith("010", start) or _STRUCTURED.search(match.group())):
            continue
        end = _with_extension(text, end)
        yield Span(start, end, "PHONE", score if label in ("phone", None) else 0.65)


def _labelled(text: str) -> Iterator[Span]:
    """Numbers of any plan directly after a word such as "tel" or "연락처": seven to thirteen digits, no date."""
    for match in _LABELLED.finditer(text):
        if match.end() - match.start() < 7:
            continue
        digits = len(_NO_DIGIT.sub("", match.group()))
        if not 7 <= digits <= 13 or not _alone(text, *match.span()) or _DATE.fullmatch(match.group()):
            continue
        if (digits >= 9 or not match.group().isdigit()) and _is_labelled(text, *match.span()):
            yield Span(match.start(), _with_extension(text, match.end()), "PHONE", 0.55)


def _is_labelled(text: str, start: int, end: int) -> bool:
    """A label directly before the number, or directly after it ("555 0100 office")."""
    before = cues(*_KINDS).nearest(text, start, 24)
    if before and start - before[1] <= _MOST_BETWEEN_LABEL_AND_NUMBER:
        return before[0] == "phone"
    return before is None and _LABEL_AFTER.match(text, end) is not None
