"""Which column names may be shown: those of a file without a header are the values of its first row."""

import functools
import re

from llm_flywheel.components.scan_pii.scanner import Scanner

_LONGEST_NAME = 40
# Words of Latin letters or Hangul, such as user_name, Q1 or 질문: digits only behind letters, and few of them.
_NAME = re.compile(r"_*[a-z가-힣]+\d{0,3}(?:[_ -]+[a-z가-힣]+\d{0,3})*_*", re.IGNORECASE | re.ASCII)


def is_name(column: str) -> bool:
    """Whether ``column`` looks like the name of a column, and not like personal data."""
    return len(column) <= _LONGEST_NAME and _NAME.fullmatch(column) is not None and not _scanner().scan(column)


@functools.cache
def _scanner() -> Scanner:
    return Scanner(min_score=0)
