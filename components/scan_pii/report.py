"""What ``scan_pii`` reports: one mapping, as JSON for machines and as an HTML page.

It shows shapes, never the words or digits of a find or of the text around it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_flywheel.components.common.report import Page, bar_figure
from llm_flywheel.components.scan_pii.config import ScanPiiConfig
from llm_flywheel.components.scan_pii.decide import Verdict
from llm_flywheel.components.scan_pii.rules.patterns import data
from llm_flywheel.components.scan_pii.spans import PiiType, Span

if TYPE_CHECKING:
    from llm_flywheel.components.scan_pii.tally import Tally

BANDS = ("below 0.5", "0.5 to 0.6", "0.6 to 0.7", "0.7 to 0.8", "0.8 to 0.9", "0.9 to 1")

# What each type's rule relies on, and what it takes for it by mistake or misses.
NOTES: Mapping[PiiType, str] = {
    "EMAIL": "Address syntax with a plausible top-level domain; a user@host of a command line can look the same.",
    "EMAIL_OBFUSCATED": "Spelled-out at and dot around word-like parts; a sentence that only talks so is rare.",
    "PHONE": "Numbering plans of Korea, the US and calling codes; a bare number without a label scores lower.",
    "CREDIT_CARD": "Issuer prefix, length and Luhn digit; one in ten random numbers with such a prefix passes.",
    "IBAN": "Length by country and mod 97; chance hits are about one in a hundred of such shapes.",
    "BANK_ACCOUNT": "No check digit: only beside a bank's name or a word such as account; unlabelled ones are missed.",
    "IP_ADDRESS": "Four octets or IPv6 groups; version numbers can look the same and are told by the words before.",
    "US_SSN": "No check digit: area, group and serial ranges only, so a dashed order number can pass at a low score.",
    "US_PASSPORT": "No check digit: nine characters beside a word such as passport; unlabelled ones are missed.",
    "KR_RRN": "Birth date and check digit; numbers issued since October 2020 have no check digit and score lower.",
    "KR_FRN": "Birth date, foreigner digit and check digit; those issued since October 2020 have none and score lower.",
    "KR_DRIVER_LICENSE": "Region code and layout, no public check digit: compact ones count only beside a label.",
    "KR_PASSPORT": "Letter and digits of both series, no check digit: a product code of that shape can pass.",
    "KR_BRN": "Check digit; one in ten random numbers of that layout passes, so compact ones need a label.",
    "SECRET": "Vendor prefixes, PEM and JWT syntax, or a random-looking value after a key word; hashes look alike.",
    "PERSON": "Dictionaries of names and words around them: rare names are missed, brands that are names pass.",
    "ADDRESS": "Street, district and postcode syntax, Korean and English; a place alone is not meant.",
}
_CUSTOM_NOTE = "A recogniser of this configuration: as good as its pattern."

_CONTEXT = 24
_LONGEST_SHAPE = 60


@dataclass(frozen=True)
class Sample:
    """One find, safe to show.

    Attributes:
        type: What it is.
        score: How sure the rule is.
        source: The file the row came from.
        row: The row's id in the masked dataset, or its line.
        shape: The find with every letter and digit replaced.
        context: The text around it in the same way; only label words such as "phone" are readable.
    """

    type: PiiType
    score: float
    source: str
    row: str
    shape: str
    context: str


def sample_of(text: str, span: Span, source: str, row: str) -> Sample:
    """Turn a find into something that may be shown."""
    before = shape(text[max(0, span.start - _CONTEXT) : span.start])
    after = shape(text[span.end : span.end + _CONTEXT])
    found = shape(text[span.start : min(span.end, span.start + _LONGEST_SHAPE)], labels=False)
    return Sample(span.type, round(span.score, 3), source, row, found, f"{before}[{span.type}]{after}")


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


def report_data(
    config: ScanPiiConfig,
    tally: "Tally",
    remaining: Mapping[PiiType, int],
    verdict: Verdict,
    version: str = "",
) -> dict[str, Any]:
    """The report for machines.

    Args:
        config: What was asked for.
        tally: What was counted.
        remaining: Spans by type that a second scan found.
        verdict: The gate's answer.
        version: Version of the masked dataset, if it is one.

    Returns:
        A mapping that JSON can hold, with ``rows``, ``types`` (counts, score bands, sources and a note on precision
        per type), ``sources`` and ``samples``; no raw value.
    """
    operators = config.operators
    counts = (tally.found, tally.masked, remaining)
    kinds = [*config.types, *sorted({kind for found in counts for kind in found} - set(config.types))]
    return {
        "version": version,
        "passed": verdict.passed,
        "reason": verdict.reason,
        "action": config.action,
        "level": config.level,
        "policy": config.policy,
        "ner": config.ner.backend if config.ner else "",
        "min_score": config.min_score,
        "rows": tally.rows,
        "rows_with_pii": tally.rows_found,
        "rows_changed": tally.rows_changed,
        "types": {
            kind: {
                "found": tally.found.get(kind, 0),
                "masked": tally.masked.get(kind, 0),
                "remaining": remaining.get(kind, 0),
                "may_remain": kind in config.allowed_types,
                "operator": operators.get(kind, config.operator) if config.action == "mask" else "keep",
                "score_bands": {name: tally.by_band[name][kind] for name in BANDS if kind in tally.by_band[name]},
                "precision": NOTES.get(kind, _CUSTOM_NOTE),
            }
            for kind in kinds
        },
        "sources": {source: dict(found) for source, found in sorted(tally.by_source.items())},
        "samples": [asdict(sample) for kind in sorted(tally.samples) for sample in tally.samples[kind]],
    }


def write_report(shown: Mapping[str, Any], path: Path) -> None:
    """Write the page for one run.

    Args:
        shown: What `report_data` returned.
        path: Where to write it.
    """
    lead = f"{shown['rows']:,} rows, {shown['rows_with_pii']:,} with PII, {shown['rows_changed']:,} changed"
    page = Page("PII scan", f"{lead}, version {shown['version']}" if shown["version"] else lead)
    page.verdict(shown["passed"], shown["reason"])
    page.text(
        f"Action: {shown['action']}. Policy: {_policy(shown)}. Model beside the rules: {shown['ner'] or 'none'}. "
        f"Least score: {shown['min_score']}. Remaining is what a second scan found in the finished data."
    )
    types = sorted(shown["types"].items(), key=lambda pair: -pair[1]["found"])
    found = {kind: item for kind, item in types if item["found"] or item["remaining"]}
    page.heading("Per type")
    if found:
        counts = [item["found"] for item in found.values()]
        page.figure(bar_figure(list(found), counts, "found"), "Spans found per type.")
    page.table(
        ["type", "found", "replaced", "remaining", "may remain", "operator"],
        [
            [kind, *(item[key] for key in ("found", "masked", "remaining", "may_remain", "operator"))]
            for kind, item in found.items()
        ],
    )
    absent = [kind for kind in shown["types"] if kind not in found]
    if absent:
        page.text(f"Looked for and not found: {', '.join(absent)}.")
    page.heading("How sure")
    page.text("Spans per band of their score: 0.9 and more is a checksum or a vendor's own format, 0.5 a shape alone.")
    bands = [name for name in BANDS if any(name in item["score_bands"] for item in found.values())]
    page.table(
        ["type", *bands],
        [[kind, *(item["score_bands"].get(name, 0) for name in bands)] for kind, item in found.items()],
    )
    page.heading("Per source")
    page.table(
        ["source", "found", "per type"],
        [
            [source, sum(kinds.values()), ", ".join(f"{kind} {kinds[kind]:,}" for kind in found if kind in kinds)]
            for source, kinds in shown["sources"].items()
        ],
    )
    _samples(page, shown["samples"])
    page.heading("How far to trust it")
    page.table(["type", "what it relies on"], [[kind, item["precision"]] for kind, item in shown["types"].items()])
    page.write(path)


def _policy(shown: Mapping[str, Any]) -> str:
    if not shown["level"]:
        return "none"
    return f"level {shown['level']} of {shown['policy'] or 'the levels that ship'}"


def _samples(page: Page, samples: Sequence[Mapping[str, Any]]) -> None:
    page.heading("Samples")
    page.text("Every letter stands as A, a or 가, every digit as 9; only label words are readable.")
    columns = ["type", "score", "shape", "context", "source", "row"]
    page.table(columns, [[sample[column] for column in columns] for sample in samples])
