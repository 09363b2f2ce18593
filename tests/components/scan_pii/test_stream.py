"""A text in pieces is masked like the whole, wherever the cuts are."""

import random
import time
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_flywheel.components.scan_pii.operators import Masker, OperatorName
from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.stream import StreamMasker

SCANNER = Scanner()
MASKER = Masker(SCANNER)
KEY_LINE = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"
PEM = f"-----BEGIN PRIVATE {'KEY'}-----\n{KEY_LINE * 24}-----END PRIVATE {'KEY'}-----"

TEXTS = [
    """안녕하세요, 고객센터입니다. 문의하신 주문번호 2871-3390 건은 어제 출고되었습니다.
연락처는 010-2345-6789, 예비 연락처는 +82 10 9876 5432이고 이메일은 minjun.kim@example.co.kr로 남겨 주셨습니다.
주민번호 800101-1234560은 저장하지 않으며, 카드 4111 1111 1111 1111로 환불됩니다. 접속 IP는 93.184.216.34였습니다.
받으실 곳이 서울특별시 강남구 테헤란로 123, 4층이 맞는지 확인 부탁드립니다. 계좌번호는 국민은행 110-234-567890입니다.
상품코드 623898-2966619은 단종되었으며 버전 80.0.2971.122로 올린 뒤에도 같다면 다시 알려 주세요. 감사합니다.
""",
    """Hello Mr. John Smith, thank you for waiting. Your order 136-85-8186 left the warehouse.
We tried (415) 555-2671 ext 12 and +44 20 7946 0958 and wrote to john.o'connor+shop@example.com without an answer.
Please send the form with your social security number 078-05-1120 to 123 Main Street, Springfield, IL 62701.
The refund goes to DE89 3704 0044 0532 0130 00; the book has ISBN 978-1-1388-9958-2 and the firmware is 7.6.8.0.
Reach the mirror at 2001:db8:85a3::8a2e:370:7334 or write to jane dot doe at example dot com, whichever is easier.
""",
    f"""2026-11-21T10:00:00Z INFO client=93.184.216.34 user=kim@example.com latency=12ms path=/v1/chat
DATABASE_URL=postgresql://app:Xk29vbq81zz@db.internal:5432/app
export API_KEY="{"gh" + "p_"}Zk3vWq9LmT7yRb2NcXa8HdPf5GsJuE1oKt6V"
password = "Winter2019!x"
{PEM}
Authorization: Bearer {"ey" + "J"}hbGciOiJIUzI1NiJ9.{"ey" + "J"}zdWIiOiIxMjM0NTY3ODkwIn0.{"dozjgNryP4J3jVmNHl0w5N" * 20}
That was the key, and the rest of the log is plain: nobody called, nothing failed, and the parcel is late again.
""",
    """apiVersion: v1
data:
  password: V2ludGVyMjAxOSF4
  username: YWRtaW5pc3RyYXRvcg==
kind: Secret
metadata: {name: db}
---
The values above belong to the database of the shop; everybody who reads this has to change them, and soon.
""",
    "「お問い合わせありがとうございます。」ご登録のメールはkim@example.comで、お電話は+81 3-1234-5678です。" * 8,
    "Write to a\u200b@exam\u00adple.com or call ０１０－２３４５\u200b－６７８９, "
    "cafe\u0301 style, at 4111\u00a01111\u20111111 1111. " * 6,
    "The users:\n\n| 성명 | 여권번호 | case_no | password |\n|---|---|---|---|\n"
    + "| 안진 | 489217597 | 384-08-8271 | Xk29vbq81zz |\n" * 12 + "\nThat is all, and the rest is plain text. " * 6,
    "Run this:\n\nINSERT INTO users (id, passport_no, password) VALUES\n"
    + "  (7, '489217597', 'Xk29vbq81zz'),\n" * 14 + "  (8, '489217597', 'Xk29vbq81zz');\n"
    + "That is all there is to run. " * 9,
    "INSERT INTO u (id, login, password) VALUES "
    + ", ".join(f"({n}, 'one; two', 'Zt8vLm2Qw9x')" for n in range(40)) + ";",
    "id,password,note\n" + ("1,Zt8vLm2Qw9x," + "nobody calls and nothing fails " * 14 + "\n") * 6,
    "kind: Secret\n4111 1111 1111 1111\n"
    + "| name | password |\n|---|---|\nthe quick brown fox jumped \ndata:\n  a: WnQ4dkxtMlF3OXg=\n"
    + "the quick brown fox " * 9,
    "",
]  # fmt: skip


def cut(text: str, sizes: Iterable[int]) -> Iterator[str]:
    at = 0
    for size in sizes:
        if at >= len(text):
            return
        yield text[at : at + size]
        at += size
    yield text[at:]


def streamed(text: str, sizes: Iterable[int], masker: Masker = MASKER) -> str:
    stream = StreamMasker(SCANNER, masker)
    return "".join(stream.feed(piece) for piece in cut(text, sizes)) + stream.close()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_pieces_of_any_size_give_what_the_whole_gives(text: str, size: int) -> None:
    assert streamed(text, [size] * len(text)) == MASKER.mask(text).text


