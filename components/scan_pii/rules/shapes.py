"""What the parts of a window of digits can be, by its shape: "ddd-dddd-dddd" may be a Korean telephone number."""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from llm_flywheel.components.scan_pii.rules import by_label, card, ip, korea, phone, registration
from llm_flywheel.components.scan_pii.spans import Span

Classify = Callable[[str, int, int, str], Span | None]
Rules = dict[str, tuple[Classify, ...]]
# A part of a window: its first character and one past its last, the same among the window's digits, and who decides,
# by the first digit.
Candidate = tuple[int, int, int, int, Rules]
_ANY = "0123456789"

_GROUP = re.compile(b"d+")
# One separator inside a number; anything else ends it.
_JOINS = re.compile(rb" ?[-./_] ?| |\) ?[-.]? ?| ?(?:[-.] ?)?\(|\) ?\(")
# No number has more digits (a card of ISO/IEC 7812: nineteen).
_MOST_DIGITS = 19
# Resident registration and card numbers.
_BREAKABLE = frozenset({13, 15, 16})
# Digits of a number that only a label makes one; so many are whole, when a group of something else follows.
_LEAST_LABELLED, _WHOLE, _MOST_PHONE, _MOST_LABELLED = 7, 9, 13, 17
_TIGHT, _DATE_SEPARATORS = frozenset({b"-", b"."}), frozenset({b"-", b".", b"/"})
_DATES = frozenset({(4, 2, 2), (4, 1, 2), (4, 2, 1), (4, 1, 1), (2, 2, 4), (1, 2, 4), (2, 1, 4), (1, 1, 4)})
# Shapes of numbers that hold on their own or not at all, of versions, decimals, devices: no label is looked for.
_NEVER_LABELLED = re.compile(
    rb"d{7}|d{15,}|d{3}-(?:d+-){3}d|d{6}[^d]d{1,7}|d{3}[^d]dd[^d]d{4,5}|dd[^d]dd[^d]d{6}[^d]dd|(?:d{4}[^d]){3}d{4}"
    rb"|d+(?:\.d+){1,3}"
)

# First digits and lengths of the groups of what a rule can find; an earlier rule wins. Those of the first table hold
# on their own; those of the second would take any three columns of a table of numbers for one number.
_CHECKED: dict[Classify, tuple[str, str]] = {
    card.find: (
        "12345689",
        "4-4-4-4 4-4-4-4-2 4-4-4-4-3 4-4-4-3 4-4-4-2 4-6-5 4-6-4 8-8 12 13 14 15 16 17 18 19",
    ),
    korea.find_rrn: (_ANY, "6-7 13 2-2-2-7"),
    korea.find_license: ("12", "2-2-6-2"),
    korea.find_old_license: (_ANY, "2-6-2"),
    korea.find_brn: (_ANY, "3-2-5"),
    phone.find_korean: (
        "0",
        "2-3-4 2-4-4 2-7 2-8 3-3-4 3-4-4 3-7 3-8 3-4-2-2 3-2-2-4 7-4 4-3-4 4-4-4 9 10 11 12 1-1-1-1-1-1-1-1-1-1-1",
    ),
    phone.find_korean_82: (
        "8",
        "2-1-3-4 2-1-4-4 2-2-3-4 2-2-4-4 2-3-3-4 2-3-4-4 2-1-1-3-4 2-1-1-4-4 2-1-2-3-4 2-1-2-4-4 2-10 2-2-8 4-4-4 4-8"
        " 12",
    ),
}
_UNCHECKED: dict[Classify, tuple[str, str]] = {
    registration.find_ssn: ("012345678", "3-2-4"),
    phone.find_national: ("0", "2-4-4 3-4-4 4-3-4 5-6 5-3-3 2-2-2-2-2 4-7 4-8 4-4-4"),
    phone.find_nanp: (_ANY, "3-3-4 1-3-3-4"),
}


def _by_lengths(*tables: dict[Classify, tuple[str, str]]) -> dict[str, Rules]:
    """Rules by the lengths of the groups, then by the first digit."""
    rules = [
        (lengths, firsts, rule)
        for table in tables
        for rule, (firsts, all_lengths) in table.items()
        for lengths in all_lengths.split()
    ]
    return {
        key: {
            digit: tuple(rule for lengths, firsts, rule in rules if lengths == key and digit in firsts)
            for digit in _ANY
        }
        for key, _, _ in rules
    }


def _whatever_first(rule: Classify) -> Rules:
    return {digit: (rule,) for digit in _ANY}


