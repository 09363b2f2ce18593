"""E-mail addresses (RFC 5321 in the form people use), also with ``%40`` as in a URL."""

import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules.patterns import file_suffixes
from llm_flywheel.components.scan_pii.spans import Span

_LATIN = "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_AT = re.compile("@|%40")
# Matched on the reversed text before the sign, so that a long word costs 64 steps and not its square.
_LOCAL_REVERSED = re.compile(rf"[A-Za-z0-9._+'%{_LATIN}-]{{1,64}}")
_LOCAL_REVERSED_IN_URL = re.compile(rf"[A-Za-z0-9._+'{_LATIN}-]{{1,64}}")
_LABEL = rf"[A-Za-z0-9{_LATIN}](?:[A-Za-z0-9{_LATIN}-]{{0,61}}[A-Za-z0-9{_LATIN}])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}|[A-Za-z]{{2,24}})(?![A-Za-z0-9])", re.ASCII)
# Accounts of code hosts, not of a person: git@github.com:owner/repo.git
_SERVICE_ACCOUNTS = frozenset({"git", "hg", "svn"})


def find(text: str) -> Iterator[Span]:
    """Yield e-mail addresses.

    Args:
        text: Folded text.
    """
    for at in _AT.finditer(text):
        domain = _DOMAIN.match(text, at.end(), at.end() + 254)
        if domain is None or not _is_mail_domain(domain.group()):
            continue
        end = _without_next_sentence(domain)
        start = _local_start(text, at)
        if start < at.start() and text[start : at.start()] not in _SERVICE_ACCOUNTS:
            yield Span(start, end, "EMAIL", 0.9)


def _local_start(text: str, at: re.Match[str]) -> int:
    before = text[max(0, at.start() - 64) : at.start()][::-1]
    pattern = _LOCAL_REVERSED if at.group() == "@" else _LOCAL_REVERSED_IN_URL
    local = pattern.match(before)
    if local is None or local.group()[0] == ".":
        return at.start()
    trimmed = local.group()[::-1].lstrip(".'-+%")
    return at.start() - len(trimmed)


def _is_mail_domain(domain: str) -> bool:
    """No file name (``icon@2x.png``) and no version (``pkg@4.17.rc``)."""
    *labels, last = domain.lower().split(".")
    numeric = sum(label.isdigit() for label in labels)
    return last not in file_suffixes() and not (numeric == len(labels) and numeric > 1)


def _without_next_sentence(domain: re.Match[str]) -> int:
    """Leave out the first word of a sentence that follows the full stop without a space (``a@b.com.Please``)."""
    head, _, last = domain.group().rpartition(".")
    if "." in head and head.islower() and last[0].isupper() and last[1:].islower():
        return domain.end() - len(last) - 1
    return domain.end()
