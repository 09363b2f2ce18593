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
        ("Müller,Straße,déjà vu\n".encode("latin-1"), None),
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


def test_a_bad_byte_far_into_a_file_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a" * 3_000_000 + b"\xff")
    assert detect_encoding(path) is None
