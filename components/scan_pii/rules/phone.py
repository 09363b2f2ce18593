"""Telephone numbers: international (E.164), North American and Korean; those of other plans in `by_label`."""

import re
from collections.abc import Iterator
from functools import cache

from llm_flywheel.components.scan_pii.rules import cues
from llm_flywheel.components.scan_pii.rules.edges import DIGITS, ends_alone, starts_alone
from llm_flywheel.components.scan_pii.rules.patterns import calling_codes
from llm_flywheel.components.scan_pii.spans import Span

_SEP = r"(?: ?[-./_] ?| )"
_MORE = rf"(?:{_SEP}?(?:\([0-9]{{1,5}}\)|[0-9]{{1,14}})){{0,7}}"
_WITH_EXIT_CODE = re.compile(rf"00{_SEP}?[1-9][0-9]{{0,14}}{_MORE}", re.ASCII)
# A Korean mobile number, a North American one, one of another listed country whose number is in two groups or more.
_KNOWN_EXIT_CODE = re.compile(
    r"00[ -]?82[ -]?\(?0?\)?[ -]?1[016-9]|001[-. ]\(?[0-9]{3}\)?[-. ][0-9]{3}[-. ]"
    r"|00[2-9][0-9]{1,2}[ -](?:\(0\) ?)?[0-9]{1,5}[ -][0-9]{2}",
    re.ASCII,
)
_GROUP = re.compile(r"\(0\)|[0-9]+", re.ASCII)
_EXTENSION_WORD = r"(?:x|extn?\.?|extension|내선(?:번호)?)[ :.]{0,2}[0-9]{1,6}(?![0-9A-Za-z])"
_EXTENSION = re.compile(rf",? ?(?:{_EXTENSION_WORD}|\({_EXTENSION_WORD}\))", re.ASCII | re.IGNORECASE)
_EXTENSION_BEGINS = frozenset(" ,(xXeE내")
# Labels that are no words of their own: one letter with a full stop or a colon, signs, other scripts.
_SHORT_LABEL = re.compile(
    r"(?:(?<![A-Za-z0-9])(?:[TMPHCF]|Ph)[.:)]{1,2}|(?<![A-Za-z])T[eé]l[eé]?[.:]{0,2}"
    r"|[☎☏📞📱✆📠]|電話|电话|手机|携帯)[ :=]{0,3}\Z"
)
_ONE_LETTER_LABEL = re.compile(r"(?<![A-Za-z0-9])(?:[TMHFC]|HP)\Z")
# Digits of a whole number by its area. Source: Korea's numbering rules (Ministry of Science and ICT).
_MOBILE = frozenset(("010", "011", "016", "017", "018", "019"))
_KOREAN_AREAS = {
    "02": (9, 10),
    **{f"0{area}": (10, 11) for area in (*range(31, 34), *range(41, 45), *range(51, 56), *range(61, 65))},
    **dict.fromkeys((*_MOBILE, "060", "070", "080"), (10, 11)),
    **dict.fromkeys(("0303", *(f"050{last}" for last in range(2, 9))), (11, 12)),
}
_LABEL_AFTER = re.compile(
    r" ?[-(,]? ?(?:office|fax|mobile|cell|home|work|tel|phone"
    r"|휴대폰|핸드폰|연락처|전화|팩스|자택|직장|사무실)(?![A-Za-z0-9])",
    re.ASCII | re.IGNORECASE,
)
_NEAR = 12
_OTHERS = cues.OTHER | cues.ROUTING
_NATIONAL = re.compile(
    r"\(?02[03489]\)?[ -][0-9]{4}[ -][0-9]{4}|\(?01(?:1[0-9]|[0-9]1)\)?[ -][0-9]{3}[ -][0-9]{4}"
    r"|\(?0(?:1[2-9]|7[1-57-9])[0-9]{2}\)?[ -](?:[0-9]{3} ?[0-9]{3})"
    r"|(?P<pairs>0[1-79](?:([ .-])[0-9]{2})(?:\2[0-9]{2}){3})|01[567][0-9][ /-][0-9]{3,4} ?[0-9]{4}"
    r"|(?:090|\(?0[36]\)?)-[0-9]{4}-[0-9]{4}|\(0[3678]\) ?[2-9][0-9]{3}[ -][0-9]{4}",
    re.ASCII,
)
# With the trunk zero that some write after the country's code.
_NOWHERE = "000"
_LEAST_E164, _MOST_E164 = 7, 16
_KOREAN_DIGIT = "[공영일이삼사오육륙칠팔구]"
_SPELLED = re.compile(f"[공영]일[공영일육륙칠팔구](?:[ .-]{{0,3}}{_KOREAN_DIGIT}){{7,8}}(?!{_KOREAN_DIGIT})")
_NATIONAL_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-./ ][01]?[0-9][-./ ][0-3]?[0-9](?: [0-9]{2})?"
    r"|[0-3]?[0-9][-./][0-3]?[0-9][-./](?:19|20)?[0-9]{2}"
    r"|(?:19|20)[0-9]{2}[01][0-9][0-3][0-9](?:[0-9]{4}|[0-9]{6})?|[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
    re.ASCII,
)


