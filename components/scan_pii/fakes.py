"""What stands in the place of a value and still tells it from others: a pseudonym, or a fake of the same format.

Both follow from an HMAC (RFC 2104, SHA-2) over the type and the normalised value: the same person gets the same token
in every row and run of one key, and without the key nobody can try values until a token fits, as with a plain hash.
"""

import hmac
import ipaddress
import re
from collections.abc import Callable
from string import ascii_lowercase, digits

from llm_flywheel.components.scan_pii.fold import fold
from llm_flywheel.components.scan_pii.spans import PiiType

_LENGTH = 10
_NUMBERS: frozenset[PiiType] = frozenset(
    {"CREDIT_CARD", "IBAN", "BANK_ACCOUNT", "US_SSN", "US_PASSPORT", "KR_RRN", "KR_FRN", "KR_DRIVER_LICENSE",
     "KR_PASSPORT", "KR_BRN"}
)  # fmt: skip
_NO_NUMBER = re.compile(r"[\W_]+")
_BLANKS_AND_DASHES = re.compile(r"[\s-]+")
_NO_DIGIT = re.compile("[^0-9]+")
# How people in Korea write their own country: +82 10, 0082-10, 82-10, +82 (0)10.
_KOREA = re.compile(r"(?:\+ ?82|00 ?82|82(?=[^0-9]*0?[^0-9]*1[016-9]))[^0-9]*0?")
_NORTH_AMERICA = re.compile(r"1(?=[2-9][0-9]{2}[2-9][0-9]{6}$)")

# Leading digits that become zeros, so that the rest can never be a number of somebody:
# no card issuer (ISO/IEC 7812: 0 is not for banking), no country code 0 (ITU-T E.164) and no area 00, no area 000 (SSA
# POMS RM 10201.035), no month 00, no tax office 000, no licence region 00, no branch 00000.
_ZEROS: dict[PiiType, int] = {
    "CREDIT_CARD": 4, "PHONE": 3, "US_SSN": 3, "KR_RRN": 6, "KR_FRN": 6, "KR_BRN": 3, "KR_DRIVER_LICENSE": 2,
    "BANK_ACCOUNT": 5,
}  # fmt: skip
_LEAST_OPEN_DIGITS = 4
# No card begins with one of these (see ``cards`` in patterns.yaml), so no groups of an account read as one.
_IBAN_DIGITS = "017"
_AT = re.compile("@|%40")


def normalised(kind: PiiType, value: str) -> str:
    """A value without what people write in different ways: case, width, spaces, dashes, ``+82 10`` for ``010``.

    Args:
        kind: Its type.
        value: As it stands in the text.
    """
    text = fold(value).text.casefold().strip()
    if kind == "PHONE":
        return _NORTH_AMERICA.sub("", _NO_DIGIT.sub("", _KOREA.sub("0", text, count=1) if _KOREA.match(text) else text))
    return (_NO_NUMBER if kind in _NUMBERS else _BLANKS_AND_DASHES).sub("", text)


def pseudonym(key: bytes, kind: PiiType, value: str) -> str:
    """A placeholder that is the same for the same value: ``[PERSON:kqzvbnwtpa]``, one of 26**10.

    Args:
        key: Secret key.
        kind: Type of the value.
        value: As it stands in the text.
    """
    number = _number(key, kind, value, "sha256")
    letters = []
    for _ in range(_LENGTH):
        number, letter = divmod(number, 26)
        letters.append(ascii_lowercase[letter])
    return f"[{kind}:{''.join(letters)}]"


def fake(key: bytes, kind: PiiType, value: str) -> str:
    """A value of the same format that cannot be real, or a `pseudonym` where no such values exist.

    Length, separators and kinds of characters stay; of an e-mail address this holds for the part before the ``@``.

    Args:
        key: Secret key.
        kind: Type of the value.
        value: As it stands in the text.

    Returns:
        The same fake for the same value, in ASCII.
    """
    draw = _Draw(_number(key, kind, value, "sha512"))
    text = fold(value).text
    made = _number_with_zeros(text, kind, draw) if kind in _ZEROS else _MAKERS.get(kind, _nothing)(text, draw)
    return made or pseudonym(key, kind, value)


def _number(key: bytes, kind: PiiType, value: str, algorithm: str) -> int:
    # A lone surrogate has no UTF-8; two texts that differ only in one may share a token.
    message = f"{kind}\0{normalised(kind, value)}".encode("utf-8", "replace")
    return int.from_bytes(hmac.digest(key, message, algorithm), "big")


class _Draw:
    """Takes characters out of one large number; SHA-512 lasts for a hundred, more than any value here has."""

    def __init__(self, number: int) -> None:
        self._number = number

    def one_of(self, characters: str) -> str:
        self._number, at = divmod(self._number, len(characters))
        return characters[at]

    def like(self, char: str) -> str:
        """A character of the same class: digit, small letter, capital; a separator stays."""
        if char.isdecimal():
            return self.one_of(digits)
        if not char.isalpha():
            return char
        letter = self.one_of(ascii_lowercase)
        return letter.upper() if char.isupper() else letter


_Maker = Callable[[str, _Draw], str]


def _nothing(text: str, draw: _Draw) -> str:
    return ""


def _number_with_zeros(text: str, kind: PiiType, draw: _Draw) -> str:
    zeros = _ZEROS[kind]
    if len(_NO_DIGIT.sub("", text)) < zeros + _LEAST_OPEN_DIGITS:
        return ""
    # Letters beside the digits say more than the number may (a licence's region); "ext" of a telephone does not.
    if kind != "PHONE" and any(char.isalpha() for char in text):
        return ""
    return _zeros_first(text, zeros, lambda char: draw.like(char) if char.isdecimal() else char)


def _zeros_first(text: str, zeros: int, other: Callable[[str], str]) -> str:
    """``text`` with its first digits as zeros and everything else as ``other`` gives it."""
    made = []
    for char in text:
        is_zero = zeros > 0 and char.isdecimal()
        made.append("0" if is_zero else other(char))
        zeros -= is_zero
    return "".join(made)


def _email(text: str, draw: _Draw) -> str:
    """``.invalid`` can never be registered (RFC 2606, section 2)."""
    at = _AT.search(text)
    if at is None:
        return ""
    return f"{''.join(map(draw.like, text[: at.start()]))}{at.group()}masked.invalid"


def _iban(text: str, draw: _Draw) -> str:
    """``XX`` is for users to assign (ISO 3166-1), and 00 is no result of mod 97."""
    country = "xx" if text[:2].islower() else "XX"
    return country + _zeros_first(
        text[2:], 2, lambda char: draw.one_of(_IBAN_DIGITS) if char.isdecimal() else draw.like(char)
    )


def _ip(text: str, draw: _Draw) -> str:
    """``0.0.0.0/8`` is "this network" and no host's address (RFC 791, RFC 6890); version 6 has no such room."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return ""
    first, *others = text.split(".")
    leads = {1: digits, 2: "123456789", 3: "1"}
    made = [draw.one_of(leads[len(part)]) + "".join(map(draw.like, part[1:])) for part in others]
    return ".".join(["0" * len(first), *made])


_MAKERS: dict[PiiType, _Maker] = {"EMAIL": _email, "IBAN": _iban, "IP_ADDRESS": _ip}