@given(st.permutations(range(len(TEXTS))), st.integers(1, 200), st.integers())
@example([9, 1], 8, 3)  # what is remembered begins inside the header
@settings(max_examples=60, deadline=None)
def test_random_cuts_of_texts_in_any_order_give_what_the_whole_gives(order: list[int], most: int, seed: int) -> None:
    rng = random.Random(seed)
    text = "\n".join(TEXTS[number] for number in order)
    assert streamed(text, (rng.randint(0, most) for _ in iter(int, 1))) == MASKER.mask(text).text


@pytest.mark.parametrize("operator", ["redact", "keep_last4", "pseudonym", "fake", "keep"])
@pytest.mark.parametrize("text", TEXTS)
def test_every_operator_gives_what_the_whole_gives(text: str, operator: OperatorName) -> None:
    masker = Masker(SCANNER, operator, key="k" * 16)
    assert streamed(text, [5] * len(text), masker) == masker.mask(text).text


PIECES = [
    "a@example.com", "010-2345-6789", "+82 10 2345 6789", "4111 1111 1111 1111", "078-05-1120", "800101-1234560",
    "93.184.216.34", "DE89370400440532013000", "password=", "Winter2019!", "비밀번호는 ", "SSN ", "계좌번호 ",
    "account ", "여권번호 M12345678 ", "면허번호 서울 12-345678-90", "홍길동 고객님", "Mr. John Smith",
    "서울특별시 강남구 테헤란로 123", "123 Main Street, Springfield, IL 62701", "card ", "version ", "order ",
    "[EMAIL]", "[", "]", "tel ", "\\n", "://u:",
    "@", ".", "-", " ", "\n", "0", "1", "１", "－", "로", "x", "\ud800", "\0", "\u200b", "e\u0301", "12 ", "1234 ",
    " john at example dot com ", "the quick brown fox ", PEM, f"-----BEGIN PRIVATE {'KEY'}-----\n", KEY_LINE,
    "data:\n  key: cGFzc3dvcmQxMjM=\n", "\nkind: Secret\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), min_size=20, max_size=200).map("".join), st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_nothing_that_a_scan_of_the_whole_finds_is_passed_on_as_it_was(text: str, size: int) -> None:
    # Each find becomes a word of its own that can be looked for in the masked text.
    marked, at = "", 0
    values = []
    for number, span in enumerate(SCANNER.scan(text)):
        if span.type == "EMAIL" and text[span.start : span.end] == "a@example.com":
            values.append(f"q{number:04}@example.com")
            marked += text[at : span.start] + values[-1]
            at = span.end
    marked += text[at:]
    hidden = [value for value in values if value not in MASKER.mask(marked).text]
    masked = streamed(marked, [size] * len(marked))
    assert [value for value in hidden if value in masked] == []


@pytest.mark.parametrize(
    "value",
    ["min.kim@example.co.kr", "010-2345-6789", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", PEM],
)
@pytest.mark.parametrize("before", [0, 1, 150, 160, 200, 256, 500, 5000])
def test_a_value_is_hidden_wherever_in_a_stream_it_stands(value: str, before: int) -> None:
    text = ("word " * 1001)[:before] + " " + value + " and more words follow here" * 20
    masked = streamed(text, [3] * len(text))
    assert masked == MASKER.mask(text).text
    assert value not in masked


def test_a_key_without_end_is_masked_as_far_as_it_comes() -> None:
    text = f"Here: -----BEGIN PRIVATE {'KEY'}-----\n{KEY_LINE * 1000}"
    masked = streamed(text, [50] * len(text))
    assert KEY_LINE[:16] not in masked
    assert masked.startswith("Here: [SECRET]")
    assert len(masked) < 200


def test_a_value_after_a_long_word_is_hidden() -> None:
    masked = streamed("x" * 20_000 + " a@example.com " + "y" * 20_000, [99] * 1000)
    assert masked == "x" * 20_000 + " [EMAIL] " + "y" * 20_000


def test_text_is_passed_on_when_two_hundred_more_code_points_have_come() -> None:
    stream = StreamMasker(SCANNER, MASKER)
    passed = 0
    for number in range(1, 2001):
        passed += len(stream.feed("word "))
        assert passed >= number * 5 - 205
    assert passed + len(stream.close()) == 10_000


def test_one_masker_takes_one_text_after_the_other() -> None:
    stream = StreamMasker(SCANNER, MASKER)
    assert stream.feed("Write to a@exam") + stream.feed("ple.com") + stream.close() == "Write to [EMAIL]"
    assert stream.feed("01") + stream.feed("0-2345-6789") + stream.close() == "[PHONE]"
    assert stream.close() == ""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("unit", ["a", "1 ", "+1", "a@", "[EMAIL]", "가", PEM[:28], "data:\n a: b\n", "the quick "])
def test_a_long_stream_costs_and_holds_no_more_per_piece(unit: str) -> None:
    def seconds(text: str) -> float:
        stream, started, fed, passed = StreamMasker(SCANNER, MASKER), time.process_time(), 0, 0
        for piece in cut(text, [20] * len(text)):
            fed += len(piece)
            passed += len(stream.feed(piece))
            assert "EMAIL" in unit or fed - passed < 17_000
        stream.close()
        return time.process_time() - started

    short = min(seconds(unit * (20_000 // len(unit))) for _ in range(2))
    assert seconds(unit * (200_000 // len(unit))) < 30 * short + 0.2
