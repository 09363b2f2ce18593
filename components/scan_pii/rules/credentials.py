"""Credentials in a form of their own: in URLs, headers, command lines, password hashes, Docker and Kubernetes files."""

import re
from base64 import b64decode
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules.placeholders import is_drawn, is_placeholder, looks_random
from llm_flywheel.components.scan_pii.spans import Span

_URL_PASSWORD = re.compile(
    r"[^\s:@/?#\"'<>\0]{0,64}:(?!\d{2,5}[?#])([^\s\"'<>/\0]{1,128})@(?=[A-Za-z0-9.\[-])", re.ASCII
)
_URL_TOKEN = re.compile(r"([A-Za-z0-9_-]{20,128})@(?=[A-Za-z0-9-]{1,63}\.)", re.ASCII)
_WEBHOOK = re.compile(
    r"(?:hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_+-]{20,255}"
    r"|[a-z.]{0,8}discord(?:app)?\.com/api/webhooks/[0-9]{16,20}/[A-Za-z0-9_-]{60,80}"
    r"|[a-z0-9-]{1,63}\.webhook\.office\.com/webhookb2/[A-Za-z0-9@/-]{60,255})",
    re.ASCII,
)
_BEARER = re.compile(
    r"(?:bearer|kakaoak)[ \t]{1,2}(?:token=)?[\"']?([A-Za-z0-9._~+/-]{8,2048}={0,2})", re.ASCII | re.IGNORECASE
)
_AUTH = re.compile(
    r"auth(?:ori[sz]ation[\"']?\]?[ \t]{0,2}(?:=>|[:=,])[ \t]{0,2}(?:f?[\"'])?"
    r"(?P<scheme>(?!digest|aws4)[a-z][\w-]{1,31}[ \t]{1,2})?(?:(?:token|auth|key)=)?[\"']?"
    r"(?P<header>[A-Za-z0-9._~+/-]{8,2048}={0,2})"
    # Docker's config.json and npm's .npmrc: user and password in base64.
    r"|(?:(?<=\"auth)\"\s{0,4}:\s{0,4}\"|(?<=_auth)\s{0,2}=\s{0,2}\"?)(?P<pair>[A-Za-z0-9+/]{8,512}={0,2})"
    # Redis; requests, aiohttp, and the like in other languages.
    r"|(?<=\bmasterauth)[ ]{1,8}\"?(?P<redis>[^\s\"\0]{6,128})"
    r"|(?:(?:[ ]?=[ ]?)?\([ ]?|[ ](?=[\"']))(?:login=|[\"']{2},[ ]?)?[\"'][^\"'\n\0]{1,64}[\"'],[ ]?(?:password=)?"
    r"(?:\"(?P<dq>[^\"\n\0]{4,128})\"|'(?P<sq>[^'\n\0]{4,128})'))",
    re.ASCII | re.IGNORECASE,
)
# Up to an option of a command line, which may go on after a backslash.
_OPTIONS = r"(?:[^\n\0\\]|\\\n?){0,200}?\s"
_CURL = re.compile(
    rf"{_OPTIONS}(?:(?:-u|--(?:proxy-)?user)[ =]?[\"']?[\w.@%+-]{{1,64}}:(?P<user>[^\s\"'\0]{{4,128}})"
    r"|-b[ ]?(?P<jar>[\"']))",
    re.ASCII,
)
_MYSQL = re.compile(
    rf"{_OPTIONS}-p(?:'(?P<sq>[^'\n\0]{{4,64}})'|\"(?P<dq>[^\"\n\0]{{4,64}})\"|(?P<bare>[^\s\"'\0=-][^\s\"'\0]{{5,64}}))",
    re.ASCII,
)
_LOGIN = re.compile(rf"{_OPTIONS}-[pa][ ]?[\"']?(?P<value>[^\s\"'\0-][^\s\"'\0]{{5,127}})", re.ASCII)
# getConnection(url, "app", X), mysqli("host", "app", X), login("app", X)
_CALL = re.compile(
    r"[a-z_-]{0,40}\(\s{0,8}(?P<first>(?:\"[^\"\n\0]{0,128}\"|'[^'\n\0]{0,128}'|[^\"'(),\n\0]{1,64}),\s{0,8})?"
    r"[\"'][\w.@+\\-]{1,64}[\"'],\s{0,8}(?:\"(?P<dq>[^\s\"\0]{6,64})\"|'(?P<sq>[^\s'\0]{6,64})')\s{0,8}[,)]",
    re.ASCII | re.IGNORECASE,
)
_SECURE_STRING = re.compile(
    r"convertto-securestring (?:-\w{1,12} ){0,3}(?:\"([^\"\n\0]{4,128})\"|'([^'\n\0]{4,128})')",
    re.ASCII | re.IGNORECASE,
)
# "Login for the staging box: admin / X"
_ACCOUNT = re.compile(
    r"(?:(?:login|로그인|계정)[^\n:/]{0,40}:|(?:로그인|계정)(?: 정보)?[은는]?|login (?:is|with|as|using))[ ]{0,2}"
    r"(?-i:[a-z])[\w.@+-]{1,63}(?P<blank> / |/)(?![a-z]{1,12}[:=])(?P<value>[!-.0-~]{6,64})(?!/)",
    re.ASCII | re.IGNORECASE,
)
_MIXED = re.compile(r"(?=.*[A-Za-z]).*[^A-Za-z_.,/-]")
_STRONG = re.compile(r"(?=.*[A-Za-z])(?:.*[^A-Za-z0-9_.,-]|(?=.*[A-Z])(?=.*[a-z]).*[0-9])")
_SQL = re.compile(r"by (?:'([^'\n\0]{4,128})'|\"([^\"\n\0]{4,128})\")", re.ASCII | re.IGNORECASE)
# Of a header, a quoted one, or an option; as far as a stream remembers.
_COOKIES = re.compile(
    r"(?:cookies?[\"']?[ ]?(?:[:=][ ]?|(?=[\"']))[\"']?|[\"'])([^\n\"'\0]{0,4352})", re.ASCII | re.IGNORECASE
)
_COOKIES_END = 240
_SESSION = re.compile(r"sess|sid\b|auth|token|jwt|remember|login|sso|[cx]srf", re.ASCII | re.IGNORECASE)
# PostgreSQL's .pgpass: host:port:database:user:password
_PGPASS = re.compile(
    r"^[\w.*-]{1,64}:(?:\d{2,5}|\*):[\w*-]{1,64}:[\w*.-]{1,64}:([^\s\0]{4,128})$", re.ASCII | re.MULTILINE
)
_ORACLE = re.compile(r"(?<=[:\s])[\w$#]{1,30}/([^\s/@\"'\0]{4,64})@$", re.ASCII)
# crypt(5) and what Django makes of it.
_HASH = re.compile(
    r"\$(?:2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}|(?:[156y]|gy|apr1)\$[./A-Za-z0-9=,$-]{4,80}\$[./A-Za-z0-9]{22,86}"
    r"|argon2(?:id|i|d)\$[A-Za-z0-9+/=,$-]{30,255})|pbkdf2_sha(?:1|256|512)\$[A-Za-z0-9+/=,.$-]{30,255}",
    re.ASCII,
)
_SIGNATURE = re.compile(r"[&?](?:sig=|X-Amz-Signature=)([A-Za-z0-9%+/=_-]{40,128})", re.ASCII)
_AZURE = re.compile(r"(?<=[A-Za-z0-9_~.-]{3}[0-9])Q~[A-Za-z0-9_~.-]{31,34}", re.ASCII)
_GOOGLE_REFRESH = re.compile(r"(?<=1)//0[A-Za-z0-9_-]{40,255}", re.ASCII)
_MANIFEST_ENTRY = re.compile(
    r"^[ \t]+[\w.-]{1,128}:[ ]*[\"']?([A-Za-z0-9+/]{8,4096}={0,2})[\"']?[ \t]*$", re.ASCII | re.MULTILINE
)


