"""Values whose label stands in the first row of a table."""

import pytest

from llm_flywheel.components.scan_pii.rules.tables import open_at
from llm_flywheel.components.scan_pii.scanner import Scanner

SCANNER = Scanner()


def found(text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in SCANNER.scan(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,password\nkim,Xk29vbq81zz\n", ("SECRET", "Xk29vbq81zz")),
        ("name,password\r\nkim,Xk29vbq81zz", ("SECRET", "Xk29vbq81zz")),
        ('"note","password"\n"a, b","Xk29vbq81zz"\n', ("SECRET", "Xk29vbq81zz")),
        ("Users:\n\nid;passport_no;city\n7;489217597;Bonn\n", ("US_PASSPORT", "489217597")),
        ("상품\t여권번호\n가습기\tM099Q1606\n", ("KR_PASSPORT", "M099Q1606")),
        ("| qty | passport |\n|-----|----------|\n| 2 | 489217597 |\n", ("US_PASSPORT", "489217597")),
        (" qty | passport\n-----+----------\n 2 | 489217597\n(1 row)\n", ("US_PASSPORT", "489217597")),
        ("예금주|계좌번호\n|110234567890\n", ("BANK_ACCOUNT", "110234567890")),
        ("주문,이름\n7,홍길동\n", ("PERSON", "홍길동")),
        (",id,password\n0,7,Xk29vbq81zz\n", ("SECRET", "Xk29vbq81zz")),
        ("# id,e-mail*,it's,password*\n7,a,b,Xk29vbq81zz\n", ("SECRET", "Xk29vbq81zz")),
        ("2nd;'password'\nx;Xk29vbq81zz\n\ny;Yk29vbq81zz\n", ("SECRET", "Yk29vbq81zz")),
        ("ID,비고,비밀번호\n1,없음,Hana!2031\n2,,Duri!2032", ("SECRET", "Duri!2032")),
    ],
)
def test_a_cell_is_read_with_the_header_of_its_column(text: str, expected: tuple[str, str]) -> None:
    assert expected in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "case_no,sha\n384-08-8271,ab12\n",
        "| order_id | qty |\n|---|---|\n| 384-08-8271 | 2 |\n",
        "Dear Sir, the password please\nXk29vbq81zz is the commit\n",
        "city,password\n\nXk29vbq81zz, that is the commit\n",
    ],
)
def test_a_number_that_its_header_explains_is_none_and_prose_is_no_table(text: str) -> None:
    assert found(text) == []


def test_a_row_of_another_length_ends_the_table() -> None:
    assert found("qty,password\n1,Hana!2031\nplain text\n2,Duri!2032\n") == [("SECRET", "Hana!2031")]


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("hello\nqty,passport\n1,489217597\n2,48", "qty,passport\n"),
        ("qty,passport\n", "qty,passport\n"),
        ("qty,passport\n1,489217597\n\nThe end\n", ""),
        ("a,b\n1,2\n", ""),
    ],
)
def test_the_table_at_the_end_of_a_text_goes_on(text: str, header: str) -> None:
    assert open_at(text, len(text)) == (header, text.rfind("\n") + 1 if header else len(text))
