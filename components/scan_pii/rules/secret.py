"""Credentials: vendors' token formats, PEM private keys, JSON web tokens, and values beside a key word."""

import math
import re
from collections import Counter
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules.patterns import secret_words, vendor_secrets
from llm_flywheel.components.scan_pii.spans import Span

_PEM_MARK = re.compile(r"-----(BEGIN|END) (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----", re.ASCII)
_PEM_BODY = re.compile(r"[A-Za-z0-9+/=:,.\s\\-]*", re.ASCII)
# RFC 7519: three base64url parts, the first two JSON objects ('{"' encodes to "ey").
_JWT = re.compile(r"eyJ(?<![\w-]eyJ)[\w-]{8,}+\.ey[\w-]{8,}+\.[\w-]*+", re.ASCII)
_URL_PASSWORD = re.compile(r"://[^\s:@/?#\"'<>\0]{0,64}:([^\s\"'<>/\0]{1,128})@(?=[A-Za-z0-9.\[-])", re.ASCII)
_HEADER = re.compile(r"\b(?:bearer|basic|token)[ \t]{1,2}([A-Za-z0-9._~+/-]{16,2048}={0,2})", re.ASCII | re.IGNORECASE)

_VALUE = (
    r"(?:\"(?P<dq>[^\"\n\0]{4,512})\"|'(?P<sq>[^'\n\0]{4,512})'|`(?P<bq>[^`\n\0]{4,512})`"
    r"|(?P<bare>[!#-&(-;=?-_a-~]{4,512}))"
)
# What may stand between a key word and its value: "_KEY: ", " you asked for: ", " is ", "는 ", or a blank.
_ASSIGNED = re.compile(
    r"(?P<tail>[_-][A-Za-z0-9_-]{0,24}|s)?[\"'`\]]{0,2}(?:(?P<words>(?: (?!is |was )[A-Za-z']{1,12}){0,5})"
    r"(?:(?P<sign>[ \t]{0,3}(?::=|=>|={1,3}|:)[ \t]{0,3})|(?P<verb> (?:is|was|to|are):? ))"
    r"|(?P<korean> ?(?:은|는|이|가|을|를|로)?[ :=]{1,3})|(?P<gap>[ \t]{1,2}))" + _VALUE,
    re.ASCII | re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"[\W_]*(?:change_?me|your|my|example|sample|dummy|placeholder|redacted|masked|removed|hidden|secret|password|passwd"
    r"|pass|token|none|null|nil|undefined|true|false|required|optional|string|todo|tbd|x{3,}|\*{3,}|\.{3,})"
    r"(?:[\W_]*(?:api|key|token|password|secret|here|value|goes|me|x+|\*+|123|1234))*[\W_]*",
    re.ASCII | re.IGNORECASE,
)
# Letters whose case jumps about are no words: two capitals that each follow a small letter.
_CASE_MIX = re.compile(r"[a-z][A-Z].*[a-z][A-Z]|[A-Z]{2}[a-z].*[a-z][A-Z]|[a-z][A-Z]{2,}.*[A-Za-z]*[a-z][A-Z]")
_EXPRESSION = re.compile(
    r"[$<{%(\[]|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*[(\[]|[A-Za-z_]+(?:\.[A-Za-z_]+)+$"
    r"|\.{1,2}/|/(?:[a-z0-9_.-]+/)*[a-z0-9_.-]*$|[a-z]+://",
    re.ASCII,
)


def find(text: str) -> Iterator[Span]:
    """Yield secrets; of ``password = value`` only the value.

    Args:
        text: Folded text.
    """
    yield from _vendor(text)
    if "PRIVATE KEY" in text:
        yield from _pem(text)
    if "eyJ" in text:
        yield from _jwt(text)
    if "://" in text:
        yield from _url_passwords(text)
    lowered = _lower(text)
    if any(hint in lowered for hint in secret_words().hints):
        yield from _keyed(text, lowered)
    if "bearer " in lowered or "basic " in lowered or "token " in lowered:
        yield from _headers(text)


def _lower(text: str) -> str:
    """Lower case of the same length: the dotted capital I becomes two code points otherwise."""
    lowered = text.lower()
    return (
        lowered
        if len(lowered) == len(text)
        else "".join(low if len(low := char.lower()) == 1 else char for char in text)
    )


