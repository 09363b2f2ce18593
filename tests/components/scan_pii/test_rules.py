"""What each kind of rule finds and leaves alone. Secrets are put together here, so that no scanner flags this file."""

import pytest

from llm_flywheel.components.scan_pii.scanner import Scanner

SCANNER = Scanner()


def found(text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in SCANNER.scan(text)]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Contact JOHN.DOE+tag@Example.CO.UK, thanks", "JOHN.DOE+tag@Example.CO.UK"),
        ("이메일은foo@bar.com으로 보내주세요", "foo@bar.com"),
        ("GET /login?email=john%40example.com&x=1", "john%40example.com"),
        (r"Thanks,\nfoo@bar.com\n", "foo@bar.com"),
        ("write to foo@bar.com.Please do", "foo@bar.com"),
        ("müller@exämple.de schrieb", "müller@exämple.de"),
        ("ｕｓｅｒ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ｕｓｅｒ＠ｅｘａｍｐｌｅ．ｃｏｍ"),
        ("user@163.com", "user@163.com"),
    ],
)
def test_email_is_found_without_its_surroundings(text: str, address: str) -> None:
    assert found(text) == [("EMAIL", address)]


@pytest.mark.parametrize(
    "text", ["icon@2x.png", "lodash@4.17.21", "@types/node@20.1.0", "root@localhost", "git@github.com:a/b.git", "@here"]
)
def test_file_package_host_and_handle_are_no_email(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("제 번호는 010-2345-6789입니다", "010-2345-6789"),
        ("01023456789로 연락 주세요", "01023456789"),
        ("０１０－２３４５－６７８９", "０１０－２３４５－６７８９"),
        ("010\u20112345\u20116789", "010\u20112345\u20116789"),
        ("010 - 2345 - 6789", "010 - 2345 - 6789"),
        ("+82 (0)10-2345-6789, 문자 주세요", "+82 (0)10-2345-6789"),
        ("사무실 (02) 345-6789", "(02) 345-6789"),
        ("(212) 555-0123", "(212) 555-0123"),
        ("+1-212-555-0123", "+1-212-555-0123"),
        ("call 212.555.0123 ext. 12 now", "212.555.0123 ext. 12"),
        ("(978)645-9740x11144", "(978)645-9740x11144"),
        ("text 2125550123 please", "2125550123"),
        ("+44 20 7946 0958.", "+44 20 7946 0958"),
        ("+33 6 12 34 56 78", "+33 6 12 34 56 78"),
        ("Tel: 020 7946 0958", "020 7946 0958"),
    ],
)
def test_phone_numbers_of_many_plans_are_found(text: str, number: str) -> None:
    assert found(text) == [("PHONE", number)]


@pytest.mark.parametrize(
    "text",
    [
        "고객센터 1588-1234",
        "운송장번호 6193-5456-9547",
        "운송장번호 821658146423",
        "ISBN 978-1-1388-9958-2",
        "call me on 2024-01-15 10:00",
        "price 1,234,567.89",
        "created 1700000000000",
        "+12",
        "사업자등록번호는 444-87-65956",
    ],
)
def test_call_centre_parcel_date_and_price_are_no_phone(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "number",
    [
        "4111 1111 1111 1111",
        "4111111111111111",
        "5500-0055-5555-5559",
        "2223 0031 2200 3222",
        "3782 822463 10005",
        "3056 930902 5904",
        "6011–1111–1111–1117",
        "９４１０１２３４５６７８９０１０",
    ],
)
def test_card_with_issuer_and_luhn_digit_is_found_before_a_particle(number: str) -> None:
    assert found(f"{number}로 결제") == [("CREDIT_CARD", number)]


@pytest.mark.parametrize(
    "text", ["4111 1111 1111 1112", "IMEI 356938035643809", "0000000000000000", "x4111111111111111"]
)
def test_wrong_luhn_digit_device_number_and_part_of_a_word_are_no_card(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SSN 078-05-1120", "078-05-1120"),
        ("social security number: 078 05 1120", "078 05 1120"),
        ("My SSN is 078051120.", "078051120"),
        ("078-05-1120", "078-05-1120"),
        ("order 5512, SSN 078-05-1120", "078-05-1120"),
    ],
)
def test_social_security_number_needs_a_label_or_dashes(text: str, number: str) -> None:
    assert found(text) == [("US_SSN", number)]


@pytest.mark.parametrize(
    "text",
    ["SSN 000-12-3456", "SSN 666-12-3456", "SSN 912-12-3456", "SSN 123-00-4567", "SSN 123-45-0000", "order 123-45-6789",
     '"order_no": "123-45-6789"', "주문 123-45-6789은 취소", "078051120"],
)  # fmt: skip
def test_unissued_number_and_order_number_are_no_social_security_number(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("주민등록번호 800101-1234560를 남깁니다", "KR_RRN", "800101-1234560"),
        ("8001011234560", "KR_RRN", "8001011234560"),
        ("rrn=800101-1234567", "KR_RRN", "800101-1234567"),
        ("211003-3123456", "KR_RRN", "211003-3123456"),
        ("외국인등록번호 800101-5234562으로", "KR_FRN", "800101-5234562"),
    ],
)
def test_resident_number_by_checksum_label_or_late_birth(text: str, kind: str, number: str) -> None:
    assert found(text) == [(kind, number)]