def find_korean(text: str, start: int, end: int, digits: str) -> Span | None:
    """A Korean number with its trunk zero, or None; call-centre numbers (1588-0000) have none and are nobody's.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    if digits[0] != "0":
        return None
    area = _korean_area(digits)
    if not area or not _KOREAN_AREAS[area][0] <= len(digits) <= _KOREAN_AREAS[area][1]:
        return None
    compact, mobile = end - start == len(digits), area in _MOBILE
    if digits[len(area)] in ("01" if compact and len(area) < 4 and not mobile else "0") and (compact or not mobile):
        return None
    if not compact and not mobile and text[start + len(area) + (text[start] == "(")] in DIGITS:
        return None
    end = _whole_end(text, end, "_" if mobile else "")
    if not end or not _starts(text, start, mobile):
        return None
    if not mobile and _is_other(text, start, compact):
        return None
    # "shard=0199501717": a key that is no telephone's.
    if compact and area != "010" and text[start - 1 : start] == "=" and not cues.before(text, start, cues.PHONE, 24)[0]:
        return None
    return Span(start, end, "PHONE", 0.6 if compact and not mobile else 0.85)


def find_korean_82(text: str, start: int, end: int, digits: str) -> Span | None:
    """A Korean number with the country's code and no plus sign (82-10-1234-5678, 82 (0)10 ...), or None.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    if digits[:2] != "82":
        return None
    national = "0" + digits[2:].removeprefix("0")
    area = _korean_area(national)
    if not area or not _KOREAN_AREAS[area][0] <= len(national) <= _KOREAN_AREAS[area][1]:
        return None
    compact = end - start == len(digits)
    mobile = area in _MOBILE
    if not mobile and (compact or national[len(area)] in "01"):
        return None
    end = _whole_end(text, end)
    if not end or not _starts(text, start) or _is_other(text, start, compact):
        return None
    return Span(start, end, "PHONE", 0.8)


def find_nanp(text: str, start: int, end: int, digits: str) -> Span | None:
    """A grouped North American number, with or without the leading 1, or None.

    Source: North American Numbering Plan: area and exchange begin with 2 to 9. Others count with an extension only.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    whole_end = _whole_end(text, end)
    if not whole_end or (len(digits) == 11 and digits[0] != "1"):
        return None
    national = digits[-10:]
    in_plan = national[0] not in "01" and national[3] not in "01"
    if not in_plan and (whole_end == end or len(digits) == 11 or national[:3] == _NOWHERE):
        return None
    spaces_only = end - start == len(digits) + text.count(" ", start, end)
    if not _starts(text, start) or _is_other(text, start, spaces_only):
        return None
    return Span(start, whole_end, "PHONE", 0.8 if in_plan else 0.75)


def find_national(text: str, start: int, end: int, digits: str) -> Span | None:
    """A British, French, German, Japanese or Australian number with its trunk zero, grouped as there, or None.

    Source: numbering plans of Ofcom, Arcep, Bundesnetzagentur (mobile only), MIC (mobile, Tokyo and Osaka) and ACMA.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    number = text[start:end]
    match = _NATIONAL.fullmatch(number)
    if match is None or (match["pairs"] and _ascends(digits)):
        return None
    whole_end = _whole_end(text, end)
    if not whole_end or not _starts(text, start) or _is_other(text, start, anywhere=True):
        return None
    return Span(start, whole_end, "PHONE", 0.6)


def _ascends(digits: str) -> bool:
    """Whether the pairs of digits grow and stay low: the balls of a lottery."""
    pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
    return pairs == sorted(pairs) and pairs[-1] < "50"


def find_international(text: str, start: int, end: int, digits: str) -> Span | None:
    """A number with a plus sign and its country's code, or None.

    Args:
        text: Folded text.
        start: Position of the plus sign.
        end: One past the last digit.
        digits: The number without separators.
    """
    if not _LEAST_E164 <= len(digits) <= _MOST_E164 or not _is_e164(digits):
        return None
    whole_end = _whole_end(text, end)
    if not whole_end or not starts_alone(text, start, cues.PHONE):
        return None
    return Span(start - _opened(text, start, end), whole_end, "PHONE", 0.9)


def find_exit_code(text: str, start: int) -> Span | None:
    """A number with 00 before the country's code, or None: beside a label, or one of Korea or North America.

    Args:
        text: Folded text.
        start: Position of the first zero.
    """
    match = _WITH_EXIT_CODE.match(text, start)
    end = _e164_end(text, match, 2) if match else 0
    if match is None or not end or not starts_alone(text, start, cues.PHONE):
        return None
    label, gap = cues.before(text, start, cues.PHONE | cues.OTHER | cues.CARD, 24)
    if label == cues.PHONE and gap <= _NEAR:
        return Span(start, end, "PHONE", 0.7)
    known = _KNOWN_EXIT_CODE.match(text, start)
    return Span(start, end, "PHONE", 0.65) if known and not label & ~cues.PHONE else None