_DOTTED, _LABELLED, _INTERNATIONAL, _BROKEN = map(
    _whatever_first, (ip.find_v4, by_label.find, phone.find_international, by_label.find_broken)
)
_CROWDED, _ALONE = _by_lengths(_CHECKED), _by_lengths(_CHECKED, _UNCHECKED)


def candidates(shape: bytes) -> tuple[Candidate, ...]:
    """What the parts of a window can be, from left to right.

    Args:
        shape: The window with a "d" for each digit.

    Returns:
        Parts that may overlap; the rules for one of them are tried in order.
    """
    groups = [match.span() for match in _GROUP.finditer(shape)]
    sizes = [end - start for start, end in groups]
    between = [shape[left[1] : right[0]] for left, right in pairwise(groups)]
    found: list[Candidate] = []

    def add(i: int, j: int, rules: Rules) -> None:
        start, end, first = groups[i][0], groups[j][1], sum(sizes[:i])
        if rules is _INTERNATIONAL:
            start = 0
        elif start and shape[start - 1 : start] == b"(" and b")" in shape[start:end]:
            start -= 1
        found.append((start, end, first, first + sum(sizes[i : j + 1]), rules))

    if b"+" in shape:
        for j in reversed(list(_run_ends(sizes, between, 0))):
            add(0, j, _INTERNATIONAL)
    if b" " in shape and sum(sizes) in _BREAKABLE and "-".join(map(str, sizes)) not in _CROWDED:
        add(0, len(groups) - 1, _BROKEN)
    labelled = 0
    for i in range(len(groups)):
        if _is_dotted_quad(sizes, between, i):
            add(i, i + 3, _DOTTED)
        if i and between[i - 1] in _TIGHT:
            continue
        if _fours_before(sizes, between, i) % 4:
            continue
        for j in _run_ends(sizes, between, i):
            crowded = set(between[max(0, i - 1) : j + 1]) == {b" "} and (i > 0 or j + 1 < len(groups))
            rules = (_CROWDED if crowded else _ALONE).get("-".join(map(str, sizes[i : j + 1])))
            if rules:
                add(i, j, rules)
        if i >= labelled:
            labelled = _labelled_end(sizes, between, i)
            if labelled and not _NEVER_LABELLED.fullmatch(shape, groups[i][0], groups[labelled - 1][1]):
                add(i, labelled - 1, _LABELLED)
    return tuple(found)


def _fours_before(sizes: list[int], between: list[bytes], i: int) -> int:
    """How many groups of four before group ``i``, which is one too, are one with it: a card has four of them."""
    count = 0
    if i < len(between) and between[i] in _TIGHT and between[i] != between[i - 1]:
        return 0
    while count < i and sizes[i - count] == sizes[i - count - 1] == 4 and between[i - count - 1] == between[i - 1]:
        count += 1
    return count


def _run_ends(sizes: list[int], between: list[bytes], i: int) -> Iterator[int]:
    """Last groups of the runs from group ``i`` on that could be one number."""
    digits = 0
    for j in range(i, len(sizes)):
        digits += sizes[j]
        if digits > _MOST_DIGITS or (j > i and not _JOINS.fullmatch(between[j - 1])):
            return
        if j == len(between) or between[j] not in _TIGHT:
            yield j


def _labelled_end(sizes: list[int], between: list[bytes], i: int) -> int:
    """One past the last group of what a label before group ``i`` would be the label of; 0 when it is no number."""
    if tuple(sizes[i : i + 3]) in _DATES and between[i] == between[i + 1] and between[i].strip() in _DATE_SEPARATORS:
        return 0
    if i == 0 and _is_spaced_account(sizes, between):
        return len(sizes)
    best = 0
    for j in _run_ends(sizes, between, i):
        digits = sum(sizes[i : j + 1])
        if digits > _MOST_LABELLED or (best and digits > _MOST_PHONE and between[j - 1] == b" "):
            break
        if digits >= _LEAST_LABELLED:
            best = j + 1
        if digits >= _WHOLE and (i == j or not _TIGHT.isdisjoint(between[i:j])):
            break
    return best


def _is_spaced_account(sizes: list[int], between: list[bytes]) -> bool:
    """Fourteen digits in three or four groups, as Korea's banks write the longest of their numbers."""
    return sum(sizes) == 14 and len(sizes) in (3, 4) and set(between) == {b" "}


def _is_dotted_quad(sizes: list[int], between: list[bytes], i: int) -> bool:
    """Four dotted groups that are not a piece of more."""
    if between[i : i + 3] != [b"."] * 3 or max(sizes[i : i + 4]) > 3:
        return False
    return (i == 0 or between[i - 1] != b".") and between[i + 3 : i + 4] != [b"."]
