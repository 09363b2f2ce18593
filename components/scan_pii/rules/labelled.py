"""Secrets that a word beside them gives away: ``password = X``, "my API key is X", "X가 비밀번호입니다"."""

import re
from collections.abc import Set
from typing import NamedTuple

from llm_flywheel.components.scan_pii.rules.placeholders import (
    CASE_MIX,
    WORDS,
    is_code,
    is_django_key,
    is_drawn,
    is_noise,
    is_placeholder,
    is_surely_random,
    looks_random,
)
from llm_flywheel.components.scan_pii.rules.vendors import KeyWord, keys
from llm_flywheel.components.scan_pii.spans import Span

# What may stand between a key word and its value; at most one line break, and only after a sign.
_PHRASE = r"(?:[ \t]{1,2}(?!(?:is|was|are|be|to|as)[ :])[A-Za-z0-9(\[][A-Za-z0-9'@./()\[\]_-]{0,39}(?<!\.)){0,6}?"
_TYPE = r"(?:[ ]?:[ ]?(?:\w{1,8}\[)?(?:str|[sS]tring|SecretStr|bytes)\]?(?:[ ]?\|[ ]?None)?)?"
_OPENING = r"(?:\*\*[ ]?|<(?:b|strong|code|em|i|span)>|[\[(](?=[^\s\[\](){}<>]{4,64}[\])]))?"
_LINK = re.compile(
    r"(?P<tail>[_-][A-Za-z0-9_-]{1,24}|[A-Z][A-Za-z]{1,20}|[0-9]{1,2})?[\"'`*\]]{0,3}(?:"
    r"(?P<item>[ \t]?,[ \t]{0,12}(?:\"?[vV]alue\"?:[ ]{0,4})?(?=[\"'])|[ ][vV]alue=(?=[\"'])"
    r"|\r?\n[ ]+\"?[vV]alue\"?:[ ]{0,4}|[)\]]{0,2}[ ]?(?:\|\||\?\?|or|==)[ ](?=[\"'])|\((?=[\"'])"
    # A variable of Terraform and its default.
    r"|[ ]?\{\s{1,8}(?:(?:type|description|sensitive)[ ]{0,16}=[^\n]{0,80}\n\s{0,8}){0,3}default[ ]{0,16}=[ ]?(?=\"))"
    rf"|{_TYPE}(?P<sign>[ \t]{{0,8}}(?::=|=>|->|=(?!=)|:|>|\|(?!\|))[ \t]{{0,8}})"
    rf"|(?P<phrase>{_PHRASE})"
    r"(?:(?P<colon>[ \t]{0,2}:(?:[ \t]{1,3}|\r?\n[ \t]{0,8})|[ ]{1,2}=[ ]{1,2}|[ ]-{1,2}[ ])"
    r"|(?P<verb>[ ](?:is|was|are|be|been|to|as|IS)(?:[ ](?:now|currently|still|temporarily|being|been)){0,2}"
    r"(?:[ ](?:re)?set[ ]to|[ ](?:changed|updated)[ ]to|[ ]as[ ]follows)?:?[ ]))"
    r"|(?P<gap>[ \t]{1,2})"
    r")(?:\r?\n[ \t]{0,8}(?=[^\s=:]{6,64}[ \t]*(?:\n|$)))?" + _OPENING,
    re.ASCII,
)
_KOREAN_LINK = re.compile(
    r"(?:[ ]?\((?:[가-힣 ]{1,12}|[A-Za-z]{1,12})\))?(?P<topic>[ ]?(?:은요?|는요?|이|가|을|를|인|도|란|으로|로))?"
    r"(?P<phrase>(?:[ ][가-힣]{1,8}){0,4}?)"
    r"(?:(?P<sign>[ \t]{0,2}[\"'*`]{0,3}[ ]?(?:[:=>|]|->|→|-)[ \t]{0,2}|[ ]?(?=\([!-~]{4,64}\)))"
    rf"|[ \t]{{1,2}}(?=[!-~“‘「])|(?=[\"'`“‘「])){_OPENING}"
)
_VALUE = re.compile(
    r"(?:[rbfu]{0,2}\"(?P<dq>[^\"\n\0]{4,512})\"|[rbfu]{0,2}'(?P<sq>[^'\n\0]{4,512})'|`(?P<bq>[^`\n\0]{4,512})`"
    r"|[“‘「](?P<curly>[!-~]{4,128})[”’」]|(?P<bare>[!#-&(-;=?-_a-~]{4,512}))",
    re.ASCII,
)
_DEFAULT = re.compile(
    r"[\w.]{1,40}(?:\(|\[)[\"'][A-Za-z0-9_]{1,64}[\"'](?:,[ ]?|[\])]{1,2}[ ]?(?:or|\|\||\?\?)[ ])(?=[\"'])", re.ASCII
)
_NO_VALUE_TAIL = re.compile(
    r"[_-]?(?:hash(?:er|ed|ing)?|reset|policy|len(?:gth)?|min|max|field|fields|id|ids|name|type|urls?|uri|expir\w*|expires\w*|at|count"
    r"|limit|file|path|dir|hint|ttl|age|version|input|label|form|page|link|usage|budget|size|strength|manager|ref|arn|ring"
    r"|provider|source|bytes|text|map|embeddings?|key_?ref|class|algorithm|endpoint|rotation|index|store|error|changed\w*|updated\w*)(?:[_-]\w+)?",
    re.ASCII | re.IGNORECASE,
)
_STOP = re.compile(r"(?<!^)(?:[&;,](?=[\w .-]{1,40}=|$)|,(?=[\w$]{1,40}:)|[|\\])", re.ASCII)
_DIGIT, _LETTER = re.compile("[0-9]"), re.compile("[A-Za-z]")
# Punctuation that words and file names do not have; an exclamation mark may end a sentence.
_SYMBOL, _MARK = re.compile(r"[^A-Za-z0-9_.,/!?-]|!$|[!?].*[A-Za-z0-9]"), re.compile(r"[@#$%^&*]|!.*[^!]")
# Capital, small letter and a digit that is not at the end, as in a drawn password and not in "Windows11".
_STRONG = re.compile(r"(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9].*[A-Za-z])[A-Za-z0-9]{8,32}")
# "ID/PW: kim / X", and what stands before X there.
_USER_WORD = re.compile(r"(?:id|user(?:name)?|login|e-?mail|account|아이디|계정|이메일)[ ]?[/&,+][ ]?$", re.IGNORECASE)
_USER_SIGNS = ("/", "&", ",", "+")
_USER = re.compile(r"[\w.@+-]{2,64}[ ]?[/:|,][ ]?", re.ASCII)
_NETRC = re.compile(r"login\s+[^\s\0]{1,64}\s+$")
# Before a key word that is an option or follows "with".
_TELLING = re.compile(r"(?:(?:^|[\s\"'`(\[])--?[A-Za-z-]{0,24}|[Ww]ith[ ](?:(?:the|this)[ ])?|require)$", re.ASCII)
_KOREAN_UNIT = re.compile(r"\s?(?:자리|자|글자|회|번|일|월|년|분|초|개|%|차|단계|시간|원|명|건|가지|이상|이하)")
_PIN = re.compile(r"(?=[0-9#*]*[#*])[#*]*[0-9]{4,12}[#*]*")
# "X is my password", "use X as the API key"; and what makes it the password of something else.
_COPULA = re.compile(
    r"[ ](?:is|was|as)(?:[ ](?:the|my|our|your|his|her|their|a|an|its|this|temp(?:orary)?|initial|default|new|old"
    r"|current|root|admin|login|wi-?fi|master|user|db|database|account|first|same|test|staging|prod|api|access|secret|auth"
    r"|private|client|one-time|shared)){0,4}[ _-]$",
    re.ASCII | re.IGNORECASE,
)
_COMPOUND = re.compile(
    r"[ ](?:manager|hash|policy|algorithm|encoding|encoder|type|format|field|name|reset|hint|standard|provider|library"
    r"|module|plugin|header|parameter|variable|for[ ]all)",
    re.ASCII,
)
_KOREAN_COPULA = re.compile(
    r"(?<=[!-~])(?:[ ]?(?:이|가|을|를|으로|로))?[ ](?:(?:제|임시|초기|현재|새|기본|관리자|로그인|접속)[ ]){0,2}$"
)
_KOREAN_END = re.compile(
    r"(?:입니다|이?에요|예요|이?야|임|이?라고|였|로[ ]|이?고[ ,]|[ ]?(?:변경|설정|초기화|바꿨|지정|등록))"
)
_ANSWER = re.compile(
    r"[^\n?]{0,24}\?[ \t]*\r?\n(?:\[[^\]\n]{1,24}\][ ]?){0,2}(?:[^\n:\[]{1,24}:[ ]{1,2})?"
    r"(?P<value>[!-~]{6,64}?)(?:요|입니다|이에요|예요|임)?\.?[ \t]*(?=\r?\n|$)"
)
_QUOTES = "\"'`(*“‘”’)"
_KEY_TRIM = " _-\t\"'"
_KEYS, _NOT_KEYS, _SECTIONS = keys("keys"), keys("not_keys"), keys("sections")
_KEY_ENDS = frozenset(key[-2:] for key in _KEYS)
# What stands before the first key of a section: {"Jwt": {, [jwt] and a line break, jwt: and a line break.
_SECTION = ("{", "\n")
_SECTION_TRIM = " \t\r\n\"':{]"


