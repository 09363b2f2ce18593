"""E-mail addresses (RFC 5321 in the form people use; RFC 6531 beyond ASCII), also with ``%40`` as in a URL."""

import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules.patterns import file_suffixes
from llm_flywheel.components.scan_pii.spans import Span

_ESCAPED_AT = re.compile("%40|&#(?:64|x40);|&commat;")
# The local part from its end to its beginning; what is escaped in it is no sign of it before an escaped "@".
_LOCAL = re.compile(r"[A-Za-z0-9._+'%\xc0-\xd6\xd8-\xf6\xf8-\u024f-]{1,64}")
_ASCII_LOCAL = re.compile(r"[A-Za-z0-9._+'-]{1,64}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}|[A-Za-z]{{2,24}})(?![A-Za-z0-9])", re.ASCII)
# Hangul only in names of the Korean registries or before a common ASCII ending: a particle may follow either.
_WIDE_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_WIDE_DOMAIN = re.compile(
    rf"(?:{_WIDE_LABEL}\.){{1,4}}(?:한국|닷컴|닷넷|公司|网络|中国|中國|みんな|[a-zA-Z]{{2,24}}(?![A-Za-z0-9])"
    r"|[\u0370-\u03ff\u0400-\u04ff\u0590-\u06ff\u0900-\u097f]{2,24})"
)
_WIDE_LOCAL = re.compile(r"[^\W_][\w.+-]{0,31}$")
_QUOTED_LOCAL = re.compile(r"(?<![\w\"])\"[^\"\n\0]{1,64}\"$")
# Accounts of code hosts, not of a person: git@github.com:owner/repo.git
# No address: files, and what stands for one (RFC 2606).
_NO_ENDINGS, _VERSION = file_suffixes() | {"invalid"}, re.compile(r"[0-9]+\.[0-9]+(?:\.|$)", re.ASCII)
_SERVICE_ACCOUNTS = frozenset({"git", "hg", "svn"})


def find(text: str) -> Iterator[Span]:
    """Yield e-mail addresses.

    Args:
        text: Folded text.
    """
    at = text.find("@")
    while at >= 0:
        if span := _around(text, at, at + 1, _LOCAL):
            yield span
        at = text.find("@", at + 1)
    if "%" in text or "&" in text:
        for escaped in _ESCAPED_AT.finditer(text):
            if span := _around(text, escaped.start(), escaped.end(), _ASCII_LOCAL):
                yield span


def _around(text: str, at: int, after: int, local: re.Pattern[str]) -> Span | None:
    """The address whose sign stands at ``at``."""
    match = _DOMAIN.match(text, after)
    if match is None:
        if text[after : after + 64].isascii():
            return None
        match = _WIDE_DOMAIN.match(text, after)
        if match is None:
            return None
    domain, end = match.group(), match.end()
    head, _, last = domain.rpartition(".")
    # A file name (icon@2x.png) or a version (pkg@4.17.rc).
    if last.lower() in _NO_ENDINGS or (domain[0].isdigit() and _VERSION.match(domain)):
        return None
    # The first word of a sentence that follows the full stop without a space (a@b.com.Please).
    if last[0].isupper() and "." in head and head.islower() and last[1:].islower():
        end -= len(last) + 1
    before = local.match(text[at - 1 : at - 65 if at > 65 else None : -1]) if at else None
    if before is None:
        start = _unusual_start(text, at)
        return Span(start, end, "EMAIL", 0.9) if start < at else None
    name = before.group().rstrip(".'-+%")
    start = at - len(name)
    if not name or name[0] == "." or (name[::-1] in _SERVICE_ACCOUNTS):
        return None
    if start and text[start - 1] in ":/" and _in_url(text, start):
        return None
    return Span(start, end, "EMAIL", 0.9)


def _unusual_start(text: str, at: int) -> int:
    """Where a quoted local part (RFC 5321) or one in another script begins; ``at`` if there is none."""
    low = max(0, at - 66)
    found = _QUOTED_LOCAL.search(text, low, at) if text[at - 1 : at] == '"' else None
    if found is None and at and not text[at - 1].isascii():
        found = _WIDE_LOCAL.search(text, max(0, at - 32), at)
    return found.start() if found else at


def _in_url(text: str, at: int) -> bool:
    """Whether ``at`` is in the user information of a URL (``scheme://user:here@host``)."""
    scheme = text.rfind("://", max(0, at - 80), at)
    return scheme >= 0 and not any(char in "/?# \n\"'<>" for char in text[scheme + 3 : at])
