"""Values whose label stands in another tag, or letter by letter as on printed forms.

Each value is read with its label, as `fields.read` says.
"""

import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules import fields
from llm_flywheel.components.scan_pii.spans import Span

# <th>label</th> <td>value</td>, <label>label</label> <input value="value">
_MARKUP = re.compile(
    r"</(?:t[hd]|label|d[td]|b|strong|span|p|div)>\s{0,16}<(?:t[hd]|d[td]|input|span|div|p|b|strong)\b"
    r"(?:[^<>]{0,200}?\bvalue=[\"'](?P<attribute>[^\"'\n]{1,512})[\"'])?[^<>]{0,200}>(?P<content>[^<>\n]{0,512})"
)
_TAG_TEXT = re.compile(r">\s*([^<>\n]{1,60}?)[\s:*]*\Z")
_LONGEST_LABEL = 80
# "성  명 : ", "여 권 번 호│", "주   소\t"; a particle or a verb would not stand letter by letter.
_SPACED = re.compile(
    r"\n[ \t]{0,8}[-*·│|■□▶○]?[ ]?(?P<label>[가-힣](?:[ ]{1,4}[가-힣]){1,7})(?:[ ]?\([가-힣 ]{1,8}\))?"
    r"[ \t]{0,8}[:;=│|\t ][ \t]{0,8}(?P<value>[^\n│|\t]{2,120})"
)


def find(text: str) -> Iterator[Span]:
    """Yield what the label gives away; see `fields.read`.

    Args:
        text: Folded text.
    """
    if "</" in text:
        for match in _MARKUP.finditer(text):
            yield from _in_markup(text, match)
    if not text.isascii():
        for match in _SPACED.finditer(f"\n{text}"):
            label = match["label"].replace(" ", "")
            yield from fields.read(label, match.start("value") - 1, match["value"].rstrip())


def _in_markup(text: str, match: re.Match[str]) -> Iterator[Span]:
    label = _TAG_TEXT.search(text, max(0, match.start() - _LONGEST_LABEL), match.start())
    group = "attribute" if match["attribute"] else "content"
    value = match[group]
    if label:
        yield from fields.read(label[1], match.start(group) + len(value) - len(value.lstrip()), value.strip())
