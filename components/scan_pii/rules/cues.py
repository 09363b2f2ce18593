"""Words beside a number that say what it is: labels in English and Korean, JSON keys, column names."""

import re
import unicodedata
from functools import cache

from llm_flywheel.components.scan_pii.rules.patterns import data
from llm_flywheel.components.scan_pii.rules.remembered import Remembered

# Kinds of words, as bits, in the order in which `patterns.yaml` lists them.
PHONE, CARD, SSN, RRN, IP, VERSION, OTHER, BANK, TRANSFER, BANK_NAME, ROUTING, PASSPORT, LICENSE, BRN = (
    1 << bit for bit in range(14)
)
_NAMES = (
    "phone", "card", "ssn", "rrn", "ip", "version", "other_number", "bank", "transfer", "bank_name", "routing",
    "passport", "license", "brn",
)  # fmt: skip
_TOKEN = re.compile(r"[A-Za-z0-9\u00c0-\u00ff\uac00-\ud7a3]+")
# "P/N", "A/C"
_SLASHED_TOKEN = re.compile(rf"[A-Za-z]/[A-Za-z](?![A-Za-z])|{_TOKEN.pattern}")
_SCRIPTS = re.compile(r"[A-Za-z0-9]+|[\uac00-\ud7a3]+")
# "Téléphone", "móvil"
_PLAIN = {code: unicodedata.normalize("NFD", chr(code))[0] for code in range(0xC0, 0x100)}
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_GLUED = ("numbers", "number", "num", "nos", "no", "nr", "id", "addr", "address", "s")
# Labels that say a number is not personal hold for the next number in their own sentence only.
_ELSEWHERE = re.compile(r"[0-9]{3}|[0-9]\.[0-9]|\n\s*\n|(?:[a-z]{3}|[\uac00-\ud7a3])[.!?]\s")
# Unless that sentence asks for the number and this is the answer: "Your order number?\nCALLER: 123-45-6789".
_ANSWER = re.compile(
    r"(?:[^\n?]{0,32}\?|(?: ?(?:number|no|code|id|번호))?\.)\s*\n(?:[^\n:\]|]{1,20}[:\]|])?[^\n0-9.,]{0,8}\Z",
    re.IGNORECASE,
)
_TOUCHING = 3
_HARMLESS = OTHER | VERSION
_CLOSE, _WINDOW, _WINDOW_AFTER = 14, 40, 14


def before(text: str, start: int, kinds: int, window: int = _WINDOW) -> tuple[int, int]:
    """The nearest cue before a number.

    Args:
        text: Folded text.
        start: First code point of the number.
        kinds: Wanted kinds, or-ed; words of other kinds are passed over.
        window: How far to look.

    Returns:
        Kinds of the word (0 when there is none) and the code points between it and the number.

    Example:
        >>> before("order 123-45-6789", 6, SSN | OTHER) == (OTHER, 1)
        True
    """
    # Most labels touch their number: the last few characters are a third of the work.
    stop = start
    for size in (_CLOSE, window):
        at = start - size if start > size else 0
        piece = text[at:stop]
        tokens = (_SLASHED_TOKEN if "/" in piece else _TOKEN).findall(piece)
        if at and size == _CLOSE:
            # The first one may be cut: it is read again, with what is before it.
            stop = at + len(tokens[0]) + piece.find(tokens.pop(0)) if tokens else at
        for token in reversed(tokens):
            found = _KNOWN[token] & kinds
            if found:
                gap = start - at - piece.rfind(token) - len(token)
                if gap < _TOUCHING or not found & _HARMLESS or _reaches(text[start - gap : start]):
                    return found, gap
        if not at:
            break
    return 0, 0


def _reaches(between: str) -> bool:
    """Whether a label still speaks of what comes after the text behind it."""
    return not _ELSEWHERE.search(between) or _ANSWER.match(between) is not None


def after(text: str, end: int, kinds: int) -> int:
    """Kinds of the first cue shortly after a number, on the same line; 0 when there is none."""
    for token in _TOKEN.findall(text[end : end + _WINDOW_AFTER].partition("\n")[0]):
        found = _KNOWN[token] & kinds
        if found:
            return found
    return 0


def _kinds(token: str) -> int:
    """What one word says: an ASCII word whole or as a part of camelCase, the last Korean word inside a compound."""
    if "/" in token:
        return _words().get(token.lower(), 0)
    token = token.translate(_PLAIN)
    return next((kinds for part in _SCRIPTS.findall(token)[::-1] if (kinds := _script_kinds(part))), 0)


_KNOWN = Remembered(_kinds)


def _script_kinds(token: str) -> int:
    if not token.isascii():
        return _korean_kinds(token)
    word = token.rstrip("0123456789")
    if not word.isalpha():
        return 0
    found = _ascii_kinds(word.lower())
    if not found and not word.islower():
        parts = _PART.findall(word)
        found = next((kinds for part in reversed(parts) if (kinds := _ascii_kinds(part.lower()))), 0)
    return found


def _ascii_kinds(word: str) -> int:
    words = _words()
    if word in words:
        return words[word]
    glued = (word.removesuffix(suffix) for suffix in _GLUED if word.endswith(suffix))
    return next((words[stem] for stem in glued if len(stem) > 2 and stem in words), 0)


def _korean_kinds(token: str) -> int:
    hits = _korean().findall(token)
    if not hits:
        return 0
    kinds = _words()[hits[-1]]
    # The name of a bank without more ("우리", "하나") is also an everyday word, so it must be the whole token; a
    # word of one syllable ("폰") ends others ("이어폰").
    if kinds == BANK_NAME:
        return kinds if hits[-1] == token else 0
    return kinds if len(hits[-1]) > 1 or token[0] == hits[-1] else 0


@cache
def _words() -> dict[str, int]:
    words: dict[str, int] = {}
    for bit, name in enumerate(_NAMES):
        for word in data()["cues"][name]:
            words[word] = words.get(word, 0) | 1 << bit
    return words


@cache
def _korean() -> re.Pattern[str]:
    """Any Korean cue, the longest one that begins at a place."""
    words = sorted((word for word in _words() if not word.isascii()), key=lambda word: (-len(word), word))
    return re.compile("|".join(words))
