"""Korean identifiers: resident and foreigner registration, driver licence, business registration."""

import re

from llm_flywheel.components.scan_pii import checksums
from llm_flywheel.components.scan_pii.rules import cues
from llm_flywheel.components.scan_pii.rules.edges import alone, ends_alone
from llm_flywheel.components.scan_pii.rules.patterns import data
from llm_flywheel.components.scan_pii.spans import PiiType, Span

_RIVALS = cues.OTHER | cues.BANK
_COMPACT_RIVALS = _RIVALS | cues.PHONE | cues.CARD
# Offices that issue driver licences, by the first two digits since 1999 and by name before.
_LICENSE_REGIONS = frozenset(str(code) for code in (*range(11, 27), 28))
_HANGUL = re.compile(r"[가-힣]")
# "김민준님 800101-...", "위임자 김민준 (800101-...)"
_HOLDER = re.compile(
    rf"(?<![가-힣])[{data('names')['korean_surnames'].strip()}](?:[가-힣]{{1,3}}(?:님|씨)[ :,]{{0,2}}"
    r"|[가-힣]{2,3}(?<!번호)(?<!코드) ?(?P<bracket>\())\Z"
)
# "거래처 다온유통 1234567890", "(주)미래전자 (1234567890)"
_COMPANY = re.compile(
    r"(?:(?:거래처|협력사|협력업체|업체|업체명|상호|상호명|공급자|공급받는자|매입처|매출처|납품처|가맹점|법인명)"
    r"[ :]{1,3}[가-힣A-Za-z()&]{2,15}|(?:\(주\)|\(유\)|㈜|주식회사|유한회사) ?[가-힣A-Za-z]{2,15}"
    r"|[가-힣]{2,12}(?:유통|물류|법인|여행사|상사|전자|건설|산업|무역|식품|테크|시스템|시스템즈|소프트|엔지니어링|화학|제약"
    r"|통상|상회|컴퍼니|코리아|네트웍스|솔루션|솔루션즈|랩|홀딩스|\(주\)|주식회사)) ?[,(:]? ?\Z"
)
_LICENSE_REGION_NAME = re.compile(
    r"(?:서울|부산|대구|인천|광주|대전|울산|세종|경기(?:남부|북부)?|강원|충북|충남|전북|전남|경북|경남|제주)[ -]{0,3}\Z"
)


def find_rrn(text: str, start: int, end: int, digits: str) -> Span | None:
    """A Korean resident (KR_RRN) or foreigner (KR_FRN) registration number of thirteen digits, or None.

    The birth date must exist. The check digit decides; without a valid one the number counts beside its label, behind
    the holder's name or, in two groups, when the holder was born after check digits were given up (October 2020).

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    birth = checksums.rrn_birth(digits)
    if birth is None or not alone(text, start, end, cues.RRN):
        return None
    foreign = digits[6] in "5678"
    kind: PiiType = "KR_FRN" if foreign else "KR_RRN"
    valid = checksums.frn(digits) if foreign else checksums.rrn(digits)
    grouped = end - start > 13
    # Nobody lives who was born before 1900, and a company's number has a zero there.
    lives = digits[6] not in "09"
    if valid and grouped and lives and "법인" not in text[max(0, start - 14) : start]:
        return Span(start, end, kind, 0.95)
    label, gap = cues.before(text, start, cues.RRN | (_RIVALS if grouped else _COMPACT_RIVALS))
    label = label or cues.after(text, end, cues.RRN)
    holder = None if label & _RIVALS else _HOLDER.search(text, max(0, start - 10), start)
    if holder and (not holder["bracket"] or text[end : end + 1] == ")"):
        return Span(start, end, kind, 0.6)
    is_time = not grouped and "12" <= digits[:2] <= "18"
    if (
        is_time
        and not _HANGUL.search(text, max(0, start - 2), start)
        and (not label & cues.RRN or "\n" in text[start - gap : start])
    ):
        return None
    if label & cues.RRN:
        return Span(start, end, kind, 0.97 if valid else 0.75)
    if not lives:
        return None
    if valid and not label & cues.OTHER:
        # Thirteen digits in a row beside "created" or "order" are a time stamp in milliseconds or an order.
        return Span(start, end, kind, 0.9)
    if grouped and not label and birth >= checksums.RRN_RANDOM_SINCE:
        return Span(start, end, kind, 0.6)
    return None


def names_company(text: str, start: int) -> bool:
    """Whether the name of a Korean company stands before a number."""
    return _COMPANY.search(text, max(0, start - 32), start) is not None


def find_license(text: str, start: int, end: int, digits: str) -> Span | None:
    """A driver licence number 11-22-123456-78, or None.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    if not is_license(digits) or not alone(text, start, end, cues.LICENSE):
        return None
    return Span(start, end, "KR_DRIVER_LICENSE", 0.85)


def is_license(digits: str) -> bool:
    """Whether these twelve digits begin with the code of an office that issues driver licences."""
    return digits[:2] in _LICENSE_REGIONS


def find_old_license(text: str, start: int, end: int, digits: str) -> Span | None:
    """A driver licence number with the office's name instead of its code (서울 92-123456-78), or None.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    region = _LICENSE_REGION_NAME.search(text, max(0, start - 7), start)
    if region is None or not ends_alone(text, end):
        return None
    return Span(region.start(), end, "KR_DRIVER_LICENSE", 0.9)


def find_brn(text: str, start: int, end: int, digits: str) -> Span | None:
    """A business registration number 123-45-67890 with its check digit, or None.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    if not checksums.brn(digits) or not alone(text, start, end, cues.BRN):
        return None
    return Span(start, end, "KR_BRN", 0.9)