@pytest.mark.parametrize(
    "text",
    ["주문번호 800101-1234567", "800101-1234567", "801301-1234560", "주민번호 800230-1234560", "200930-3123456",
     "561219-4******", "상품코드 211003-3123456", "created 1610123456789"],
)  # fmt: skip
def test_bad_checksum_impossible_date_and_hidden_digits_are_no_resident_number(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("접속 IP 93.184.216.34에서 로그인", "93.184.216.34"),
        ("http://203.0.113.7/login", "203.0.113.7"),
        ("ping 8.8.8.8", "8.8.8.8"),
        ("server 192.168.0.1:8080", "192.168.0.1"),
        ("build=8.1.1.0\n156.205.178.198 - -", "156.205.178.198"),
        ("from [2001:db8::1]:443", "2001:db8::1"),
        ("2656:6935:1faa:6de0:d224:5e18:e484:5a78.", "2656:6935:1faa:6de0:d224:5e18:e484:5a78"),
    ],
)
def test_ip_address_of_a_host_is_found(text: str, address: str) -> None:
    assert found(text) == [("IP_ADDRESS", address)]


@pytest.mark.parametrize(
    "text",
    ["version 10.2.3.4", "from version 80.0.2971.122 to 27.15.84.25", "펌웨어 버전은 93.18.21.34이고",
     "1.3.6.1.4.1.311", "127.0.0.1 0.0.0.0 255.255.255.0 ::1", "999.1.1.1", "std::vector a::b 12:34:56",
     "00:1a:2b:3c:4d:5e", "app-1.20.30.40.tar"],
)  # fmt: skip
def test_version_loopback_clock_and_hardware_address_are_no_ip(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "number", ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "gb82west12345698765432", "NO9386011117947"]
)
def test_iban_is_found_before_a_particle(number: str) -> None:
    assert found(f"{number}으로 송금") == [("IBAN", number)]


@pytest.mark.parametrize("text", ["DE89370400440532013001", "DE8937040044053201300", "ZZ89370400440532013000"])
def test_wrong_check_length_and_country_are_no_iban(text: str) -> None:
    assert found(text) == []


ALNUM = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"
PEM = "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIE" + ALNUM + "\n-----END RSA PRIVATE " + "KEY-----"
JWT = "ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiIxMjM0In0." + ALNUM


@pytest.mark.parametrize(
    "secret",
    ["gh" + "p_" + ALNUM[:36], "AK" + "IA" + "ABCDEFGHIJKLMNOP", "sk-" + "proj-" + ALNUM, "sk-" + "FAKE" + ALNUM,
     "sk" + "_live_" + ALNUM[:24], "AI" + "za" + ALNUM[:35], "hf" + "_" + ALNUM[:34], "np" + "m_" + ALNUM[:36],
     "xo" + "xb-123456789012-" + ALNUM[:24], "glp" + "at-" + ALNUM[:20], PEM, JWT],
)  # fmt: skip
def test_secret_that_says_what_it_is_needs_no_label(secret: str) -> None:
    assert found(f"로그에 {secret}이 남았습니다") == [("SECRET", secret)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("DB_PASSWORD=Winter2019!", "Winter2019!"),
        ('"password": "hunter22"', "hunter22"),
        ("The temp password is aB3dE-xYz12 , change it", "aB3dE-xYz12"),
        ("비밀번호는 Winter@2019# 로 초기화", "Winter@2019#"),
        ("postgres://app:Winter@2015#@db.internal:5432/x", "Winter@2015#"),
        (f"AWS_SECRET_ACCESS_KEY=/{ALNUM[:39]}", f"/{ALNUM[:39]}"),
        (f"api_key: '{ALNUM[:32]}'", ALNUM[:32]),
        (f"Authorization: Bearer {ALNUM}", ALNUM),
        ("curl '/v1?token=" + ALNUM[:20] + "&page=2'", ALNUM[:20]),
    ],
)
def test_value_beside_a_key_word_is_a_secret(text: str, value: str) -> None:
    assert found(text) == [("SECRET", value)]


@pytest.mark.parametrize(
    "text",
    ["API_KEY: ${API_KEY}", "API_KEY: <your-api-key>", "token: {{ secrets.TOKEN }}", "password: changeme",
     "api_key = os.environ['API_KEY']", "password = process.env.DB_PASSWORD", "password: ********", "max_tokens=4096",
     "token = tokenizer.encode(text)", "my password is incorrect", "cache key=9f86d081884c7d659a2feaa0c55ad015",
     "commit 3f2a9c1b7e5d4a6f8b0c2d4e6f8a0b1c2d3e4f5a", "sk-learn-is-a-great-library-for-ml"],
)  # fmt: skip
def test_placeholder_code_count_and_hash_are_no_secret(text: str) -> None:
    assert found(text) == []


def test_private_key_that_was_cut_off_is_covered_as_far_as_it_goes() -> None:
    text = PEM[:60] + "\n\nDas war alles!"
    assert found(text) == [("SECRET", PEM[:60] + "\n\nDas war alles")]