def in_url(text: str, at: int) -> Span | None:
    """Password, token or webhook in a URL whose ``//`` stands at ``at``, or Google's refresh token that has one."""
    if text[at - 1 : at] != ":":
        if text[at - 1 : at] == "@":
            return _in(_ORACLE.search(text, max(0, at - 100), at))
        refresh = _GOOGLE_REFRESH.match(text, at)
        return Span(at - 1, refresh.end(), "SECRET", 0.95) if refresh else None
    if found := _URL_PASSWORD.match(text, at + 2):
        return None if is_placeholder(found.group(1)) else Span(*found.span(1), "SECRET", 0.94)
    if text[max(0, at - 6) : at - 1].endswith(("http", "https")):
        if (found := _URL_TOKEN.match(text, at + 2)) and looks_random(found.group(1), least=20):
            return Span(*found.span(1), "SECRET", 0.9)
        if found := _WEBHOOK.match(text, at + 2):
            return Span(at - 6 if text[at - 2] == "s" else at - 5, found.end(), "SECRET", 0.95)
    return None


def _in(found: re.Match[str] | None) -> Span | None:
    """What the group of a match holds, if it may be a secret."""
    if found is None or found.lastindex is None or is_placeholder(found[found.lastindex]):
        return None
    return Span(*found.span(found.lastindex), "SECRET", 0.85)


def bearer(text: str, at: int) -> Span | None:
    """``Bearer`` and a token (RFC 6750)."""
    found = _BEARER.match(text, at)
    return _in(found) if found and looks_random(found.group(1), least=16) else None


