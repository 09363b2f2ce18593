import gzip
from pathlib import Path

import pytest

from llm_flywheel.components.ingest.encoding import detect_encoding

KOREAN = "질문,답\n카드를 잃어버렸어요,분실 신고를 도와드릴게요\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (KOREAN.encode(), "utf-8"),
        (KOREAN.encode("utf-8-sig"), "utf-8-sig"),
        (KOREAN.encode("utf-16"), "utf-16"),
        (KOREAN.encode("utf-16-le"), "utf-16-le"),
        ("question,answer\nhi,yo\n".encode("utf-16-be"), "utf-16-be"),
        (KOREAN.encode("cp949"), "cp949"),
        ("카드가 없어요. 이제 어떻게 하나요?\n".encode("utf-16-le"), "utf-16-le"),
        ("Müller,Straße,déjà vu\n".encode("latin-1"), "cp1252"),
        ("“Smart” quotes — and a price of 5 €\n".encode("cp1252"), "cp1252"),
        ("zażółć gęślą jaźń\n".encode("cp1250"), None),
        ("Где моя карта\n".encode("cp1251"), None),
        ("카드\n".encode("cp949"), "cp949"),
        ("q,a\n카드 가 나, é\n".encode() + b"\xff\n" + "다\n".encode(), "utf-8"),
        ("q,a\n카드를 잃어버렸어요,분실\n".encode("cp949") + b"\xff\xff\n", "cp949"),
        ("カードをなくしました、どうすればいいですか".encode("shift_jis"), None),
        ("我的卡丢了，请问我应该怎么办才能补办一张新卡".encode("gbk"), None),
        (b"\xff\xfeabc", None),
        (b"\x81\xff\xfe\x00\x01", None),
        (b"", "utf-8"),
    ],
)
def test_the_encoding_is_the_one_that_reads_all_bytes_as_plausible_text(
    tmp_path: Path, data: bytes, expected: str | None
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    assert detect_encoding(path) == expected


def test_a_bad_byte_far_into_a_file_does_not_change_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a line of text\n" * 200_000 + b"\xff\n" + b"more\n")
    assert detect_encoding(path) == "utf-8"


def test_a_line_longer_than_what_is_read_at_once_is_not_cut_within_a_character(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"x" + "카드".encode() * 600_000)
    assert detect_encoding(path) == "utf-8"


def test_a_packed_file_is_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(KOREAN.encode("cp949")))
    assert detect_encoding(path) == "cp949"