class _Label(NamedTuple):
    """A key word in a text.

    Attributes:
        text: Folded text.
        start: First code point of the piece that was found.
        end: One past the word.
        password: Whether people choose the value themselves.
        korean: Whether the word, or the particle after it, is Korean.
    """

    text: str
    start: int
    end: int
    password: bool
    korean: bool


def find(text: str, at: int, piece: str, key_word: KeyWord, taken: Set[int]) -> Span | None:
    """The value of the key word around ``at``, if it is a secret.

    Args:
        text: Folded text.
        at: Where ``piece`` stands.
        piece: What stands there, of `key_words`.
        key_word: Its entry.
        taken: Where secrets begin that are known already.
    """
    word = key_word.rest.match(text, at + len(piece))
    if word is None:
        return None
    end = word.end()
    if piece in ("key", "키") and not _is_secret_key(text, at):
        return None
    if taken and not taken.isdisjoint(range(end, end + 8)):
        return None
    korean = not piece.isascii()
    if not korean:
        after = text[end : end + 2].lstrip(" ")
        korean = "\uac00" <= after[:1] <= "\ud7a3"
    label = _Label(text, at, end, key_word.password, korean)
    link = (_KOREAN_LINK if korean else _LINK).match(text, end)
    if link:
        span = _after(label, link.end(), link, taken, pair=piece == "cred")
        if span is None and not korean and link["phrase"]:
            span = _after(label, end + 1, None, taken)
        if span:
            return span
        if link.lastgroup in ("sign", "item", "colon"):
            return None
    return _before(label, taken) or _answer(label, taken)


