"""Overlap rule, options of the scanner and the gate's decision."""

import pytest

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.config import ScanPiiConfig
from llm_flywheel.components.scan_pii.decide import decide
from llm_flywheel.components.scan_pii.report import shape
from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import Span, resolve


def test_higher_score_then_longer_then_further_left_wins() -> None:
    assert resolve([Span(0, 9, "PHONE", 0.5), Span(5, 8, "EMAIL", 0.9)]) == [Span(5, 8, "EMAIL", 0.9)]
    assert resolve([Span(0, 4, "PHONE", 0.9), Span(3, 9, "EMAIL", 0.9)]) == [Span(3, 9, "EMAIL", 0.9)]
    assert resolve([Span(2, 6, "PHONE", 0.9), Span(0, 4, "EMAIL", 0.9)]) == [Span(0, 4, "EMAIL", 0.9)]
    assert resolve([Span(4, 6, "IBAN", 0.5), Span(0, 4, "EMAIL", 0.9)]) == [
        Span(0, 4, "EMAIL", 0.9),
        Span(4, 6, "IBAN", 0.5),
    ]


def test_only_wanted_types_are_found() -> None:
    text = "a@example.com 010-2345-6789"
    assert [span.type for span in Scanner(types=["PHONE"]).scan(text)] == ["PHONE"]


def test_allow_list_takes_whole_values_without_case_and_stars() -> None:
    scanner = Scanner(allow_list=["Support@example.com", "*@corp.test", "010-0000-*"])
    text = "support@EXAMPLE.com x@corp.test ０１０-0000-1234 xsupport@example.com"
    assert [text[span.start : span.end] for span in scanner.scan(text)] == ["xsupport@example.com"]


def test_min_score_drops_a_shape_without_label() -> None:
    assert Scanner(min_score=0.51).scan("078-05-1120") == []


def test_placeholder_is_never_found_again_whatever_stands_beside_it() -> None:
    text = "password=[SECRET] [CREDIT_CARD:1111]1111 call [PHONE] 4111[EMAIL]111111111111"
    assert Scanner().scan(text) == []


@pytest.mark.parametrize(
    ("remaining", "allowed", "verdict"),
    [
        ({}, [], (True, "no unmasked PII")),
        ({"PHONE": 4, "EMAIL": 8}, [], (False, "12 unmasked PII spans remain (EMAIL 8, PHONE 4)")),
        ({"PHONE": 1, "EMAIL": 8}, ["EMAIL"], (False, "1 unmasked PII span remains (PHONE 1)")),
        ({"EMAIL": 8}, ["EMAIL"], (True, "only allowed PII remains (EMAIL 8)")),
        ({"EMAIL": 0}, [], (True, "no unmasked PII")),
    ],
)
def test_gate_fails_on_what_is_left_and_not_allowed(
    remaining: dict[str, int], allowed: list[str], verdict: tuple[bool, str]
) -> None:
    assert decide(remaining, allowed) == verdict  # type: ignore[arg-type]


def test_bad_settings_are_reported_together() -> None:
    with pytest.raises(FlywheelError) as error:
        bind(
            ScanPiiConfig, {"action": "hide", "types": ["MAIL"], "allow_lst": [], "allow_list": ["*"]}, where="scan_pii"
        )
    message = str(error.value)
    assert "4 errors" in message
    assert "allow_lst: unknown key; did you mean 'allow_list'?" in message
    assert "types: got 'MAIL'; did you mean 'EMAIL'?" in message
    assert "would allow everything" in message


def test_shape_shows_labels_and_nothing_else() -> None:
    assert shape("Ms. Kim phone 010-2345\n김철수 연락처 é") == "Aa. Aaa phone 999-9999 가가가 연락처 ?"
