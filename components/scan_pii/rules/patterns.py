"""The rules' data (``patterns.yaml``) as typed, compiled objects; read once per process."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[\uac00-\ud7a3]+")
# Labels that say a number is not personal hold for the next number in their own sentence only.
_ELSEWHERE = re.compile(r"[0-9]{3}|[0-9]\.[0-9]|\n\s*\n|(?:[a-z]{3}|[\uac00-\ud7a3])[.!?]\s")
_HARMLESS = frozenset({"other_number", "version"})


@dataclass(frozen=True)
class CardRange:
    """Issuer prefixes of one card brand.

    Attributes:
        first: Lowest prefix.
        last: Highest prefix, as long as ``first``.
        lengths: Numbers of digits a card of this range can have.
        cue: Whether it counts only beside a word such as "card".
    """

    first: str
    last: str
    lengths: frozenset[int]
    cue: bool


@dataclass(frozen=True)
class VendorSecret:
    """A secret that says what it is.

    Attributes:
        literals: One of these must be in the text before the pattern is tried.
        pattern: Where it is.
        digit: Whether the match must hold a digit, because words could look like it.
    """

    literals: tuple[str, ...]
    pattern: re.Pattern[str]
    digit: bool


@dataclass(frozen=True)
class SecretWords:
    """Words before the value of a secret.

    Attributes:
        hints: One of these is in the lower-case text, or no word is.
        pattern: Finds a word in lower-case text; the group says ``password`` or ``token``.
    """

    hints: tuple[str, ...]
    pattern: re.Pattern[str]


@cache
def data() -> dict[str, Any]:
    """The whole file."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = Path(__file__).with_name("patterns.yaml").read_text(encoding="utf-8")
    value: dict[str, Any] = yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader, in C where there is one
    return value


@cache
def calling_codes() -> dict[str, tuple[int, int]]:
    """National number lengths (least, most) by country calling code."""
    return {code: (least, most) for code, (least, most) in data()["calling_codes"].items()}


@cache
def card_ranges() -> tuple[CardRange, ...]:
    """Card ranges, in the order of the file."""
    return tuple(
        CardRange(item["first"], item["last"], frozenset(item["lengths"]), item.get("cue", False))
        for item in data()["cards"]
    )


@cache
def iban_lengths() -> dict[str, int]:
    """Length of an IBAN by country code."""
    lengths: dict[str, int] = data()["iban_lengths"]
    return lengths


@cache
def file_suffixes() -> frozenset[str]:
    """Last labels that make ``name@2x.png`` a file name."""
    return frozenset(data()["file_suffixes"])


@cache
def vendor_secrets() -> tuple[VendorSecret, ...]:
    """Vendors' token formats; a token does not begin in the middle of a word."""
    return tuple(
        VendorSecret(
            tuple(item["literals"]),
            re.compile(("" if item.get("inside") else "(?<![A-Za-z0-9_])") + item["pattern"], re.ASCII),
            item.get("digit", False),
        )
        for item in data()["vendor_secrets"]
    )


@cache
def secret_words() -> SecretWords:
    """Key words of credentials."""
    words = data()["secret_words"]
    pattern = f"(?P<password>{'|'.join(words['password'])})|(?P<token>{'|'.join(words['token'])})"
    return SecretWords(tuple(words["hints"]), re.compile(pattern))


class Cues:
    """Words beside a number that say what it is.

    An ASCII word counts as a whole word, also inside snake_case and camelCase; a Korean word counts anywhere,
    because particles and compounds are written without a space.

    Args:
        kinds: Names of word lists in ``patterns.yaml``; an earlier one wins where two lists share a word.

    Example:
        >>> Cues("ssn", "other_number").before("order 123-45-6789", 6)
        'other_number'
    """

    def __init__(self, *kinds: str) -> None:
        self._phrases: dict[str, str] = {}
        self._korean: dict[str, list[tuple[str, str]]] = {}
        for kind in kinds:
            for word in data()["cues"][kind]:
                if word.isascii():
                    self._phrases.setdefault(word, kind)
                else:
                    self._korean.setdefault(word[0], []).append((word, kind))
        for words in self._korean.values():
            words.sort(key=lambda item: -len(item[0]))

    def before(self, text: str, start: int, window: int = 40) -> str | None:
        """The kind of the nearest cue that ends before ``start``, at most ``window`` code points away."""
        found = self.nearest(text, start, window)
        return found[0] if found else None

    def around(self, text: str, start: int, end: int, after: int = 14) -> str | None:
        """The nearest cue before a number, or else the first one shortly after it on the same line."""
        found = self.before(text, start)
        if found is None:
            line_end = text.find("\n", end, end + after)
            later = self._all(text, end, line_end if line_end >= 0 else min(len(text), end + after))
            found = later[0][0] if later else None
        return found

    def nearest(self, text: str, start: int, window: int = 40) -> tuple[str, int] | None:
        """Kind and end of the nearest cue before ``start``, or None.

        The label of another kind of number counts only when no number and no end of a sentence stands between.
        """
        for kind, end in reversed(self._all(text, max(0, start - window), start)):
            if kind not in _HARMLESS or not _ELSEWHERE.search(text, end, start):
                return kind, end
        return None

    def _all(self, text: str, start: int, end: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        tokens = [token for token in _TOKEN.finditer(text, start, end) if _is_word(text, token)]
        words = [token.group().lower() for token in tokens]
        at = 0
        while at < len(tokens):
            if words[at].isascii():
                size = next((size for size in (3, 2, 1) if " ".join(words[at : at + size]) in self._phrases), 0)
                if size:
                    phrase = words[at : at + size]
                    found.append((self._phrases[" ".join(phrase)], tokens[at + len(phrase) - 1].end()))
                at += size or 1
            else:
                found += self._korean_in(text, tokens[at].start(), tokens[at].end(), end)
                at += 1
        return found

    def _korean_in(self, text: str, start: int, run_end: int, end: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        while start < run_end:
            candidates = self._korean.get(text[start], ())
            hit = next((item for item in candidates if text.startswith(item[0], start, end)), None)
            if hit:
                found.append((hit[1], start + len(hit[0])))
            start += len(hit[0]) if hit else 1
        return found


def _is_word(text: str, token: re.Match[str]) -> bool:
    """Three letters or fewer must stand alone: random keys are full of them."""
    if token.end() - token.start() > 3:
        return True
    before, after = text[token.start() - 1 : token.start()], text[token.end() : token.end() + 1]
    return not (before.isascii() and before.isalnum()) and not (after.isascii() and after.isalpha())


@cache
def cues(*kinds: str) -> Cues:
    """The compiled `Cues` of these word lists, made once."""
    return Cues(*kinds)