def _is_secret_key(text: str, at: int) -> bool:
    """Whether the words before "key", or the section of a configuration that it opens, make it a secret one."""
    before = text[max(0, at - 32) : at].lower().rstrip(_KEY_TRIM)
    if before[-1:] in _SECTION:
        return before.rstrip(_SECTION_TRIM).endswith(_SECTIONS)
    if before[-2:] in _KEY_ENDS and before.endswith(_KEYS):
        return True
    # OPENAI_KEY and the like: an environment variable's name says no more.
    return text[at - 1 : at] == "_" and text[at : at + 3] == "KEY" and not before.endswith(_NOT_KEYS)


def _after(label: _Label, at: int, link: re.Match[str] | None, taken: Set[int], pair: bool = False) -> Span | None:
    """The value that begins at ``at``, behind its label and what links it; only a blank when there is no ``link``."""
    text, password = label.text, label.password
    if not pair and text[max(0, label.start - 2) : label.start].rstrip()[-1:] in _USER_SIGNS:
        pair = _USER_WORD.search(text, max(0, label.start - 14), label.start) is not None
    if pair and (user := _USER.match(text, at)):
        password, at = True, user.end()
    value = _VALUE.match(text, at)
    if value and text[value.end() - 1] in "([" and (default := _DEFAULT.match(text, at)):
        value = _VALUE.match(text, default.end())
    if value is None or value.start() in taken:
        return None
    kind = value.lastgroup or ""
    start, end = value.span(kind)
    bare = kind == "bare"
    if bare:
        end = value.end() if is_django_key(value.group()) else start + len(_trimmed(value.group()))
        if label.korean:
            end = start + len(text[start:end].rstrip("~"))
    found = text[start:end]
    gap = link is None or link.lastgroup == "gap"
    if gap and not label.korean and _NETRC.search(text, max(0, label.start - 80), label.start):
        is_secret = not is_placeholder(found)
    else:
        is_secret = _is_secret(label, link, found, bare, password, text[end : end + 4])
    return Span(start, end, "SECRET", 0.8) if is_secret else None


def _trimmed(value: str) -> str:
    """An unquoted value without the punctuation of the sentence, the call or the query around it."""
    if stop := _STOP.search(value):
        value = value[: stop.start()]
    return value.removesuffix("**").rstrip(".,;:)]}").removesuffix("**")


