"""The secret rules' data (``secrets.yaml``) as compiled objects; read once per process."""

import re
from dataclasses import dataclass
from functools import cache

from llm_flywheel.components.scan_pii.rules.patterns import data


@dataclass(frozen=True)
class Token:
    """A vendor's token format.

    Attributes:
        pattern: Matches it from its first character on.
        digit: Whether it must hold a digit, because words could look like it.
        after: What stands before it and belongs to it.
    """

    pattern: re.Pattern[str]
    digit: bool
    after: re.Pattern[str] | None


@dataclass(frozen=True)
class KeyWord:
    """A word beside which the value of a secret stands.

    Attributes:
        password: Whether people choose the value themselves; a token is drawn at random.
        rest: What follows the piece that was looked for.
    """

    password: bool
    rest: re.Pattern[str]


@cache
def tokens() -> dict[str, tuple[Token, ...]]:
    """Vendors' token formats by their first two characters."""
    found: dict[str, tuple[Token, ...]] = {}
    for item in data("secrets")["tokens"]:
        after = re.compile(f"{item['after']}$", re.ASCII) if "after" in item else None
        for start in item["starts"]:
            pattern = re.compile(re.escape(start) + item["then"], re.ASCII)
            found[start[:2]] = (*found.get(start[:2], ()), Token(pattern, item.get("digit", False), after))
    return found


def inner_starts() -> str:
    """A pattern of the beginnings that are plain enough to be one within a word; by first letter, which is quicker."""
    by_letter: dict[str, list[str]] = {}
    for item in data("secrets")["tokens"]:
        for start in item["starts"]:
            if len(start) >= 4:
                by_letter.setdefault(start[0], []).append(re.escape(start[1:]))
    return "(?:" + "|".join(f"{letter}(?:{'|'.join(rest)})" for letter, rest in by_letter.items()) + ")"


@cache
def key_words() -> dict[str, KeyWord]:
    """Key words by the piece of them that is looked for."""
    return {
        piece: KeyWord(item.get("password", False), re.compile(item["rest"], re.ASCII | re.IGNORECASE))
        for piece, item in data("secrets")["key_words"].items()
    }


@cache
def keys(name: str) -> tuple[str, ...]:
    """What a key is for: ``keys`` that are secret, ``not_keys``, and ``sections`` of a configuration."""
    return tuple(data("secrets")[name])
