"""E-mail addresses with spelled signs: "john at example dot com", "hong [골뱅이] naver.com", "hong @ naver . com"."""

import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules.patterns import data
from llm_flywheel.components.scan_pii.spans import Span

_DATA = data("emails")
_NOT_LOCAL, _NOT_HOST, _PROVIDERS, _ENDINGS = (
    frozenset(_DATA[name]) for name in ("not_local", "not_host", "providers", "endings")
)

_SIGN = re.compile(r"at(?![a-z])|A[Tt](?![A-Za-z])|@|골뱅이|앳")
_OPENERS = (" ", "[", "(", "{", "<", "|", "*", "-", "_", ";")
_BRACKETS = ("(", "[", "{", "<", "&")
# Without one of these there is no such address. A pattern that begins with a literal is quicker than one for all.
_SPACED = re.compile(r"@(?: |(?<= @)|[a-z0-9-]+[ ]?[닷쩜])")
# "kim2 at gmail.com": a name with a digit or two parts, or a word of mail before it, which `_is_address` asks for.
_PLAIN, _PLAIN_CAPITALS = (re.compile(rf" {sign} [A-Za-z0-9-]{{1,63}}\.[A-Za-z]{{2}}") for sign in ("at", "AT"))
_ROUND, _SQUARE, _CURLY, _ANGLE, _ESCAPED = (
    re.compile(rf"{opener}[ ]?(?:at|AT|At|@|\.)[ ]?[\])}}>&]") for opener in (r"\(", r"\[", r"\{", "<", "&lt;")
)
_LEFT, _RIGHT = r"[ ]{0,2}(?:[\[({<|*-]{1,2}|&lt;)[ ]?", r"[ ]?(?:[\])}>|*-]{1,2}|&gt;)[ ]{0,2}"
_BEFORE = re.compile(rf"(?:{_LEFT}|[ ]{{1,2}}|_|(?<=[A-Za-z0-9]))$")
_AFTER = re.compile(rf"{_RIGHT}|[ ]{{1,2}}|_|")
_POINT = (
    rf"(?:{_LEFT}(?:dot|\.|점|쩜|닷){_RIGHT}|[ ]{{1,2}}(?:dot|점|쩜|닷)[ ]{{1,2}}|[ ]\.[ ]|_dot_|[ ]?(?:쩜|닷)[ ]?)"
)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(
    rf"(?P<host>{_LABEL})(?:(?:\.|(?P<spelled>{_POINT})){_LABEL}){{0,4}}(?:\.|(?P<last>{_POINT}))(?P<end>[a-z]{{2,24}}|[컴콤넷])"
    r"(?![a-z0-9_])"
    r"|(?:네이버|지메일|다음|한메일|카카오|네이트|구글|야후|아웃룩)[ ]?(?:점|쩜|닷|\.|dot)[ ]?(?:컴|콤|넷|com|net)",
    re.ASCII | re.IGNORECASE,
)
_NAME = re.compile(r"[a-z0-9._+-]{1,64}", re.ASCII | re.IGNORECASE)
_JOINT = re.compile(rf"(?:{_POINT}|[ ](?:underscore|dash|hyphen|plus)[ ])$", re.IGNORECASE)
# A lone "@" or "at" between blanks is mail behind such a word, or behind more than a name.
_CUE = re.compile(r"(?:mail|contact|write|reply|메일|연락|회신)[^\n@]{0,20}$", re.IGNORECASE)
_MAILBOX = re.compile(r"[a-z]{1,32}(?:[._]?[0-9]{1,8}$|[._][a-z]{2,32}[0-9]{0,8}$)", re.IGNORECASE)


def find(text: str) -> Iterator[Span]:
    """Yield obfuscated e-mail addresses.

    Args:
        text: Folded text.
    """
    if (
        "dot" in text
        or ("D" in text and ("DOT" in text or "Dot" in text))
        or ("@" in text and _SPACED.search(text))
        or (" at " in text and _PLAIN.search(text))
        or (" AT " in text and _PLAIN_CAPITALS.search(text))
        or ("(" in text and _ROUND.search(text))
        or ("[" in text and _SQUARE.search(text))
        or ("{" in text and _CURLY.search(text))
        or ("<" in text and _ANGLE.search(text))
        or ("&lt;" in text and _ESCAPED.search(text))
        or (not text.isascii() and ("골뱅이" in text or "앳" in text))
    ):
        yield from _spelled(text)


def _spelled(text: str) -> Iterator[Span]:
    for found in _SIGN.finditer(text):
        at, sign = found.start(), found.group()
        if sign.isalpha() and sign.isascii() and text[at - 1 : at] not in _OPENERS:
            continue
        after = _AFTER.match(text, found.end())
        domain = _DOMAIN.match(text, after.end()) if after else None
        before = _BEFORE.search(text, max(0, at - 5), at) if domain else None
        if after and domain and before:
            start = _start(text, before.start())
            local = text[start : before.start()]
            cue = _CUE.search(text, max(0, start - 32), start) is not None
            if local and _is_address(sign, before.group(), after.group(), domain, local, cue):
                yield Span(start, domain.end(), "EMAIL_OBFUSCATED", 0.85)


def _start(text: str, end: int) -> int:
    """Where the local part that ends at ``end`` begins, at most two spelled signs back."""
    start = end
    for _ in range(3):
        name = _NAME.match(text[max(0, end - 64) : end][::-1])
        part = name.group().rstrip("._+-") if name else ""
        if not part:
            break
        start = end - len(part)
        joint = _JOINT.search(text, max(0, start - 12), start)
        if joint is None:
            break
        end = joint.start()
    return start


def _is_address(sign: str, before: str, after: str, domain: re.Match[str], local: str, cue: bool) -> bool:
    """Whether it is no prose with an "at" and a host name: a sign in brackets, a spelled dot, or a mail provider."""
    host, mark = domain["host"], before.strip()
    if host is None or sign == "골뱅이":
        return True
    spelled, known = bool(domain["spelled"] or domain["last"]), domain["end"].lower() in _ENDINGS
    if mark[:1] in _BRACKETS:
        return spelled or known
    if host.lower() in _NOT_HOST or (not mark and local.lower() in _NOT_LOCAL):
        return False
    if spelled and not host.isdigit():
        return known or sign == "AT"
    if sign == "@" and host.lower() in _PROVIDERS:
        return bool(before or after)
    if not mark and before and after and (sign in ("@", "AT", "앳") or domain.group().count(".") > 0):
        return known and (cue or _MAILBOX.match(local) is not None)
    return mark not in ("", "_") and before != mark
