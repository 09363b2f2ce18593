"""Check digits and dates inside numbers. All functions take ASCII digits without separators."""

from datetime import date
from operator import mul

# ASCII digits to their values, and to what they add to a Luhn sum when doubled: the sum of the digits of the double.
_VALUES = bytes.maketrans(b"0123456789", bytes(range(10)))
_LUHN_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_IBAN_LETTERS = {ord("A") + at: str(10 + at) for at in range(26)}
_RRN_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_BRN_WEIGHTS = (1, 3, 7, 1, 3, 7, 1, 3, 5)
_ABA_WEIGHTS = (3, 7, 1, 3, 7, 1, 3, 7, 1)
# Numbers issued from this day on have no check digit (Enforcement Rule of the Resident Registration Act, 2020).
RRN_RANDOM_SINCE = date(2020, 10, 1)
# A birth year this far in the future is no birth year; a constant keeps scans reproducible.
_LAST_BIRTH_YEAR = 2049
_CENTURY = {**dict.fromkeys("90", 1800), **dict.fromkeys("1256", 1900), **dict.fromkeys("3478", 2000)}


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit (ISO/IEC 7812-1, annex B)."""
    values = digits.encode()
    return sum(values[-1::-2].translate(_VALUES) + values[-2::-2].translate(_LUHN_DOUBLED)) % 10 == 0


def iban(compact: str) -> bool:
    """Whether the mod-97 check of an IBAN holds (ISO 13616-1); upper case, no spaces."""
    return int((compact[4:] + compact[:4]).translate(_IBAN_LETTERS)) % 97 == 1


def brn(digits: str) -> bool:
    """Whether the last of ten digits is the check digit of a Korean business registration number.

    Source: National Tax Service; weights 1 3 7 1 3 7 1 3 5, and the tens of the last product are added.
    """
    total = _weighted(digits, _BRN_WEIGHTS) + int(digits[8]) * 5 // 10
    return (10 - total % 10) % 10 == int(digits[9])


def aba(digits: str) -> bool:
    """Whether nine digits are a US bank routing number (ABA): a Federal Reserve prefix and weights 3 7 1."""
    prefix = int(digits[:2])
    in_use = 1 <= prefix <= 12 or 21 <= prefix <= 32 or 61 <= prefix <= 72 or prefix == 80
    return in_use and _weighted(digits, _ABA_WEIGHTS) % 10 == 0


def rrn_birth(digits: str) -> date | None:
    """The date of birth in a Korean resident or foreigner registration number, or None when there is no such day.

    Args:
        digits: Thirteen digits; the seventh holds century, sex and whether the holder is a foreigner.
    """
    year = _CENTURY[digits[6]] + int(digits[:2])
    if year > _LAST_BIRTH_YEAR:
        return None
    try:
        return date(year, int(digits[2:4]), int(digits[4:6]))
    except ValueError:
        return None


def rrn(digits: str) -> bool:
    """Whether the check digit of a resident registration number holds (numbers issued before October 2020)."""
    return (11 - _weighted(digits, _RRN_WEIGHTS) % 11) % 10 == int(digits[12])


def frn(digits: str) -> bool:
    """Whether the check digit of a foreigner registration number holds."""
    return (13 - _weighted(digits, _RRN_WEIGHTS) % 11) % 10 == int(digits[12])


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(map(mul, digits.encode().translate(_VALUES), weights))
