"""IP addresses, version 4 and 6, told from version numbers and clock times."""

import ipaddress
import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules.patterns import cues
from llm_flywheel.components.scan_pii.spans import Span

_V4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])", re.ASCII)
_V4_BEFORE = re.compile(r"(?:[A-Za-z0-9_.]|[A-Za-z]-)\Z", re.ASCII)
_V4_AFTER = re.compile(r"[A-Za-z_]|\.[A-Za-z0-9]|-[A-Za-z]", re.ASCII)
_V6 = re.compile(r"(?:[0-9A-Fa-f]{1,4}:|::)[0-9A-Fa-f:.]{2,43}", re.ASCII)
_V6_HINT = re.compile(r"::|:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:")
# A version: small numbers, which a host address rarely has in both leading places.
_VERSION_FIRST, _VERSION_SECOND = 30, 20
# The number before this one in a list or a range: both are of one kind.
_LISTED = re.compile(
    r"[0-9]+(?:\.[0-9]+){1,4}\s{0,3}(?:to|and|or|through|->|→|,|에서|와|과|및)\s{0,3}\Z", re.ASCII | re.IGNORECASE
)
_PORT_OR_NET = re.compile(r":[0-9]{2,5}(?![0-9.])|/[0-9]{1,2}(?![0-9.])", re.ASCII)
_IMAGE_TAG = re.compile(r"/[A-Za-z][A-Za-z0-9_.-]{0,60}:\Z", re.ASCII)
_LONGEST_LIST = 8


def find(text: str) -> Iterator[Span]:
    """Yield IP addresses of hosts; loopback, unspecified addresses and net masks are nobody's.

    Args:
        text: Folded text.
    """
    yield from _find_v4(text)
    if _V6_HINT.search(text):
        yield from _find_v6(text)


def _find_v4(text: str) -> Iterator[Span]:
    for match in _V4.finditer(text):
        octets = [int(part) for part in match.group().split(".")]
        if max(octets) > 255 or not _free_standing(text, match) or _is_nobodys(octets):
            continue
        score = _v4_score(text, match, octets)
        if score:
            yield Span(*match.span(), "IP_ADDRESS", score)


def _free_standing(text: str, match: re.Match[str]) -> bool:
    """Not a piece of an object identifier, a file name or a version with a suffix; leading zeros are not decimal."""
    if _V4_BEFORE.search(text, max(0, match.start() - 2), match.start()):
        return False
    if any(len(part) > 1 and part[0] == "0" for part in match.group().split(".")):
        return False
    return _V4_AFTER.match(text, match.end()) is None


def _is_nobodys(octets: list[int]) -> bool:
    return octets[0] == 127 or octets == [0, 0, 0, 0] or octets[:2] == [255, 255] or octets == [255, 0, 0, 0]


def _v4_score(text: str, match: re.Match[str], octets: list[int]) -> float:
    cue = _cue(text, match.start())
    if cue == "ip":
        return 0.9
    if cue == "version":
        return 0.0
    if _PORT_OR_NET.match(text, match.end()) or text[max(0, match.start() - 3) : match.start()] == "://":
        return 0.9
    if octets[0] == 10 or octets[:2] == [192, 168]:
        return 0.8
    small = octets[0] <= _VERSION_FIRST and octets[1] <= _VERSION_SECOND
    return 0.0 if small or octets[0] == 0 else 0.7


def _cue(text: str, start: int) -> str | None:
    """What the words before the number, or before the list it stands in, say it is."""
    for _ in range(_LONGEST_LIST):
        listed = _LISTED.search(text, max(0, start - 40), start)
        if listed is None:
            break
        start = listed.start()
    if text[max(0, start - 2) : start] == "==" or _IMAGE_TAG.search(text, max(0, start - 64), start):
        return "version"
    return cues("version", "ip", "other_number").before(text, start, 30)


def _find_v6(text: str) -> Iterator[Span]:
    for match in _V6.finditer(text):
        before = text[match.start() - 1 : match.start()]
        if before.isascii() and (before.isalnum() or before in tuple("_:.")):
            continue
        found = match.group().rstrip(".")
        if found.endswith(":") and not found.endswith("::"):
            found = found[:-1]
        after = text[match.start() + len(found) : match.start() + len(found) + 1]
        if after.isascii() and (after.isalnum() or after == "_"):
            continue
        if _is_v6(found):
            yield Span(match.start(), match.start() + len(found), "IP_ADDRESS", 0.9)


def _is_v6(found: str) -> bool:
    """A valid address of a host; ``a::b`` in code and a hardware address of eight pairs are none."""
    try:
        address = ipaddress.IPv6Address(found)
    except ValueError:
        return False
    groups = [group for group in found.split(":") if group]
    if address.is_loopback or address.is_unspecified or not any(char.isdigit() for char in found):
        return False
    if len(groups) == 8 and all(len(group) == 2 for group in groups):
        return False
    return len(groups) >= 3 or len(groups[0]) == 4
