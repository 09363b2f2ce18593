"""What a label such as ``"customer_name":`` or ``예금주:`` says of the value after it: whether it names a person."""

import re
from functools import lru_cache

from llm_flywheel.components.scan_pii.rules.patterns import data

_STOPS = re.compile(r'[\n\t{,"<>|;(=]')
_WORD_PARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|[\W_]+")


def words(name: str) -> frozenset[str]:
    """One list of ``names.yaml``."""
    return frozenset(data("names")[name].split())


_LABELS, _WEAK_LABELS, _NOT_OF_A_PERSON = map(words, ("labels", "weak_labels", "not_of_a_person"))
_KOREAN_LABELS = words("korean_labels")


def label(before: str) -> int:
    """What a label says of the value after it.

    Args:
        before: The text up to the label's colon.

    Returns:
        2 for a person's name, 1 for something that often is one, 0 for nothing, -1 for another thing's name.
    """
    near = before[-48:].rstrip(" \"'`*>]")
    if near.endswith(")"):
        # "성명(한글)", "홍길동 (대표)"
        near, _, note = near.rpartition("(")
        found = _label(note[:-1].strip())
        if found:
            return found
    return _label(_STOPS.split(near)[-1].strip())


@lru_cache(maxsize=1 << 12)
def _label(key: str) -> int:
    if not key.isascii():
        last = key.rsplit(None, 1)[-1]
        if not last.isascii():
            return 2 if is_korean_label(key) else 0
        key = last
    parts = [part.lower() for part in _WORD_PARTS.split(key) if part]
    if not parts:
        return 0
    if any("".join(parts[-count:]) in _LABELS for count in (1, 2, 3)):
        return 2
    if parts[-1] in ("name", "names") and len(parts) > 1:
        return -1 if parts[-2] in _NOT_OF_A_PERSON else 2 if parts[-2] in _WEAK_LABELS else 1
    return 1 if parts[-1] in _WEAK_LABELS else 0


@lru_cache(maxsize=1 << 14)
def is_korean_label(word: str) -> bool:
    """Whether a Korean word names a person's role or a field for a name, with or without a particle."""
    word = word.replace(" ", "")
    if word in _KOREAN_LABELS or any(word[at:] in _KOREAN_LABELS for at in range(max(0, len(word) - 5), len(word) - 1)):
        return True
    return len(word) > 2 and word[-1] in "은는이가을를께의" and is_korean_label(word[:-1])
