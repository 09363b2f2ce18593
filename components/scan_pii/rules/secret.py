"""Credentials: vendors' token formats, PEM private keys, JSON web tokens, and values that stand beside a key word."""

import re
from collections.abc import Iterable, Iterator

from llm_flywheel.components.scan_pii.rules import credentials, labelled
from llm_flywheel.components.scan_pii.rules.placeholders import looks_random
from llm_flywheel.components.scan_pii.rules.vendors import Token, inner_starts, key_words, tokens
from llm_flywheel.components.scan_pii.spans import Span

_TOKEN_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.$"
_MARKED = bytes(ord("a") if byte in _TOKEN_BYTES else ord(" ") for byte in range(256))
_RUN = b"a" * 20
# A token may follow words in one run ("leaked-...", "prod_..."), not further in than this.
_PREFIX = 48
_PART = re.compile(f"[-_.](?={inner_starts()})", re.ASCII)
_PEM_BEGIN = re.compile(r"-----?[ ]?BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?[ ]?-----?", re.ASCII)
# In a string of code or JSON the last line's break belongs to the value.
_PEM_MARK = re.compile(
    r"-----?[ ]?(?:BEGIN |END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?[ ]?-----?(?:[ ]{2,4}(?=[\"']))?)", re.ASCII
)
# Lines of base64 and header lines; between them breaks, also escaped ones and those of a string in code.
_PEM_BODY = re.compile(
    r"(?:[\s\\\"'+,;]{0,64}(?:[A-Z][A-Za-z]{2,8}(?:-[A-Z][a-z]{3})?:[^\n]{1,64}|[A-Za-z0-9+/=]{12,}+))*", re.ASCII
)
_PEM_LINE = re.compile(r"[A-Za-z0-9+/=]{16}", re.ASCII)
# One pass over the text in lower case; the first letters are rare ones, which makes it fast.
_HINT = re.compile(
    rb"p(?:ass(?![aeio]|po)|w|bkdf2_|do\()|k(?:e(?:n|y(?!b)|r login )|akaoak )"
    rb"|c(?:re[td]|url |ookie|(?<=redis-c)li |on(?:nect(?:ion)?\(|vertto-sec))"
    rb"|b(?:earer |y [\"']|asic\()|//|&(?:sig=|x-amz-sig)|\$(?:[156y]|2[abxy]?|gy|a(?:pr1|rgon2i?d?))\$"
    rb"|q(?:~|l(?:dump)? |li\(|uelize\()|_salt"
)
_AUTH, _LOGIN = re.compile(b"auth"), re.compile(rb"login\(?")
_WORDS, _TOKENS = key_words(), tokens()
_KOREAN_HINT = re.compile("|".join([*(piece for piece in _WORDS if not piece.isascii()), "로그인", "계정"]))
_FORMS = {
    "bearer ": credentials.bearer,
    "kakaoak ": credentials.bearer,
    "login": credentials.account,
    "로그인": credentials.account,
    "계정": credentials.account,
    "convertto-sec": credentials.secure_string,
    **dict.fromkeys(("connect(", "connection(", "login(", "pdo(", "qli(", "quelize(", "basic("), credentials.call),
    "auth": credentials.auth,
    "//": credentials.in_url,
    "by '": credentials.sql,
    'by "': credentials.sql,
    "curl ": credentials.curl,
    "ql ": credentials.mysql,
    "qldump ": credentials.mysql,
    "ker login ": credentials.login,
    "cli ": credentials.login,
}


def find(text: str) -> Iterator[Span]:
    """Yield secrets; of ``password = value`` only the value.

    Args:
        text: Folded text.
    """
    # One byte per character, so that positions in it are positions in the text.
    raw = text.encode("ascii", "replace")
    found = _vendor(text, raw)
    yield from found
    lowered = raw.lower()
    hints: list[tuple[int, str]] = []
    # Most texts have none, which is quicker to find out than to list.
    if first := _HINT.search(lowered):
        hints = [(hint.start(), hint.group().decode()) for hint in _HINT.finditer(lowered, first.start())]
    if b"auth" in lowered:
        hints += [(hint.start(), "auth") for hint in _AUTH.finditer(lowered)]
    if b"login" in lowered:
        hints += [(hint.start(), hint.group().decode()) for hint in _LOGIN.finditer(lowered)]
    if not text.isascii() and _KOREAN_HINT.search(text):
        hints += [(hint.start(), hint.group()) for hint in _KOREAN_HINT.finditer(text)]
    if not hints:
        return
    hints.sort()
    done, taken = 0, {span.start for span in found}
    for at, piece in hints:
        if at < done:
            continue
        span: Span | None
        if piece not in _WORDS:
            if piece == "cookie":
                yield from credentials.cookies(text, at)
            span = _FORMS.get(piece, credentials.marked)(text, at)
        elif piece == "key" and text.startswith("PRIVATE KEY", at - 8):
            span = _pem(text, at)
        else:
            span = labelled.find(text, at, piece, _WORDS[piece], taken)
            if piece in ("pass", "cred") and span is None:
                if lowered.endswith(b"sshpass", 0, at + 4):
                    span = credentials.login(text, at)
                elif lowered.endswith(b"pgpass", 0, at + 4):
                    yield from credentials.pgpass(text, at)
                else:
                    span = credentials.call(text, at)
            elif piece == "cret" and lowered.endswith(b"kind: secret", 0, at + 4):
                yield from credentials.manifest(text, at + 4)
        if span:
            yield span
            done = span.end


def _vendor(text: str, raw: bytes) -> list[Span]:
    """Tokens, each in a long run of the characters that tokens are made of."""
    found: list[Span] = []
    marked = raw.translate(_MARKED)
    at = marked.find(_RUN)
    while at >= 0:
        end = marked.find(b" ", at + len(_RUN))
        if end < 0:
            end = len(marked)
        candidates = _TOKENS.get(text[at : at + 2])
        span = _token(text, at, candidates) if candidates else None
        if span is None:
            last = at + _PREFIX if end > at + _PREFIX else end
            part = _PART.search(text, at, last)
            while part and span is None:
                start = part.end()
                span = _token(text, start, _TOKENS[text[start : start + 2]])
                part = _PART.search(text, start, last)
        if span:
            found.append(span)
        at = marked.find(_RUN, end)
    return found


def _token(text: str, at: int, candidates: Iterable[Token]) -> Span | None:
    for token in candidates:
        match = token.pattern.match(text, at)
        if match and (not token.digit or looks_random(match.group(), least=16)):
            before = token.after.search(text, max(0, at - 11), at) if token.after else None
            if before or not token.after:
                return Span(before.start() if before else at, match.end(), "SECRET", 0.95)
    return None


def _pem(text: str, at: int) -> Span | None:
    """The private key (RFC 7468) that says so at ``at``; cut off before its END, it goes as far as base64 does."""
    begin = _PEM_BEGIN.search(text, max(0, at - 60), at + 16)
    if begin is None:
        return None
    mark = _PEM_MARK.search(text, begin.end())
    if mark and "END" in mark.group():
        body, end = mark.start(), mark.end()
    else:
        match = _PEM_BODY.match(text, begin.end(), mark.start() if mark else len(text))
        body = end = match.end() if match else begin.end()
    return Span(begin.start(), end, "SECRET", 0.99) if _PEM_LINE.search(text, begin.end(), body) else None
