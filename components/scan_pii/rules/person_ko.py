"""PERSON in Hangul: a surname and one or two syllables, with something beside it that only goes with a person.

Evidence is an honorific or a job title behind (``김민준 과장님``), a label before (``예금주: 김민준``), an
introduction (``저는 김민준입니다``), a signature (``김민준 드림``), a phone number or an e-mail address behind; a
surname with a well-known given name needs none. Particles (``김민준에게``) are not part of the name.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from llm_flywheel.components.scan_pii.rules.patterns import data
from llm_flywheel.components.scan_pii.rules.person_labels import is_korean_label, label, words
from llm_flywheel.components.scan_pii.rules.remembered import Remembered
from llm_flywheel.components.scan_pii.spans import Span

_DATA = data("names")
_TITLES = "|".join(sorted(_DATA["korean_titles"].split(), key=len, reverse=True))
_PARTICLES = (
    "은|는|이|가|을|를|의|와|과|도|만|랑|이랑|하고|에게|에게서|에게는|한테|한테서|께|께서|께서는|께는|보다|처럼|부터|까지|로부터"
    "|이가|이는|이를|이의|이도|이에게|이한테"
)
_COPULA = "입니다(?:만)?|이에요|예요|이예요|이라고(?:요|합니다|해요)?|라고(?:요|합니다|해요)?|이고요|인데요|이십니다"
_ENDING = "이고|고|이며|며|인데|이라|라|임|였습니다|이었습니다|이야|야|이다|다|인가요|인지|이셨|이란|란|(?:으)?로"
_TAIL = re.compile(
    rf"(?P<title>(?:{_TITLES})(?:님)?(?:{_PARTICLES}|{_COPULA}|{_ENDING}|에)?)|(?P<particle>{_PARTICLES})"
    rf"|(?P<copula>{_COPULA})|(?P<ending>{_ENDING})"
)
_TITLED = re.compile(rf"(?:{_TITLES})(?:님)?(?:{_PARTICLES}|{_COPULA}|{_ENDING}|에)?(?![가-힣])")
_TITLE_NEXT = re.compile(rf"(?:{_TITLES}|드림|올림|배상|귀하|귀중|앞)(?:님)?(?:{_PARTICLES}|{_COPULA}|{_ENDING}|에)?")
_HANGUL = re.compile("[가-힣]{1,12}(?![가-힣])")
# KakaoTalk: "[name] [오후 2:23] ...", "2025년 1월 2일 오후 2:23, name : ...", "name | 14:23 | ...".
_SPEAKER_NEXT = re.compile(r"\] \[(?:오[전후] )?[0-9]{1,2}:[0-9]{2}|(?:님)? \| [0-9]{1,2}:[0-9]{2}")
_TIME_BEFORE = re.compile(r"[0-9]:[0-9]{2},? \Z")
_CONTACT_NEXT = re.compile(
    r"님?[ \"']{0,2}(?:[(\[</|,:\t] ?){1,2}[\"' ]{0,2}(?:(?:연락처|전화|휴대폰|핸드폰|HP|H\.P|T|Tel|M)?[.:) ]{0,2}"
    r"(?:\+?82|0[1-9][0-9]?)[-). ]|[0-9]{6} ?-? ?[1-8][0-9]{6}|[\w.+-]{1,64}@)",
    re.ASCII,
)
_SELF = re.compile(r"(?<![가-힣])(?:저는|전|나는|난|제가|제 이름은|내 이름은|본인은|이름은|여기는|접니다)[ ,]*\Z")
_GREETED = re.compile(
    r"(?:안녕하세요|안녕하십니까|여보세요|반갑습니다|안녕|네|예|:)[,.!~ ]*\Z|^\s*\Z"
    # "안녕하세요, 한울회계법인 진이서입니다."
    r"|안녕하(?:세요|십니까)[,.!~ ]+[^\n.!?]{1,24} \Z"
)
_CALLED = re.compile(r"라고(?: (?:합니다|해요|하는데요?|하고요)(?![가-힣])|합니다|해요)")
_ENDS = re.compile("[\",'\n|<(/;)\\]}\t]| [^가-힣]| ?\\Z")
# What stands behind a name in a line of many fields: "수취인 함준 IBAN ...", "보호자 우별 010-...".
_FIELD_NEXT = re.compile(
    r" (?=\(?0[0-9]|\+[0-9]|[0-9]{6}|[A-Z]{2}"
    r"|(?:여권|주민|이메일|메일|연락처|전화|휴대|핸드폰|외국인|생년|계좌|사업자)[가-힣]*)"
)
_COLONS = frozenset((": ", " :"))
_VALUE_END = re.compile(r" ?(?:[(\n,\"'<|}\])/;\t]|\Z)| (?= |[A-Za-z_]{1,20}=)")
_GIVEN, _WORDS = words("korean_given"), words("korean_words")
_FIRST, _SECOND, _SINGLE = (_DATA[f"korean_{name}"] for name in ("first", "second", "single"))
_SURNAMES = _DATA["korean_surnames"]
# They start more words than names: nothing but evidence makes one a name.
_RARE = _DATA["korean_rare_surnames"]
# Names of other countries: "데이비드 존슨", "쩐 반 민".
_FOREIGN_FIRST, _FOREIGN_LAST = words("hangul_first"), words("hangul_last")
_FOREIGN_NAMES = _FOREIGN_FIRST | _FOREIGN_LAST
_FOREIGN_HEADS = "".join(sorted({name[0] for name in _FOREIGN_FIRST}))
_FOREIGN_SHORT = "".join(sorted(name for name in _FOREIGN_FIRST if len(name) == 1))
_FOREIGN_SECOND = "".join(sorted({name[1] for name in _FOREIGN_FIRST if name[1:]}))
_FOREIGN_STARTS = frozenset(name[:2] for name in _FOREIGN_FIRST)
_FOREIGN_RUN = re.compile("[가-힣]{1,8}(?: [가-힣]{1,8}){0,3}")
# English words before a Hangul name: "audit: user 김별 updated".
_LATIN_CUES = frozenset(("by", "user", "dear", "name", "customer"))
_WORD = re.compile(
    rf"[{_SURNAMES}{_RARE}{_FOREIGN_HEADS}사독](?<![가-힣].)"
    rf"(?:(?<=[{_SURNAMES}{_RARE}{_FOREIGN_SHORT}사독])(?: (?=[가-힣]{{2}}|[반티] ))?"
    rf"[{_FIRST}{_SINGLE}궁보우갈공고반티]|[{_FOREIGN_SECOND}])[가-힣]{{0,8}}"
)
# Syllables of given names that also end words: "고민인", "변하니", "이상해".
_LIKE_ENDINGS = "은이의인니일하나고도만라해을로과"
_HEADS = frozenset(f"{_SURNAMES}{_RARE}사독")
# "저는 김별이고 ..."
_JOINING = ("이고", "이며", "고", "며")
# Particles that end no given name, and those that end few: "주기가", "배송이".
_NEVER_LAST = "가를는에의와과로"
_SELDOM_LAST = "이을도만"
_COMPOUND = frozenset(("남궁", "황보", "선우", "제갈", "사공", "독고"))
_NO_WORD_NEXT = re.compile(rf"(?:{_PARTICLES})?(?![가-힣])")
# "하나님", "우리 님", "사랑님": words first.
_LIST_MARKS = frozenset((", ", ",", "·", " 및 "))
_NOT_ALONE = frozenset(("하나", "우리", "사랑", "하늘", "이모", "나라", "구름"))


class _Reading(NamedTuple):
    """One way to read a word as a name.

    Attributes:
        end: Length of the name in the word.
        known: Whether the given name is a well-known one.
        single: Whether the given name has one syllable only.
        tail: What the rest of the word is: ``title``, ``particle``, ``copula`` or empty.
    """

    end: int
    known: bool
    single: bool
    tail: str


_FOREIGN = (_Reading(0, known=False, single=False, tail="foreign"),)


def _readings_of(word: str) -> tuple[_Reading, ...] | None:
    """The ways to read a word as a name and what follows it, the likelier first; none if it cannot be one."""
    spaced = word[1] == " "
    if (word[0] if spaced else word[:2] in _FOREIGN_STARTS and _foreign_head(word)) in _FOREIGN_FIRST:
        return _FOREIGN
    if word[0] not in _HEADS:
        return None
    joined = word.replace(" ", "", 1) if spaced else word
    surname = 2 if joined[:2] in _COMPOUND else 1
    if surname == 1 and joined[0] in "사독":
        return None
    found = []
    for syllables in (2, 1):
        end = surname + syllables
        if len(joined) < end or (spaced and (syllables == 1 or surname == 2)):
            continue
        name, given, rest = joined[:end], joined[surname:end], joined[end:]
        tail = _TAIL.fullmatch(rest)
        if rest and tail is None:
            continue
        known = given in _GIVEN and not (given[-1] in _LIKE_ENDINGS and name[:2] in _WORDS)
        kind = (tail.lastgroup or "") if tail else ""
        if not known and (kind == "ending" and rest not in _JOINING or surname == 1 and not _plausible(name, given)):
            continue
        if surname == 1 and name[0] in _RARE and syllables == 1:
            continue
        if name in _WORDS:
            if not known:
                continue
            known = False
        known = known and (surname == 2 or name[0] not in _RARE)
        found.append(_Reading(end + spaced, known and not spaced, syllables == 1, kind))
    if not found and (len(word) != 3 or word in _WORDS or word[2] in _NEVER_LAST or spaced):
        return None
    return tuple(found) if found or word[2] not in _SELDOM_LAST or word[:2] not in _WORDS else None


_readings = Remembered(_readings_of, 1 << 15)


def _foreign_head(word: str) -> str:
    """The name that a word is or starts with, if the rest is a particle or a title; else the word."""
    for end in range(len(word), 1, -1):
        if word[:end] in _FOREIGN_NAMES and (end == len(word) or _TAIL.fullmatch(word, end)):
            return word[:end]
    return word


def _plausible(name: str, given: str) -> bool:
    if len(given) == 1:
        return given in _SINGLE
    if given[0] not in _FIRST or given[1] not in _SECOND:
        return False
    return not (given[1] in _LIKE_ENDINGS and name[:2] in _WORDS)


def find(text: str) -> list[Span]:
    """Names of persons in Hangul.

    Args:
        text: Folded text.

    Returns:
        Spans of 0.7 to 0.8 with evidence beside a name, 0.75 for a surname with a well-known given name.
    """
    found: list[Span] = []
    left: list[tuple[int, int]] = []
    readings_of = _readings
    for match in _WORD.finditer(text):
        readings = readings_of[match.group()]
        if readings is None:
            continue
        start, end = match.span()
        if readings is _FOREIGN:
            found += _foreign(text, start)
            continue
        for reading in readings:
            score = _score(text, start, end, reading)
            if not score and found and not reading.tail and _in_list(text, start, found, single=reading.single):
                score = 0.7
            if score:
                found.append(Span(start, start + reading.end, "PERSON", score))
                break
        else:
            if (
                end == start + 3
                and _ENDS.match(text, end)
                and (found and _in_list(text, start, found) or _is_field(text, start, end))
            ):
                found.append(Span(start, end, "PERSON", 0.7))
            else:
                left.append((start, start + readings[0].end if readings else end))
    if left and (found or len(left) > 1):
        found += _said_again(text, found, left)
    return found + _honoured(text, "님") + _honoured(text, "씨")


def _in_list(text: str, start: int, found: list[Span], *, single: bool = False) -> bool:
    """Whether a word follows the last name with a comma: "한세영, 송진우"; a short one needs two names before it."""
    listed = text[found[-1].end : start] in _LIST_MARKS
    return listed and (not single or (len(found) > 1 and text[found[-2].end : found[-1].start] in _LIST_MARKS))


def _said_again(text: str, found: list[Span], left: list[tuple[int, int]]) -> list[Span]:
    """Words without evidence of their own that are names elsewhere in the text, or speak more than once in it."""
    names = {text[span.start : span.end] for span in found}
    again: list[Span] = []
    lines: dict[str, list[Span]] = {}
    for start, end in left:
        word = text[start:end]
        if word in names:
            again.append(Span(start, end, "PERSON", 0.7))
        elif text[end : end + 2] in _COLONS and (not start or text[start - 1] == "\n") and (end - start == 3 or found):
            lines.setdefault(word, []).append(Span(start, end, "PERSON", 0.7))
    return again + [span for spans in lines.values() if len(spans) > 1 for span in spans]


def _foreign(text: str, start: int) -> list[Span]:
    """A name of another country: of two known parts, or of one with evidence beside it."""
    run = _FOREIGN_RUN.match(text, start)
    parts = run.group().split(" ") if run else []
    end, known, tail = start, 0, False
    for part in parts:
        head = part if len(part) == 1 else _foreign_head(part)
        if head not in _FOREIGN_NAMES or tail:
            break
        end += len(head) + (known > 0)
        known += 1
        tail = head != part
    if known > 1:
        return [Span(start, end, "PERSON", 0.75)]
    before = text[max(0, start - 24) : start]
    evidence = _evidence(before)
    if not tail and len(parts) > 1 and len(parts[1]) > 1 and not _is_title(parts[1]):
        whole = end + 1 + len(parts[1])
        if (evidence and _VALUE_END.match(text, whole)) or _person_next(text, whole) or _speaks(text, start, whole):
            return [Span(start, whole, "PERSON", 0.7)]
    if end - start < 2:
        return []
    if tail and _TITLED.match(text, end) or not tail and (_person_next(text, end) or _speaks(text, start, end)):
        return [Span(start, end, "PERSON", 0.7)]
    return [Span(start, end, "PERSON", 0.7)] if evidence and _VALUE_END.match(text, end) else []


def has_evidence(text: str, start: int, end: int) -> bool:
    """Whether a word that another tagger calls a name has something beside it that only goes with a person.

    Args:
        text: Folded text.
        start: First character of the word.
        end: One past its last.
    """
    if (text[start] not in _SURNAMES and text[start] not in _RARE) or text[start:end] in _WORDS:
        return False
    tail = _TAIL.match(text, end)
    if (tail and tail.lastgroup == "title") or _person_next(text, end):
        return True
    return _evidence(text[max(0, start - 24) : start]) > 0


def _honoured(text: str, honorific: str) -> list[Span]:
    """Well-known given names without a surname: "민준 씨", "지훈님"."""
    found = []
    at = text.find(honorific, 2)
    while at >= 0:
        end = at - 1 if text[at - 1] == " " else at
        given = text[max(0, end - 2) : end]
        alone = given in _GIVEN and given not in _NOT_ALONE and not _is_hangul(text[max(0, end - 3) : end - 2])
        if alone and _NO_WORD_NEXT.match(text, at + 1):
            found.append(Span(end - 2, end, "PERSON", 0.65))
        at = text.find(honorific, at + 1)
    return found


def _is_field(text: str, start: int, end: int) -> bool:
    """Whether a word is the whole value of a field for a name, or the speaker of an exported chat."""
    if _speaks(text, start, end):
        return True
    evidence = _evidence(text[max(0, start - 24) : start])
    return evidence > 0 and (_VALUE_END.match(text, end) or evidence == 1 and _FIELD_NEXT.match(text, end)) is not None


def _speaks(text: str, start: int, end: int) -> bool:
    mark = text[end : end + 2]
    if mark in ("] ", " |", "님 "):
        return _SPEAKER_NEXT.match(text, end) is not None
    return mark == " :" and _TIME_BEFORE.search(text, max(0, start - 8), start) is not None


def _is_hangul(character: str) -> bool:
    return "가" <= character <= "힣"


def _person_next(text: str, end: int) -> bool:
    mark = text[end : end + 1]
    if mark in (" ", "·") and (word := _HANGUL.match(text, end + 1)):
        return _is_title(word.group())
    return mark in " \"'([</|,:\t" and _CONTACT_NEXT.match(text, end) is not None


@lru_cache(maxsize=1 << 14)
def _is_title(word: str) -> bool:
    return _TITLE_NEXT.fullmatch(word) is not None


def _score(text: str, start: int, end: int, reading: _Reading) -> float:
    if reading.known and not reading.single:
        return 0.75
    if reading.tail == "title" or (not reading.tail and (_person_next(text, end) or _speaks(text, start, end))):
        return 0.7 if reading.single else 0.8
    before = text[max(0, start - 24) : start]
    evidence = _evidence(before)
    spaced = text[start + 1] == " "
    if spaced and evidence < 2 and reading.tail:
        return 0.0
    if reading.tail == "ending":
        return 0.8 if not reading.single and _SELF.search(before) else 0.0
    if evidence and (
        reading.tail == "copula" or (not reading.tail and (_VALUE_END.match(text, end) or _FIELD_NEXT.match(text, end)))
    ):
        evidence = 2
    if reading.tail == "copula" and not reading.single and _CALLED.search(text, end - 5, end + 8):
        return 0.8
    if evidence == 2 or (evidence == 1 and not reading.single):
        return 0.7 if reading.single else 0.8
    if reading.tail == "copula" and (_SELF.search(before) or (not reading.single and _GREETED.search(before))):
        return 0.8
    return 0.0


def _evidence(before: str) -> int:
    """What a label before a name says: 2 a field, 1 a role, -1 a role and a colon, 0 nothing."""
    near = before.rstrip(" \"'([<*")
    if not near or near[-1] in "\n.?!" or near[-1] == "," and '"' not in before:
        return 0
    if near[-1] in ":=|\t-" or near[-1] == ",":
        found = label(near[:-1])
        if found > 0 and (near[-1] == "=" or before[-1] == '"'):
            return 2
        # "고객: 이상한 소리가 나요" is a speaker and what was said, "고객명: 김민준" is a field.
        return 2 if found == 2 and near[:-1].rstrip(" \"'")[-1:] in "명인주분람름함" else -1 if found > 0 else 0
    word = near.rsplit(None, 1)[-1]
    if word.isascii():
        return 2 if word.lower() in _LATIN_CUES else 0
    word = word.split("(", 1)[0].rstrip(",)")
    if not is_korean_label(word) and (len(word) > 2 or not is_korean_label("".join(near.rsplit(None, 2)[-2:]))):
        return 0
    return 2 if near != before.rstrip() else -1 if word[-1:] in "은는이가" else 1
