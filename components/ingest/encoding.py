"""Tell the encoding of a text file from its lines, so that a wrong byte costs a line and not the file."""

import codecs
import io
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from llm_flywheel.components.ingest.unpack import Unpacked, buffered

# Error handler of every text stream here, and what it puts in the place of bytes that are no text: half of a
# surrogate pair, which no text holds.
MARKED = "flywheel_marked"
MARK = "\udcff"

_CHUNK = 1 << 20
_SAMPLE = 1 << 16
_LOOKED_AT = 1 << 28
_ENOUGH_LINES = 1_000

# Longest first: the UTF-16-LE mark is the start of the UTF-32-LE one.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
# What Western languages write beyond ASCII. Other single-byte encodings have other signs at these places: the
# Polish and the Turkish letters come out as superscripts and currency signs, Cyrillic as long runs.
_WESTERN = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØŒÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøœùúûüý‘’“”„–—…•«»¡¿°€£§©®™´·ªº\xa0")


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return MARK, error.end


codecs.register_error(MARKED, _mark)


def detect_encoding(path: Path) -> str | None:
    """Encoding that reads most lines of a file: UTF-8, UTF-16, UTF-32, CP949 or Windows-1252; None when none does.

    UTF-8 is told by its lines beyond ASCII: text in another encoding is next to never valid UTF-8 (RFC 3629), so
    when most of them are valid, the others are damaged. Reads up to 256 MiB.

    Args:
        path: A readable file, which may be packed (`Unpacked`).

    Returns:
        A Python codec name, or None. Bytes that it cannot read are to be expected: open with errors=`MARKED`.
    """
    with buffered(Unpacked(path)) as file:
        head = file.read(_SAMPLE)
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding if _reads_most(head, encoding) else None
    wide = _wide_encoding(head)
    if wide and _reads_most(head, wide):
        return wide
    with buffered(Unpacked(path)) as file:
        return _by_lines(file)


def _by_lines(file: io.BufferedReader) -> str | None:
    lines = valid = 0
    odd: list[bytes] = []
    for chunk in _whole_lines(file):
        lines += chunk.count(b"\n") or 1
        if chunk.isascii():
            continue
        for line in chunk.split(b"\n"):
            if not line.isascii():
                if _is_utf8(line):
                    valid += 1
                else:
                    odd.append(line[:_SAMPLE])
        if len(odd) >= _ENOUGH_LINES:
            break
    if len(odd) <= valid:
        return "utf-8"
    sample = b"\n".join(odd[:_ENOUGH_LINES])[:_SAMPLE]
    if is_plausible_western(sample):
        return "cp1252"
    if _reads_most(sample, "cp949") and is_plausible_korean(sample.decode("cp949", "ignore")):
        return "cp949"
    return "utf-8" if 2 * len(odd) < lines else None


def _whole_lines(file: io.BufferedReader) -> Iterator[bytes]:
    left = _LOOKED_AT
    while left > 0 and (chunk := file.read(_CHUNK)):
        if not chunk.endswith(b"\n"):
            chunk += file.readline(_CHUNK)
        while not chunk.endswith(b"\n") and b"\x80" <= file.peek(1)[:1] < b"\xc0":
            chunk += file.read(1)  # a line longer than a chunk is not cut within a character
        left -= len(chunk)
        yield chunk


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _reads_most(sample: bytes, encoding: str) -> bool:
    lines = sample.decode(encoding, MARKED).splitlines()
    return 2 * sum(MARK in line for line in lines) <= len(lines)


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 without a mark: its ASCII, line ends at least, puts zeros at every other byte, where nothing else does.

    Some other characters end in a zero byte, too (가 is U+AC00), but they are far fewer than spaces.
    """
    even, odd = head[0::2].count(0), head[1::2].count(0)
    few = max(1, len(head) // 200)
    if odd >= few and odd > 4 * even:
        return "utf-16-le"
    if even >= few and even > 4 * odd:
        return "utf-16-be"
    return None


def is_plausible_western(sample: bytes) -> bool:
    """Whether bytes read as Windows-1252, of which Latin-1 text is a part: single accented letters between ASCII.

    Korean in CP949 has two bytes a syllable and several syllables a word.
    """
    runs = _HIGH_RUN.findall(sample)
    if not runs or sum(len(run) <= 2 for run in runs) < 0.9 * len(runs):
        return False
    singles = sum(len(run) == 1 for run in runs)
    text = b"".join(runs).decode("cp1252", "replace")
    return singles >= 0.7 * len(runs) and sum(character in _WESTERN for character in text) >= 0.9 * len(text)


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
