"""US social security and passport numbers."""

import re

from llm_flywheel.components.scan_pii.rules import cues
from llm_flywheel.components.scan_pii.rules.edges import alone
from llm_flywheel.components.scan_pii.spans import Span

# "Locker no. 123-45-6789", but not "my number 123-45-6789" nor "tax id 123-45-6789"
_NUMBER_OF = re.compile(
    r"(?<![A-Za-z])(?!(?:id|identification|identity|national|personal|tax|taxpayer)[ _-])"
    r"(?!(?:the|this|that|my|your|his|her|their|our|is|an?)[ _-])"
    r"[A-Za-z]{2,20}(?:[ _-](?:no|nos|num|number|nr|id|code)\b| ?#)[^A-Za-z0-9]{0,3}\Z",
    re.ASCII | re.IGNORECASE,
)
# No card has such groups, and people say "my SSN card".
_SSN_RIVALS = cues.PHONE | cues.RRN | cues.OTHER | cues.BANK | cues.BANK_NAME | cues.BRN


def find_ssn(text: str, start: int, end: int, digits: str) -> Span | None:
    """A US social security number in its groups of three, two and four digits, or None.

    There is no check digit, so a label decides: with one every separator counts, without one only the dashed form,
    and beside another number's label nothing does.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
        digits: The number without separators.
    """
    if not issued(digits) or not alone(text, start, end, cues.SSN):
        return None
    label = cues.before(text, start, cues.SSN | _SSN_RIVALS)[0] or cues.after(text, end, cues.SSN | _SSN_RIVALS)
    if label & cues.SSN:
        return Span(start, end, "US_SSN", 0.85)
    if label or text[start:end].replace(" ", "")[3:7:3] != "--" or _NUMBER_OF.search(text, max(0, start - 40), start):
        return None
    return Span(start, end, "US_SSN", 0.5)


def issued(digits: str) -> bool:
    """Whether a social security number of these nine digits can exist.

    Source: SSA POMS RM 10201.035: no area 000, 666 or 9xx, no group 00, no serial 0000.
    """
    area = digits[:3]
    return area not in ("000", "666") and area[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"
