"""What stands in the place of a find: placeholders, pseudonyms, fakes."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.custom import CustomPattern, CustomRecogniser
from llm_flywheel.components.scan_pii.fakes import fake, normalised, pseudonym
from llm_flywheel.components.scan_pii.operators import Masker, OperatorName
from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import PII_TYPES

SCANNER = Scanner()
KEY = "a key of a test, and of nothing else"
CUT = Scanner(custom=[CustomRecogniser(name="cut", supported_entity="CUT", patterns=[CustomPattern(regex="<cut>")])])
TEXT = "a@example.com, card 4111 1111 1111 1111"


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("mask", "[EMAIL], card [CREDIT_CARD]"),
        ("redact", ", card "),
        ("keep_last4", "[EMAIL], card [CREDIT_CARD:1111]"),
        ("pseudonym", "[EMAIL:yfdsfunbxk], card [CREDIT_CARD:pikljtqayx]"),
        ("fake", "r@masked.invalid, card 0000 1938 8622 4734"),
        ("keep", TEXT),
    ],
)
def test_operator_decides_what_stands_in_the_place(operator: OperatorName, expected: str) -> None:
    assert Masker(SCANNER, operator, key=KEY).mask(TEXT).text == expected


def test_operators_can_differ_by_type() -> None:
    masked = Masker(SCANNER, "mask", {"EMAIL": "keep", "CREDIT_CARD": "keep_last4"}).mask(TEXT)
    assert masked[:2] == ("a@example.com, card [CREDIT_CARD:1111]", Counter({"CREDIT_CARD": 1}))


def test_last_four_are_digits_whatever_their_width() -> None:
    assert Masker(SCANNER, "keep_last4").mask("tel ０１０－２３４５－６７８９").text == "tel [PHONE:6789]"


def test_what_a_redaction_brings_together_is_removed_too() -> None:
    assert Masker(CUT, "redact").mask("4111 1111 <cut>1111 1111").text == ""


def test_redaction_that_uncovers_on_and_on_ends_in_a_placeholder() -> None:
    masker = Masker(CUT, "redact")
    once = masker.mask("<c" * 30 + "<cut>" + "ut>" * 30).text
    assert once == "<c" * 26 + "[CUT]" + "ut>" * 26
    assert masker.mask(once).text == once


@pytest.mark.parametrize("operator", ["pseudonym", "fake"])
@pytest.mark.parametrize("key", ["", "too short"])
def test_missing_key_is_told_with_what_to_set(operator: OperatorName, key: str) -> None:
    with pytest.raises(FlywheelError) as error:
        Masker(SCANNER, "mask", {"PERSON": operator}, key=key)
    assert error.value.reason == "pii_key"
    assert "FLYWHEEL_PII_KEY" in error.value.what
    assert "openssl rand" in error.value.fix


def test_no_key_is_needed_for_types_that_are_not_looked_for() -> None:
    assert Masker(Scanner(["EMAIL"]), "mask", {"PERSON": "pseudonym"}).mask(TEXT).counts == {"EMAIL": 1}


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("PHONE", "010-2345-6789", "+82 10 2345 6789"),
        ("PHONE", "010-2345-6789", "+82 (0)10-2345-6789"),
        ("PHONE", "010-2345-6789", "０１０－２３４５－６７８９"),
        ("PHONE", "01023456789", "0082 10 2345 6789"),
        ("PHONE", "02-345-6789", "+82-2-345-6789"),
        ("PHONE", "(415) 555-2671", "+1 415.555.2671"),
        ("PERSON", "Kim Min-jun", "kim minjun"),
        ("PERSON", "김 민준", "김민준"),
        ("EMAIL", "Minjun.Kim@Example.com", "minjun.kim@example.com"),
        ("CREDIT_CARD", "4111 1111 1111 1111", "4111.1111.1111.1111"),
        ("IBAN", "DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("KR_RRN", "800101-1234560", "8001011234560"),
    ],
)
def test_one_value_written_in_two_ways_has_one_pseudonym(kind: str, one: str, other: str) -> None:
    assert pseudonym(b"k", kind, one) == pseudonym(b"k", kind, other)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("EMAIL", "a.b@example.com", "ab@example.com"),
        ("IP_ADDRESS", "1.23.4.5", "12.3.4.5"),
        ("PHONE", "+81 10 2345 6789", "010-2345-6789"),
        ("PERSON", "Kim", "Lee"),
    ],
)
def test_two_values_have_two_pseudonyms(kind: str, one: str, other: str) -> None:
    assert pseudonym(b"k", kind, one) != pseudonym(b"k", kind, other)


def test_pseudonym_depends_on_the_key_and_the_type() -> None:
    tokens = {pseudonym(key, kind, "1234567890") for key in (b"a", b"b") for kind in ("BANK_ACCOUNT", "KR_BRN")}
    assert len({token.partition(":")[2] for token in tokens}) == 4


def test_lone_surrogate_has_a_pseudonym() -> None:
    assert normalised("PERSON", "A\ud800") == "a\ud800"
    assert pseudonym(b"k", "PERSON", "A\ud800").startswith("[PERSON:")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("PHONE", "010-2345-6789", r"000-\d{4}-\d{4}"),
        ("PHONE", "+82 10 2345 6789", r"\+00 0\d \d{4} \d{4}"),
        ("PHONE", "(415) 555-2671 ext 12", r"\(000\) \d{3}-\d{4} ext \d\d"),
        ("CREDIT_CARD", "4111-1111-1111-1111", r"0000-\d{4}-\d{4}-\d{4}"),
        ("CREDIT_CARD", "378282246310005", r"0000\d{11}"),
        ("US_SSN", "078-05-1120", r"000-\d\d-\d{4}"),
        ("KR_RRN", "800101-1234560", r"000000-\d{7}"),
        ("KR_FRN", "800101-5234567", r"000000-\d{7}"),
        ("KR_BRN", "124-81-00998", r"000-\d\d-\d{5}"),
        ("KR_DRIVER_LICENSE", "11-12-345678-90", r"00-\d\d-\d{6}-\d\d"),
        ("BANK_ACCOUNT", "110-234-567890", r"000-00\d-\d{6}"),
        ("IBAN", "DE89 3704 0044 0532 0130 00", r"XX00 \d{4} \d{4} \d{4} \d{4} \d\d"),
        ("IBAN", "gb82west12345698765432", r"xx00[a-z]{4}\d{14}"),
        ("IP_ADDRESS", "93.184.216.4", r"00\.1\d\d\.1\d\d\.\d"),
        ("EMAIL", "Min.Kim-99@example.co.kr", r"[A-Z][a-z]{2}\.[A-Z][a-z]{2}-\d\d@masked\.invalid"),
        ("EMAIL", "kim%40example.com", r"[a-z]{3}%40masked\.invalid"),
    ],
)
def test_fake_has_the_format_of_the_value_and_is_nobodys(kind: str, value: str, expected: str) -> None:
    made = fake(b"k", kind, value)
    assert re.fullmatch(expected, made, re.ASCII)
    assert fake(b"k", kind, value) == made != fake(b"l", kind, value)
    assert SCANNER.scan(made) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("PERSON", "김민준"),
        ("ADDRESS", "12 Main Street"),
        ("SECRET", "hunter2!"),
        ("KR_PASSPORT", "M12345678"),
        ("US_PASSPORT", "123456789"),
        ("KR_DRIVER_LICENSE", "서울 12-345678-90"),
        ("IP_ADDRESS", "2001:db8::1"),
        ("EMAIL_OBFUSCATED", "kim at example dot com"),
        ("PHONE", "12345"),
        ("EMPLOYEE_ID", "E-123456"),
    ],
)
def test_type_without_room_for_fakes_gets_a_pseudonym(kind: str, value: str) -> None:
    assert fake(b"k", kind, value) == pseudonym(b"k", kind, value)


@given(st.sampled_from(["CREDIT_CARD", "IBAN", "US_SSN", "KR_RRN", "IP_ADDRESS"]), st.binary(min_size=4, max_size=8))
@settings(max_examples=300, deadline=None)
def test_no_fake_alone_is_ever_a_find(kind: str, key: bytes) -> None:
    values = {
        "CREDIT_CARD": "4111 1111 1111 1111",
        "IBAN": "DE89 3704 0044 0532 0130 00",
        "US_SSN": "078-05-1120",
        "KR_RRN": "800101-1234560",
        "IP_ADDRESS": "93.184.216.34",
    }
    assert SCANNER.scan(fake(key, kind, values[kind])) == []


def test_fake_that_reads_as_a_find_beside_a_label_gives_way_to_the_pseudonym_of_the_value() -> None:
    # The scanner takes a telephone number after this label for an account when it begins with zeros.
    account = CustomRecogniser(
        name="account", supported_entity="ACCOUNT_X", patterns=[CustomPattern(regex=r"x-account 000-\d+-\d+")]
    )
    scanner = Scanner(["PHONE"], custom=[account])
    masker = Masker(scanner, "mask", {"PHONE": "fake"}, key=KEY)
    once = masker.mask("x-account 010-2345-6789, 010-2345-6789")
    assert once.counts["PHONE"] == 2
    assert once.text == f"x-account {pseudonym(KEY.encode(), 'PHONE', '010-2345-6789')}, 000-4543-0564"
    assert masker.mask(once.text).text == once.text


ANY_TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            ["a@example.com", "010-2345-6789", "+82 10 2345 6789", "4111 1111 1111 1111", "078-05-1120",
             "800101-1234560", "93.184.216.34", "2001:db8::1", "DE89370400440532013000", "password=", "Winter2019!",
             "비밀번호는 ", "SSN ", "card ", "tel ", "계좌번호 110-234-567890", "version ", "[EMAIL]",
             "[PERSON:kqzvbnwtpa]", "[", "]", "@", ".", "-", " ", "\n", "0", "000-1234-5678", "0000 1111 2222 3333",
             "k@masked.invalid", "로", "\ud800", "\u200b", "\0"]
        ),
        st.text(st.characters(), max_size=4),
    ),
    max_size=14,
).map("".join)  # fmt: skip
OPERATORS: list[OperatorName] = ["mask", "redact", "keep_last4", "pseudonym", "fake"]


@pytest.mark.parametrize("operator", OPERATORS)
@given(text=ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_masking_twice_is_masking_once(operator: OperatorName, text: str) -> None:
    masker = Masker(SCANNER, operator, key=KEY)
    once = masker.mask(text).text
    assert masker.mask(once)[:2] == (once, {})
    assert SCANNER.scan(once) == []


@given(text=ANY_TEXT, mixed=st.dictionaries(st.sampled_from(PII_TYPES), st.sampled_from([*OPERATORS, "keep"])))
@settings(max_examples=200, deadline=None)
def test_masking_twice_is_masking_once_with_mixed_operators(text: str, mixed: dict[str, OperatorName]) -> None:
    masker = Masker(SCANNER, "mask", mixed, key=KEY)
    once = masker.mask(text).text
    assert masker.mask(once)[:2] == (once, {})
