"""Check digits and dates inside numbers. All functions take ASCII digits without separators."""

from datetime import date

_RRN_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
# Numbers issued from this day on have no check digit (Enforcement Rule of the Resident Registration Act, 2020).
RRN_RANDOM_SINCE = date(2020, 10, 1)
# A birth year this far in the future is no birth year; a constant keeps scans reproducible.
_LAST_BIRTH_YEAR = 2049
_CENTURY = {**dict.fromkeys("90", 1800), **dict.fromkeys("1256", 1900), **dict.fromkeys("3478", 2000)}


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit (ISO/IEC 7812-1, annex B)."""
    values = [ord(char) - 48 for char in reversed(digits)]
    return (sum(values[::2]) + sum(_LUHN_DOUBLED[value] for value in values[1::2])) % 10 == 0


def iban(compact: str) -> bool:
    """Whether the mod-97 check of an IBAN holds (ISO 13616-1); upper case, no spaces."""
    rearranged = compact[4:] + compact[:4]
    return int("".join(str(int(char, 36)) for char in rearranged)) % 97 == 1


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
    return _rrn_digit(digits, 11) == digits[12]


def frn(digits: str) -> bool:
    """Whether the check digit of a foreigner registration number holds."""
    return _rrn_digit(digits, 13) == digits[12]


def _rrn_digit(digits: str, base: int) -> str:
    total = sum(int(digit) * weight for digit, weight in zip(digits, _RRN_WEIGHTS, strict=False))
    return str((base - total % 11) % 10)
