"""Find the encoding of a text file by decoding all of it: the first candidate that reads every byte wins."""

import codecs
from functools import lru_cache
from pathlib import Path

_CHUNK = 1 << 20
_SAMPLE = 1 << 16

# Longest first: the UTF-16-LE mark is the start of the UTF-32-LE one.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def detect_encoding(path: Path) -> str | None:
    """Encoding that reads the whole file: UTF-8, UTF-16, UTF-32 or CP949; None when none does.

    Args:
        path: A readable file; it is read once per candidate, in chunks.

    Returns:
        A Python codec name, or None.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding if _decodes(path, encoding) else None
    wide = _wide_encoding(head)
    if wide and _decodes(path, wide):
        return wide
    if _decodes(path, "utf-8"):
        return "utf-8"
    if _decodes(path, "cp949") and is_plausible_korean(head.decode("cp949", "ignore")):
        return "cp949"
    return None


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 without a mark: in text with some ASCII, zeros stand at every other byte only."""
    pairs = len(head) // 2
    if pairs < 2:
        return None
    even = head[0 : 2 * pairs : 2].count(0) / pairs
    odd = head[1 : 2 * pairs : 2].count(0) / pairs
    if odd > 0.1 and even < 0.02:
        return "utf-16-le"
    if even > 0.1 and odd < 0.02:
        return "utf-16-be"
    return None


def is_plausible_korean(text: str) -> bool:
    """Whether text that CP949 could decode reads as Korean.

    CP949 decodes much of Shift-JIS, GBK and binary data into rare syllables and hanja; Korean text of today is
    almost only the 2,350 syllables of KS X 1001.
    """
    foreign = [character for character in text if character > "\x7f"]
    common = sum(character in _common_syllables() for character in foreign)
    return bool(foreign) and common / len(foreign) >= 0.7


@lru_cache(maxsize=1)
def _common_syllables() -> frozenset[str]:
    pairs = bytes(byte for lead in range(0xB0, 0xC9) for trail in range(0xA1, 0xFF) for byte in (lead, trail))
    return frozenset(pairs.decode("cp949"))
