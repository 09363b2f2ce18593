"""Values whose label stands in another tag, in a list of columns, or letter by letter."""

import pytest

from llm_flywheel.components.scan_pii.rules import forms, inserts
from llm_flywheel.components.scan_pii.scanner import Scanner

SCANNER = Scanner()


def found(text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in SCANNER.scan(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<tr><th>password</th><td>Maple#86monday</td></tr>", ("SECRET", "Maple#86monday")),
        ("<tr>\n  <td>여권번호</td>\n  <td> M12345678 </td>", ("KR_PASSPORT", "M12345678")),
        ('<label>Passport No.</label> <input name="f0" value="313010561">', ("US_PASSPORT", "313010561")),
        ("<label for='a'>계좌번호 *</label>\n<input id='a' value='110234567890'>", ("BANK_ACCOUNT", "110234567890")),
        ("<dt>Social security number</dt><dd>524 15 1555</dd>", ("US_SSN", "524 15 1555")),
        ("INSERT INTO t (id, passport_no) VALUES ('1', '489217597');", ("US_PASSPORT", "489217597")),
        ("insert into t (id, `password`)\nvalues (1, 'a'), (2, 'Xk29vbq81zz')", ("SECRET", "Xk29vbq81zz")),
        ("INSERT INTO t (at, password) Values (NOW(), 'Xk29vbq81zz')", ("SECRET", "Xk29vbq81zz")),
        ("(a, password) VALUES ('it\\'s', 'a'), ('b', 'Xk29vbq81zz')", ("SECRET", "Xk29vbq81zz")),
        ("VALUES: (note, password) VALUES ('it''s, (fine)', N'Xk29vbq81zz')", ("SECRET", "Xk29vbq81zz")),
        ("접수증\n여 권 번 호 : M12345678\n", ("KR_PASSPORT", "M12345678")),
        ("외 국 인 등 록 번 호 │ 980502-6521789", ("KR_FRN", "980502-6521789")),
        ("성   명(한글)\t봉미선\n", ("PERSON", "봉미선")),
    ],
)
def test_a_value_is_read_with_the_label_that_stands_apart(text: str, expected: tuple[str, str]) -> None:
    assert expected in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "<tr><th>order number</th><td>384-08-8271</td></tr>",
        "<th>password</th><td></td><td>Xk29vbq81zz</td>",
        "INSERT INTO t (id, case_no) VALUES (7, '384-08-8271');",
        "INSERT INTO t (password) VALUES",
        "나 는 그 사 람 : Xk29vbq81zz",
    ],
)
def test_what_the_label_explains_or_does_not_stand_beside_is_none(text: str) -> None:
    assert found(text) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "unit",
    [
        "</td><td>",
        "<th>password</th><td>",
        "(password) VALUES (",
        "VALUES ('",
        "성 명 ",
        "\n성 명 : 김 ",
        "</b><b value='",
    ],
)
def test_a_long_text_of_one_unit_takes_linear_time(unit: str) -> None:
    # A quadratic rule needs hours for this; the time limit is only there to end it.
    text = unit * (1_000_000 // len(unit)) + "\n<b>password</b> <b>Maple#86monday</b> (password) VALUES ('Xk29vbq81zz')"
    assert list(forms.find(text))[-1].end == text.index("</b> (password)")
    assert list(inserts.find(text))[-1].end == len(text) - 2