def auth(text: str, at: int) -> Span | None:
    """``Authorization`` headers (RFC 9110, RFC 7617), Docker's and npm's files, ``auth=(user, X)`` of code."""
    found = _AUTH.match(text, at)
    if found is None:
        return None
    if found.lastgroup in ("header", "pair"):
        value = found[found.lastgroup]
        random = found.lastgroup == "header" and looks_random(value, least=16 if found["scheme"] else 24)
        return _in(found) if random or _is_pair(value) else None
    return _in(found)


def curl(text: str, at: int) -> Span | None:
    """``-u user:X`` and ``-b session=X``."""
    found = _CURL.match(text, at)
    if found is None or found["jar"]:
        return next(cookies(text, found.start("jar")), None) if found else None
    return _in(found)


def mysql(text: str, at: int) -> Span | None:
    """``-pX``; of other programs of that name ``-p5432`` is a port."""
    found = _MYSQL.match(text, at)
    return None if found is None or found[found.lastindex or 0].isdigit() else _in(found)


def login(text: str, at: int) -> Span | None:
    """``docker login -p X`` and ``redis-cli -a X``."""
    return _in(_LOGIN.match(text, at))


def call(text: str, at: int) -> Span | None:
    """A password behind a user's name in the arguments of a call."""
    found = _CALL.match(text, at)
    if found is None or (text[at : at + 7].lower() == "connect" and not found["first"]):
        return None
    value = found[found.lastgroup or ""]
    return _in(found) if _MIXED.match(value) or is_drawn(value) else None


def secure_string(text: str, at: int) -> Span | None:
    """``ConvertTo-SecureString 'X'`` of PowerShell."""
    return _in(_SECURE_STRING.match(text, at))


def account(text: str, at: int) -> Span | None:
    """``Login for the staging box: admin / X``."""
    found = _ACCOUNT.match(text, at)
    if found is None:
        return None
    value = found["value"].rstrip(".,;:)")
    if is_placeholder(value) or not (_MIXED if found["blank"] == " / " else _STRONG).match(value):
        return None
    return Span(found.start("value"), found.start("value") + len(value), "SECRET", 0.85)


def sql(text: str, at: int) -> Span | None:
    """``IDENTIFIED BY 'X'`` of MySQL and Oracle."""
    return _in(_SQL.match(text, at)) if "identified" in text[max(0, at - 60) : at].lower() else None


def cookies(text: str, at: int) -> Iterator[Span]:
    """Session tokens of the ``Cookie`` or ``Set-Cookie`` header (RFC 6265), or of its quoted value, at ``at``."""
    header = _COOKIES.match(text, at)
    if header is None:
        return
    start = header.start(1)
    for pair in header.group(1).split(";"):
        name, _, value = pair.partition("=")
        value = value.rstrip()
        if len(value) >= 16 and _SESSION.search(name) and looks_random(value, least=16):
            yield Span(start + len(name) + 1, start + len(name) + 1 + len(value), "SECRET", 0.8)
        start += len(pair) + 1
        if start > at + _COOKIES_END:
            return


def pgpass(text: str, at: int) -> Iterator[Span]:
    """Passwords of PostgreSQL's ``.pgpass``, in the lines below its name."""
    for line in _PGPASS.finditer(text, at, at + 256):
        yield Span(*line.span(1), "SECRET", 0.8)


def marked(text: str, at: int) -> Span | None:
    """Password hashes, signatures of URLs, and Azure's client secrets, which have a mark inside."""
    for pattern, before in ((_HASH, 0), (_SIGNATURE, 0), (_AZURE, 4)):
        if found := pattern.match(text, at):
            return Span(found.start(found.lastindex or 0) - before, found.end(), "SECRET", 0.95)
    return None


def _is_pair(value: str) -> bool:
    """Whether it is ``user:password`` in base64 (RFC 7617)."""
    try:
        user, colon, password = b64decode(value + "=" * (-len(value) % 4), validate=True).decode().partition(":")
    except ValueError:
        return False
    return bool(user and colon and password) and user.isprintable() and password.isprintable()


def manifest(text: str, at: int) -> Iterator[Span]:
    """Values of the Kubernetes Secret whose ``kind: Secret`` ends at ``at``; they are base64."""
    low = max(0, at - 2048)
    start = max(low, text.rfind("\n---", low, at), text.rfind("\nkind:", low, at - 12))
    ends = [found for mark in ("\n---", "\nkind:") if (found := text.find(mark, at, at + 16_384)) >= 0]
    end = min(ends, default=at + 16_384)
    data = text.find("data:", start, end)
    if data >= 0:
        for entry in _MANIFEST_ENTRY.finditer(text, data, end):
            if len(entry.group(1)) % 4 == 0 and _decodes(entry.group(1)):
                yield Span(*entry.span(1), "SECRET", 0.85)


def _decodes(value: str) -> bool:
    try:
        return len(b64decode(value, validate=True).decode()) >= 4
    except ValueError:
        return False
