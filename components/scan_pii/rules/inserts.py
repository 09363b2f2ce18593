"""SQL that writes rows: the label of a value stands in the list of columns before VALUES.

Each value is read with the name of its column, as `fields.read` says. A call inside a call ends the rows.
"""

import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules import fields
from llm_flywheel.components.scan_pii.spans import Span

_INSERT = re.compile(r"\(([\w ,\"`\[\]]{3,1000})\)\s{0,8}VALUES\s{0,8}(?=\()", re.IGNORECASE)
# A string with '' or \\' in it; or a number, a word, a call.
_VALUE = re.compile(
    r"\s{0,64}(?:[A-Z]?'(?P<quoted>(?:[^'\\]|''|\\.){0,4096})'"
    r"|(?P<bare>[^',()]{0,512}+(?:\([^()]{0,256}+\)[^',()]{0,64}+)?))\s{0,64}(?P<end>[,)])",
    re.DOTALL,
)
_NEXT_ROW = re.compile(r"\s{0,64},\s{0,64}(?=\()")
_GOES_ON = re.compile(r"\s{0,64},?\s{0,64}")
_LONGEST_ROW = 4_096


def find(text: str) -> Iterator[Span]:
    """Yield what the name of its column gives away; see `fields.read`.

    Args:
        text: Folded text.
    """
    if "alues" not in text and "ALUES" not in text:
        return
    for insert in _INSERT.finditer(text):
        labels = [label.strip(' "`[]\n') for label in insert[1].split(",")]
        for _, values in _rows(text, insert):
            for label, value in zip(labels, values, strict=False):
                group = "bare" if value["quoted"] is None else "quoted"
                yield from fields.read(label, value.start(group), value[group])


def open_at(text: str, at: int) -> tuple[str, int]:
    """The column list of an INSERT that goes on at the end of a text, and where the row begins that ``at`` lies in.

    Args:
        text: Folded text.
        at: A position in it.

    Returns:
        The list with VALUES, empty when no INSERT goes on or it stands behind ``at``; and the position.
    """
    inserts = list(_INSERT.finditer(text))
    if not inserts or at <= inserts[-1].start():
        return "", at
    insert = inserts[-1]
    rows = list(_rows(text, insert))
    if not rows:
        return "", at
    start, values = rows[-1]
    whole = bool(values) and values[-1]["end"] == ")"
    goes_on = _GOES_ON.fullmatch(text, values[-1].end()) if whole else len(text) - start <= _LONGEST_ROW
    row = max((row for row, _ in rows if row <= at), default=rows[0][0])
    return (insert.group().rstrip() + "\n", row) if goes_on else ("", at)


def _rows(text: str, insert: re.Match[str]) -> Iterator[tuple[int, list[re.Match[str]]]]:
    """Where each row behind VALUES begins, and its values; the last row may be a part of one."""
    at = insert.end()
    while text[at : at + 1] == "(":
        start, values = at, []
        at += 1
        while value := _VALUE.match(text, at):
            values.append(value)
            at = value.end()
            if value["end"] == ")":
                break
        yield start, values
        following = _NEXT_ROW.match(text, at) if values and values[-1]["end"] == ")" else None
        if following is None:
            return
        at = following.end()