def find_beside_label(text: str, start: int, end: int, digits: str, gap: int) -> Span | None:
    """A number of any plan directly after a word such as "tel" or "연락처": seven to thirteen digits, no date.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
        gap: Code points between the label and the number.
    """
    # A column's name in a list that has ended: "tel) VALUES ('112-1293, 147 ...".
    if len(digits) < 9 and "\n" in text[start - gap : start].strip():
        return None
    if gap > _NEAR + 2 or not _is_plausible(text[start:end], digits):
        return None
    whole_end = _whole_end(text, end)
    return Span(start, whole_end, "PHONE", 0.6) if whole_end else None


def find_beside_sign(text: str, start: int, end: int, digits: str) -> Span | None:
    """A number of any plan directly before a word such as "office" or "(휴대폰)" or after a sign (☎, "M:"), or None.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    if not _LABEL_AFTER.match(text, end) and not _SHORT_LABEL.search(text, max(0, start - 8), start):
        return None
    if not starts_alone(text, start) or not _is_plausible(text[start:end], digits):
        return None
    whole_end = _whole_end(text, end) or end
    return Span(start, whole_end, "PHONE", 0.6)


def _is_plausible(number: str, digits: str) -> bool:
    """Seven to thirteen digits, no date; fewer than nine only in groups, and no decimal number."""
    if not 7 <= len(digits) <= 13 or digits[:3] == _NOWHERE:
        return False
    if len(digits) < 9 and (number.isdigit() or number.count(".") == 1):
        return False
    return not _NATIONAL_DATE.fullmatch(number)


def find_spelled(text: str) -> Iterator[Span]:
    """Yield Korean mobile numbers spelled digit by digit (공일공-일이삼사-오육칠팔).

    Args:
        text: Folded text.
    """
    for match in _SPELLED.finditer(text):
        yield Span(*match.span(), "PHONE", 0.7)


def _korean_area(digits: str) -> str:
    """The area, mobile or service code that a number begins with, or nothing."""
    area = digits[: 2 if digits[1] == "2" else 3]
    return area if area in _KOREAN_AREAS else digits[:4] if digits[:4] in _KOREAN_AREAS else ""


def _starts(text: str, start: int, mobile: bool = False) -> bool:
    """Nothing before belongs to the number; a label may touch it, and the name of a recording may hold it."""
    if starts_alone(text, start, cues.PHONE):
        return True
    return (mobile and text[start - 1] == "_") or _ONE_LETTER_LABEL.search(text, max(0, start - 3), start) is not None


def _whole_end(text: str, end: int, also: str = "") -> int:
    """Where the number with its extension ends; 0 when it is a piece of something longer."""
    following = text[end : end + 1]
    if following in _EXTENSION_BEGINS:
        match = _EXTENSION.match(text, end)
        if match:
            return match.end()
    return end if (also and following == also) or ends_alone(text, end) else 0


def _is_other(text: str, start: int, anywhere: bool) -> bool:
    """Whether the nearest label says that this is another number; a grouped one believes only a near label."""
    label, gap = cues.before(text, start, _OTHERS | cues.PHONE)
    return bool(label & _OTHERS) and (anywhere or (gap <= _NEAR and "," not in text[start - gap : start]))


def _opened(text: str, start: int, end: int) -> bool:
    """Whether a bracket before the number is closed inside it: "(+82) 10-1234-5678"."""
    return text[start - 1 : start] == "(" and ")" in text[start:end]


def _e164_end(text: str, match: re.Match[str], skipped: int) -> int:
    """Where the number ends: after the last group that its country's numbers can have; 0 when none fits.

    Source: ITU-T E.164, at most fifteen digits; lengths by country in ``patterns.yaml``.
    """
    digits, end = "", 0
    for group in _GROUP.finditer(match.group(), skipped):
        if not (group.group() == "(0)" and digits):
            digits += group.group()
        if len(digits) > _MOST_E164:
            break
        if len(digits) >= _LEAST_E164 and _is_e164(digits):
            end = _whole_end(text, match.start() + group.end()) or end
    return end


def _is_e164(digits: str) -> bool:
    code, least, most = _country(digits[:3])
    if digits[0] == "0":
        return False
    national = len(digits) - code
    if digits[code] == "0" and digits[:code] not in ("1", "39"):
        national -= 1
    return least <= national <= most


@cache
def _country(beginning: str) -> tuple[int, int, int]:
    """Length of the calling code that a number begins with, and the fewest and most digits after it."""
    known = next((beginning[:size] for size in (3, 2, 1) if beginning[:size] in calling_codes()), "")
    return (len(known), *calling_codes()[known]) if known else (0, 8, 15)
