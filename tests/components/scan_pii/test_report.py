"""The report for machines and the page for people."""

from collections import Counter
from pathlib import Path

import pytest

from llm_flywheel.components.scan_pii.config import ScanPiiConfig
from llm_flywheel.components.scan_pii.decide import decide
from llm_flywheel.components.scan_pii.report import NOTES, report_data, write_report
from llm_flywheel.components.scan_pii.spans import PII_TYPES, Span
from llm_flywheel.components.scan_pii.tally import Tally, band

TEXT = "내 이메일은 minjun@example.com, tel 010-2345-6789"


def counted() -> Tally:
    tally = Tally(most_samples=1, rows=2, rows_found=1, rows_changed=1)
    tally.add(TEXT, [Span(7, 25, "EMAIL", 0.9), Span(31, 44, "PHONE", 0.85)], "a.csv", "r1")
    tally.add("x@example.com", [Span(0, 13, "EMAIL", 0.5)], "b.csv", "r2")
    tally.masked.update({"EMAIL": 2})
    return tally


def test_machines_get_counts_bands_operators_and_shapes() -> None:
    config = ScanPiiConfig(types=["EMAIL", "PHONE"], operators={"PHONE": "keep"})
    remaining = Counter({"PHONE": 1})
    shown = report_data(config, counted(), remaining, decide(remaining), "v1")
    assert (shown["rows"], shown["rows_with_pii"], shown["rows_changed"]) == (2, 1, 1)
    assert (shown["passed"], shown["reason"]) == (False, "1 unmasked PII span remains (PHONE 1)")
    assert {key: shown["types"]["EMAIL"][key] for key in ("found", "masked", "remaining", "operator")} == {
        "found": 2,
        "masked": 2,
        "remaining": 0,
        "operator": "mask",
    }
    assert shown["types"]["EMAIL"]["score_bands"] == {"0.5 to 0.6": 1, "0.9 to 1": 1}
    assert shown["types"]["PHONE"]["operator"] == "keep"
    assert shown["sources"] == {"a.csv": {"EMAIL": 1, "PHONE": 1}, "b.csv": {"EMAIL": 1}}
    assert [(item["type"], item["shape"], item["row"]) for item in shown["samples"]] == [
        ("EMAIL", "aaaaaa@aaaaaaa.aaa", "r1"),
        ("PHONE", "999-9999-9999", "r1"),
    ]


def test_a_report_without_masking_says_keep() -> None:
    config = ScanPiiConfig(types=["EMAIL"], action="report_only")
    shown = report_data(config, counted(), {}, decide({}))
    assert shown["types"]["EMAIL"]["operator"] == "keep"


def test_page_shows_counts_and_no_raw_value(tmp_path: Path) -> None:
    config = ScanPiiConfig(types=["EMAIL", "PHONE", "IBAN"])
    shown = report_data(config, counted(), {"PHONE": 1}, decide({"PHONE": 1}), "v1")
    write_report(shown, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page
    assert "Looked for and not found: IBAN." in page
    assert "EMAIL 1, PHONE 1" in page
    assert NOTES["PHONE"] in page
    assert "minjun" not in page
    assert "2345" not in page


def test_page_without_any_find_is_whole(tmp_path: Path) -> None:
    shown = report_data(ScanPiiConfig(types=["IBAN"]), Tally(rows=1), {}, decide({}))
    write_report(shown, tmp_path / "report.html")
    assert "no unmasked PII" in (tmp_path / "report.html").read_text()


def test_every_type_has_a_note_on_its_precision() -> None:
    assert set(NOTES) == set(PII_TYPES)


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.0, "below 0.5"), (0.49, "below 0.5"), (0.5, "0.5 to 0.6"), (0.7, "0.7 to 0.8"), (0.9, "0.9 to 1"),
     (1.0, "0.9 to 1")],
)  # fmt: skip
def test_scores_fall_into_bands(score: float, expected: str) -> None:
    assert band(score) == expected


def test_merged_tallies_keep_the_first_samples_of_the_input() -> None:
    first, second = counted(), counted()
    first.merge(second)
    assert (first.rows, first.rows_found, first.rows_changed) == (4, 2, 2)
    assert first.found == {"EMAIL": 4, "PHONE": 2}
    assert first.by_source["a.csv"] == {"EMAIL": 2, "PHONE": 2}
    assert [len(samples) for samples in first.samples.values()] == [1, 1]
