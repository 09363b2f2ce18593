"""The HTML page of ``scan_pii``. It shows shapes, never the words or digits of a find or of the text around it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.report import Page
from llm_flywheel.components.scan_pii.fold import fold
from llm_flywheel.components.scan_pii.rows import Find
from llm_flywheel.components.scan_pii.rules.patterns import data
from llm_flywheel.components.scan_pii.spans import PiiType

_CONTEXT = 24
_LONGEST_SHAPE = 60


@dataclass(frozen=True)
class Sample:
    """One find, safe to show.

    Attributes:
        type: What it is.
        score: How sure the rule is.
        source: The file the row came from.
        row_id: The row in the masked dataset.
        shape: The find with every letter and digit replaced.
        context: The text around it in the same way; only label words such as "phone" are readable.
    """

    type: PiiType
    score: float
    source: str
    row_id: str
    shape: str
    context: str


def sample_of(find: Find, source: str, row_id: str) -> Sample:
    """Turn a find into something that may be shown."""
    kind, text = find.span.type, fold(find.text)
    before = shape(text[max(0, find.span.start - _CONTEXT) : find.span.start])
    after = shape(text[find.span.end : find.span.end + _CONTEXT])
    found = shape(text[find.span.start : min(find.span.end, find.span.start + _LONGEST_SHAPE)], labels=False)
    return Sample(kind, find.span.score, source, row_id, found, f"{before}[{kind}]{after}")


def shape(text: str, labels: bool = True) -> str:
    """Replace every letter and digit: ``A``, ``a``, ``9``, ``가``, anything else that is no ASCII sign ``?``.

    Args:
        text: Any text.
        labels: Whether the rules' own label words stay readable.
    """

    def one(match: re.Match[str]) -> str:
        found = match.group()
        if match.lastgroup == "label":
            return found
        if found.isascii():
            return "9" if found.isdigit() else ("A" if found.isupper() else "a")
        return "가" if "\uac00" <= found <= "\ud7a3" else "?"

    return (_labels() if labels else _CHARACTER).sub(one, text.replace("\n", " "))


_CHARACTER = re.compile(r"[A-Za-z0-9]|[^\x20-\x7e]")


@cache
def _labels() -> re.Pattern[str]:
    words = {word for kind in data()["cues"].values() for word in kind}
    ordered = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?P<label>(?<![A-Za-z])(?:{ordered})(?![A-Za-z]))|{_CHARACTER.pattern}", re.IGNORECASE)


def write_report(manifest: Mapping[str, Any], samples: Sequence[Sample], path: Path) -> None:
    """Write the page for one run.

    Args:
        manifest: Manifest of the masked dataset.
        samples: A few finds per type.
        path: Where to write it.
    """
    pii = manifest["pii"]
    page = Page(
        "PII scan",
        f"{manifest['rows_out']:,} rows, {manifest['rows_changed']:,} changed, version {manifest['version']}",
    )
    page.verdict(pii["passed"], pii["reason"])
    page.text(
        f"Action: {pii['action']}. Looked for: {', '.join(pii['types'])}. Names and postal addresses are not among "
        "them. Remaining is what a second scan found in the finished dataset."
    )
    page.heading("Per type")
    kinds = [kind for kind in pii["types"] if any(pii[key].get(kind) for key in ("found", "masked", "remaining"))]
    page.table(
        ["type", "found", "replaced", "remaining", "may remain"],
        [
            [kind, *(pii[key].get(kind, 0) for key in ("found", "masked", "remaining")), kind in pii["allowed_types"]]
            for kind in kinds
        ],
    )
    page.heading("Per source")
    page.table(
        ["source", *kinds],
        [
            [source, *(counts.get(kind, 0) for kind in kinds)]
            for source, counts in sorted(manifest["pii_by_source"].items())
        ],
    )
    _samples(page, samples)
    page.write(path)


def _samples(page: Page, samples: Sequence[Sample]) -> None:
    page.heading("Samples")
    page.text("Every letter stands as A, a or 가, every digit as 9; only label words are readable.")
    page.table(
        ["type", "score", "shape", "around it", "source", "row"],
        [
            [sample.type, sample.score, sample.shape, sample.context, sample.source, sample.row_id]
            for sample in sorted(samples, key=lambda item: item.type)
        ],
    )