def _is_secret(label: _Label, link: re.Match[str] | None, value: str, bare: bool, password: bool, after: str) -> bool:
    """Whether the value behind a key word is one: no placeholder, no code, and not plain words or a count."""
    if len(value) < 4 or " " in value or "\t" in value:
        return not bare and not password and is_noise(value)
    how = link.lastgroup if link else "gap"
    phrase = bool(link and link["phrase"])
    tail = None
    if label.korean:
        signed = bool(link and (link["sign"] or link["topic"]))
        loose = phrase or not (signed or not bare)
    else:
        tail = link["tail"] if link else None
        if tail and _NO_VALUE_TAIL.fullmatch(tail):
            return False
        told = how == "gap" and _TELLING.search(label.text, max(0, label.start - 28), label.start) is not None
        signed = told or how in ("item", "sign", "colon")
        loose = phrase or not (signed or how == "verb" or not bare)
    if not password:
        least = 16 if loose and not label.korean else 8 if signed and not tail else 12
        if len(value) >= least and is_surely_random(value):
            return True
        random = looks_random(value, least) or (is_django_key(value) if bare else is_noise(value))
    else:
        random = _is_password(label, link, value, bare, signed, loose, after)
    return random and not is_placeholder(value) and not (bare and is_code(value))


def _is_password(
    label: _Label, link: re.Match[str] | None, value: str, bare: bool, signed: bool, loose: bool, after: str
) -> bool:
    """A password has more than letters, unless a configuration assigns it."""
    phrase = link["phrase"] if link else None
    sign = link["sign"] if link else None
    korean = label.korean
    word = label.text[label.start : label.end]
    if link and link.lastgroup == "item" and "," in link["item"] and not word.isupper() and WORDS.fullmatch(value):
        return False
    if not korean and not signed:
        verb = (link and link["verb"]) or ""
        if (word in ("pass", "Pass") and verb.strip() not in ("is", "was")) or (
            verb == " as " and WORDS.fullmatch(value)
        ):
            return False
    digits, letters = _DIGIT.search(value) is not None, _LETTER.search(value) is not None
    symbols = _SYMBOL.search(value) is not None
    if digits and not letters:
        if korean and _PIN.fullmatch(value):
            return True
        if not symbols:
            return signed and not phrase and value.isdigit() and not _KOREAN_UNIT.match(after)
        return korean and len(value) >= 6 and (symbols and not _KOREAN_UNIT.match(after))
    if len(value) < 6:
        return digits and signed and not phrase and (symbols or not bare)
    if digits:
        if korean:
            return symbols or not phrase or _STRONG.fullmatch(value) is not None
        return symbols or not loose or bool(link and link.lastgroup == "colon") or _STRONG.fullmatch(value) is not None
    if (CASE_MIX.search(value) and not value.isalnum()) or (not loose and is_drawn(value)):
        return True
    if not sign or loose:
        return False
    named = word.isupper() and "]" not in label.text[label.end : label.end + 3]
    assigned = sign.strip() in ("=", ">") and (named or after[:1] in (";", "&", "<"))
    return assigned or (letters and _MARK.search(value) is not None)


def _before(label: _Label, taken: Set[int]) -> Span | None:
    """What a sentence calls the password or key afterwards: "X is my password", "X가 비밀번호입니다"."""
    text, at = label.text, label.start
    while at and text[at - 1].isascii() and text[at - 1].isalpha() and label.start - at < 8:
        at -= 1
    link = (_KOREAN_COPULA if label.korean else _COPULA).search(text, max(0, at - 48), at)
    if link is None:
        return None
    words = text[max(0, link.start() - 66) : link.start()].split()
    if not words or text[link.start() - 1].isspace():
        return None
    value = words[-1].strip(_QUOTES)
    start = link.start() - len(words[-1]) + words[-1].index(value)
    if not value.isascii() or not 6 <= len(value) <= 64 or start in taken or is_placeholder(value) or is_code(value):
        return None
    if not label.password:
        is_secret = looks_random(value, least=16)
    elif label.korean:
        mixed = _DIGIT.search(value) is not None and _LETTER.search(value) is not None
        sure = _SYMBOL.search(value) is not None or _STRONG.fullmatch(value) is not None
        end = _KOREAN_END.match(text, label.end)
        is_secret = mixed and end is not None and (sure or end.group() not in ("로 ", "변경", " 변경"))
    else:
        mixed = _DIGIT.search(value) is not None and _LETTER.search(value) is not None
        is_secret = mixed and not _COMPOUND.match(text, label.end)
    return Span(start, start + len(value), "SECRET", 0.85) if is_secret else None


def _answer(label: _Label, taken: Set[int]) -> Span | None:
    """The line after a question that asks for it, if there is nothing else in that line but a speaker's name."""
    if "?" not in label.text[label.end : label.end + 25]:
        return None
    answer = _ANSWER.match(label.text, label.end)
    if answer is None or answer.start("value") in taken:
        return None
    value = answer["value"]
    mixed = _DIGIT.search(value) is not None and _LETTER.search(value) is not None
    if (
        (mixed if label.password else looks_random(value, least=16))
        and not is_placeholder(value)
        and not is_code(value)
    ):
        return Span(*answer.span("value"), "SECRET", 0.85)
    return None