def _vendor(text: str) -> Iterator[Span]:
    for vendor in vendor_secrets():
        if any(literal in text for literal in vendor.literals):
            for match in vendor.pattern.finditer(text):
                if not vendor.digit or any(char.isdigit() for char in match.group()):
                    yield Span(*match.span(), "SECRET", 0.95)


def _pem(text: str) -> Iterator[Span]:
    """Private keys from BEGIN to END; a key cut off before its END goes as far as its text looks like base64."""
    begin: re.Match[str] | None = None
    for mark in _PEM_MARK.finditer(text):
        if begin is not None:
            end = mark.end() if mark.group(1) == "END" else _pem_body_end(text, begin, mark.start())
            yield Span(begin.start(), end, "SECRET", 0.99)
        begin = mark if mark.group(1) == "BEGIN" else None
    if begin is not None:
        yield Span(begin.start(), _pem_body_end(text, begin, len(text)), "SECRET", 0.99)


def _pem_body_end(text: str, begin: re.Match[str], limit: int) -> int:
    body = _PEM_BODY.match(text, begin.end(), limit)
    return begin.end() + len(body.group().rstrip()) if body else begin.end()


def _jwt(text: str) -> Iterator[Span]:
    for match in _JWT.finditer(text):
        yield Span(*match.span(), "SECRET", 0.96)


def _url_passwords(text: str) -> Iterator[Span]:
    for match in _URL_PASSWORD.finditer(text):
        value = match.group(1)
        if not _PLACEHOLDER.fullmatch(value) and not _EXPRESSION.match(value):
            yield Span(*match.span(1), "SECRET", 0.94)


def _headers(text: str) -> Iterator[Span]:
    for match in _HEADER.finditer(text):
        if _looks_random(match.group(1), least=16):
            yield Span(*match.span(1), "SECRET", 0.8)


def _keyed(text: str, lowered: str) -> Iterator[Span]:
    done = 0
    for word in secret_words().pattern.finditer(lowered):
        match = _ASSIGNED.match(text, word.end()) if word.start() >= done else None
        if match is None:
            continue
        name = next(name for name in ("dq", "sq", "bq", "bare") if match.group(name) is not None)
        start, end = match.span(name)
        if name == "bare":
            end = start + len(_trimmed(match.group(name)))
        if _is_secret(text, word, match, text[start:end]):
            yield Span(start, end, "SECRET", 0.8)
            done = end


def _trimmed(value: str) -> str:
    """An unquoted value without the punctuation of the sentence, the call or the query around it."""
    value = value.split("&")[0] if "=" in value else value
    return value.rstrip(".,;:)]}")


def _is_secret(text: str, word: re.Match[str], match: re.Match[str], value: str) -> bool:
    """Whether the value beside a key word is one: no placeholder, no code, and not plain words or a count."""
    if match.group("tail") and match.group("words"):
        return False
    if len(value) < 6 or any(char.isspace() for char in value):
        return False
    if _PLACEHOLDER.fullmatch(value) or _EXPRESSION.match(value):
        return False
    if word.group("token") or match.group("tail"):
        return _looks_random(value, least=16 if match.group("gap") else 12)
    return _is_password(text[word.start() : word.end()], match, value)


def _is_password(word: str, match: re.Match[str], value: str) -> bool:
    """A password has more than letters, unless a configuration assigns it."""
    digits, letters = any(char.isdigit() for char in value), any(char.isalpha() for char in value)
    symbols = any(not char.isalnum() for char in value)
    if symbols and _CASE_MIX.search(value):
        return True
    if digits and letters:
        return symbols or not match.group("gap")
    if match.group("sign") is None or match.group("words"):
        return False
    in_environment = word.isupper() and match.group("sign") == "="
    return digits or in_environment or (letters and any(char in "!@#$%^&*" for char in value.rstrip("!")))


def _looks_random(value: str, least: int) -> bool:
    """Long enough, with digits and letters, and at least 2.5 bits per character (Shannon) spread over it."""
    if len(value) < least or not any(char.isdigit() for char in value) or not any(char.isalpha() for char in value):
        return False
    counts = Counter(value)
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    return entropy >= 2.5
