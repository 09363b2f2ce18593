"""IP addresses, version 4 and 6, told from version numbers and clock times."""

import ipaddress
import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules import cues
from llm_flywheel.components.scan_pii.rules.edges import DIGITS, LETTERS
from llm_flywheel.components.scan_pii.spans import Span

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
# Not a piece of an object identifier, a file name, or a version with a suffix; not loopback, unspecified, a net mask.
_V4 = re.compile(
    rf"(?<![A-Za-z0-9_.])(?<![A-Za-z]-)(?!0\.|127\.|255\.(?:0|255)\.)({_OCTET})\.({_OCTET}\.{_OCTET}\.{_OCTET})"
    r"(?![A-Za-z0-9_]|\.[A-Za-z0-9_]|-[A-Za-z])",
    re.ASCII,
)
V6_HINT = re.compile(rb":(?::|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:)")
_V6 = re.compile(r"[0-9A-Fa-f:]{2,39}(?:(?:\.[0-9]{1,3}){3})?", re.ASCII)
_V6_CHARS = "0123456789abcdefABCDEF:"
# RFC 4007, section 11: "%eth0" says on which link a link-local address is.
_ZONE = re.compile(r"%[A-Za-z0-9][A-Za-z0-9._~-]{0,15}", re.ASCII)
# What joins the number before this one in a list or a range to it: both are of one kind.
_LINK = re.compile(
    r"(?:[+-][a-z]{1,8}[0-9.]{0,4})?\s{0,3}"
    r"(?:to|and|or|through|(?:but )?not(?: on| in)?|->|→|,|에서|와|과|및)\s{0,3}\Z",
    re.ASCII,
)
_NUMBER_CHARS = "0123456789."
_LIST_ENDS = tuple(
    f"{word}{blank}"
    for word in ("to", "and", "or", "through", "not", "not on", "not in", "->", "→", ",", "에서", "와", "과", "및")
    for blank in (" ", "\n", "")
)
# A port, the length of a net's prefix, the two dashes of a web server's log.
_HOST_AFTER = re.compile(r":[0-9]{2,5}(?![0-9.])|:[/~]|/[0-9]{1,2}(?![0-9.])| - ", re.ASCII)
# "package==1.2.3.4", "registry/image:1.2.3.4"
_PINNED = re.compile(r"==\Z|/[A-Za-z][A-Za-z0-9_.-]{0,60}:\Z", re.ASCII)
_TAGS = frozenset("=:")
# "okhttp/1.2.3.4" (RFC 9110, section 10.1.5), "Apache Kafka 1.2.3.4"
_PRODUCT = re.compile(r"(?<![A-Za-z0-9_./:-])[A-Za-z][A-Za-z0-9_-]{0,40}/\Z", re.ASCII)
_PRODUCT_NAME = re.compile(r"(?<=[A-Za-z,] )[A-Z][A-Za-z]{1,20} \Z", re.ASCII)
# "mysql -h 1.2.3.4", "--bind=1.2.3.4"
_OPTION_ENDS = frozenset(" =")
_OPTION = re.compile(
    r"(?<![^ ])(?:-[HISDBAhisdbap]|--[a-z-]{0,20}(?:host|bind|addr|address|server|ip))[ =]\Z", re.ASCII
)
_LONGEST_LIST = 4
_KINDS = cues.VERSION | cues.IP | cues.OTHER


def find_v4(text: str, start: int, end: int, digits: str) -> Span | None:
    """The address of a host, or None; loopback, unspecified addresses and net masks are nobody's.

    Args:
        text: Folded text.
        start: First code point of four dotted numbers.
        end: One past their last.
        digits: Not looked at: the dots matter.
    """
    match = _V4.match(text, start)
    if match is None or match.end() != end:
        return None
    score = _v4_score(text, start, end, int(match[1]), match[2])
    return Span(start, end, "IP_ADDRESS", score) if score else None


def _v4_score(text: str, start: int, end: int, first: int, rest: str) -> float:
    last = text[start - 1 : start]
    cue = _cue(text, start, last)
    if cue & cues.IP or last == "@" or _is_option(text, start, last):
        return 0.9
    if cue & cues.VERSION:
        return 0.0
    if _HOST_AFTER.match(text, end) or text[max(0, start - 3) : start] == "://":
        return 0.9
    if first == 10 or (first == 192 and rest[:4] == "168."):
        return 0.8
    others = [int(octet) for octet in rest.split(".")]
    # A version has small numbers, of which a host address rarely has so many.
    if (first <= 30 and others[0] <= 20) or max(others) <= 20:
        return 0.0
    return 0.0 if first <= 30 and _PRODUCT_NAME.search(text, max(0, start - 24), start) else 0.7


def _is_option(text: str, start: int, last: str) -> bool:
    begin = max(0, start - 32)
    return last in _OPTION_ENDS and text.find(" -", begin, start) >= 0 and bool(_OPTION.search(text, begin, start))


def _cue(text: str, start: int, last: str) -> int:
    """What the words before the number, or before the list it stands in, say it is."""
    if last in _TAGS and _PINNED.search(text, max(0, start - 64), start):
        return cues.VERSION
    cue, gap = cues.before(text, start, _KINDS, 30)
    if last == "/" and gap != 1 and _PRODUCT.search(text, max(0, start - 44), start):
        return cues.VERSION
    if cue and gap <= 2:
        return cue
    listed = ""
    for _ in range(_LONGEST_LIST):
        link = _LINK.search(text, max(0, start - 26), start) if text.endswith(_LIST_ENDS, 0, start) else None
        if link is None:
            break
        piece = text[max(0, link.start() - 20) : link.start()]
        other = piece[len(piece.rstrip(_NUMBER_CHARS)) :]
        if "." not in other:
            break
        listed, start = other, link.start() - len(other)
    if not listed:
        return cue
    cue = cues.before(text, start, _KINDS, 30)[0]
    return cue if cue & cues.IP or listed.count(".") == 3 else cues.VERSION


def find_v6(text: str, raw: bytes) -> Iterator[Span]:
    """Yield version 6 addresses in all forms of RFC 4291, with their zone.

    Args:
        text: Folded text.
        raw: The same in Latin-1, where the search is faster.
    """
    done = 0
    for hint in V6_HINT.finditer(raw):
        at = hint.start()
        if at < done:
            continue
        before = text[max(done, at - 40) : at]
        start = at - len(before) + len(before.rstrip(_V6_CHARS))
        start += _label_size(text, start)
        match = _V6.match(text, start)
        if match is None:
            continue
        end = done = match.end()
        if text[end - 1] == ":" and text[end - 2] != ":":
            end -= 1
        if _stands_free(text, start, end) and _is_v6(text[start:end]):
            zone = _ZONE.match(text, end)
            yield Span(start, zone.end() if zone else end, "IP_ADDRESS", 0.9)


def _label_size(text: str, start: int) -> int:
    """How much of what looks like an address is the end of its label: "IPv6:2001:db8::1", "peer:2001:db8::1"."""
    if text[max(0, start - 3) : start + 2].lower() == "ipv6:":
        return 2
    return int(text[start] == ":" != text[start + 1 : start + 2])


def _stands_free(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (before in LETTERS or before in DIGITS or before in ("_", ".")) and not (
        after in LETTERS or after in DIGITS or after in ("_", ":")
    )


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
    return len(groups) >= 3 or len(groups[0]) == 4 or "." in found
