"""What each kind of rule finds and leaves alone."""

import pytest

from llm_flywheel.components.scan_pii.scanner import Scanner

SCANNER = Scanner()


def found(text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in SCANNER.scan(text)]


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
        ("or 07700 900123, thanks", "07700 900123"),
        ("or ring (0131) 496 0673", "(0131) 496 0673"),
        ("or 06 12 34 56 78", "06 12 34 56 78"),
        ("or 0049 151 71667141", "0049 151 71667141"),
        ("móvil 612 345 678", "612 345 678"),
        ("010·1234·5678", "010·1234·5678"),
        ("or 03-6393-8647", "03-6393-8647"),
        ("+82-(0)10-1234-5678", "+82-(0)10-1234-5678"),
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
        "통화일시: 1672482786179",
        "모델명 P/N 1552-8242-33",
        "shard=0199501717",
        "당첨번호 03 12 24 33 41",
        "NDC 0093-3109-53",
        "사장님 연락처\n2024. 8. 19. 오후 6:33",
        "무선 이어폰 1487-22-342 x47",
        "(000) 555-2671 ext 12",
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
    "text",
    ["4111 1111 1111 1112", "IMEI 356938035643809", "0000000000000000", "x4111111111111111",
     "9400 1536 0639 4645 3253 20", "9400 1835 3884 1080 2069 91"],
)  # fmt: skip
def test_wrong_luhn_digit_device_number_part_of_a_word_and_parcel_are_no_card(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SSN 078-05-1120", "078-05-1120"),
        ("social security number: 078 05 1120", "078 05 1120"),
        ("My SSN is 078051120.", "078051120"),
        ("078-05-1120", "078-05-1120"),
        ("order 5512, SSN 078-05-1120", "078-05-1120"),
        ("Please verify your social.\nCALLER: 078.05.1120", "078.05.1120"),
        ("my number is 078- 05- 1120", "078- 05- 1120"),
    ],
)
def test_social_security_number_needs_a_label_or_dashes(text: str, number: str) -> None:
    assert found(text) == [("US_SSN", number)]


@pytest.mark.parametrize(
    "text",
    ["SSN 000-12-3456", "SSN 666-12-3456", "SSN 912-12-3456", "SSN 123-00-4567", "SSN 123-45-0000", "order 123-45-6789",
     '"order_no": "123-45-6789"', "주문 123-45-6789은 취소", "078051120", "모델명 MPN 586-08-4308",
     "Locker no. 123-45-6789", "Claim #123-45-6789", "Your order number?\nCALLER: 123-45-6789"],
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
        ("주민번호는 970706-0121427이에요", "KR_RRN", "970706-0121427"),
        ("주민등록번호 : 4608 07-232449 7", "KR_RRN", "4608 07-232449 7"),
        ("alien registration card: 650106-6757676", "KR_FRN", "650106-6757676"),
    ],
)
def test_resident_number_by_checksum_label_or_late_birth(text: str, kind: str, number: str) -> None:
    assert found(text) == [(kind, number)]


@pytest.mark.parametrize(
    "text",
    ["주문번호 800101-1234567", "800101-1234567", "801301-1234560", "주민번호 800230-1234560", "200930-3123456",
     "561219-4******", "상품코드 211003-3123456", "created 1610123456789", "rrn=x\n1610101280263 INFO"],
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
        ("scp build.tgz deploy@22.16.2.8:/srv", "22.16.2.8"),
        ("$ psql -h 22.16.2.8 -U app", "22.16.2.8"),
        ("2656:6935:1faa:6de0:d224:5e18:e484:5a78.", "2656:6935:1faa:6de0:d224:5e18:e484:5a78"),
    ],
)
def test_ip_address_of_a_host_is_found(text: str, address: str) -> None:
    assert found(text) == [("IP_ADDRESS", address)]


@pytest.mark.parametrize(
    "text",
    ["version 10.2.3.4", "from version 80.0.2971.122 to 27.15.84.25", "펌웨어 버전은 93.18.21.34이고",
     "1.3.6.1.4.1.311", "127.0.0.1 0.0.0.0 255.255.255.0 ::1", "999.1.1.1", "std::vector a::b 12:34:56",
     "00:1a:2b:3c:4d:5e", "app-1.20.30.40.tar", "okhttp/7.21.73.4", "Server: nginx/1.22.31.4",
     "Apache Kafka 8.22.92.2", "on 4.1.8+build.572 but not on 4.22.98.4"],
)  # fmt: skip
def test_version_loopback_clock_and_hardware_address_are_no_ip(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "number",
    ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "gb82west12345698765432", "NO9386011117947",
     "GB82-WEST-1234-5698-7654-32"],
)  # fmt: skip
def test_iban_is_found_before_a_particle(number: str) -> None:
    assert found(f"{number}으로 송금") == [("IBAN", number)]


@pytest.mark.parametrize("text", ["DE89370400440532013001", "DE8937040044053201300", "ZZ89370400440532013000"])
def test_wrong_check_length_and_country_are_no_iban(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("110-123-456789 부산은행", "110-123-456789"),
        ("3333012345678 카카오뱅크로", "3333012345678"),
        ("신한 110-123-456789", "110-123-456789"),
        ("a/c no. 0012 3456 7890", "0012 3456 7890"),
        ("국민은행978863 21 757571", "978863 21 757571"),
        ("통장: KB국민 979035 84 218767", "979035 84 218767"),
        ("국민은행 20561595983056", "20561595983056"),
        ("ABA 026290218", "026290218"),
        ("고객센터로 연락 바랍니다.\n송철수 | 03:59 | 110-787-857387 부산은행", "110-787-857387"),
    ],
)
def test_bank_account_beside_its_label_or_its_bank_is_found(text: str, number: str) -> None:
    assert ("BANK_ACCOUNT", number) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "사업자등록번호는 444-87-65956",
        "등록번호 4448765956 상호",
        "BRN 444 87 65956",
        "거래처 다온유통 3176064226, 담당",
        "온누리여행사 (4964260359) T 042-24",
    ],
)
def test_business_registration_number_with_its_check_digit_is_found(text: str) -> None:
    assert [kind for kind, _ in found(text)] == ["KR_BRN"]


@pytest.mark.parametrize("text", ["사업자등록번호는 444-87-65957", "중개업자 등록번호 제4448765956호"])
def test_wrong_check_digit_and_other_register_are_no_business(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text", ["여권No.M123B4567", "passport M70689098", "여권번호 PM1234567", "여권번호 : M869 90949"]
)
def test_korean_passport_is_found(text: str) -> None:
    assert [kind for kind, _ in found(text)] == ["KR_PASSPORT"]


def test_second_passport_number_of_a_list_is_found() -> None:
    assert found("passport number (671937773) and the old one (C73898178)") == [
        ("US_PASSPORT", "671937773"),
        ("US_PASSPORT", "C73898178"),
    ]


def test_blanks_inside_a_labelled_iban_and_card_are_no_hindrance() -> None:
    assert found("IBAN ; DE89 3704 0044 05 32 0130 00") == [("IBAN", "DE89 3704 0044 05 32 0130 00")]
    assert found("Card No ; 4111 11 111111 1111") == [("CREDIT_CARD", "4111 11 111111 1111")]


@pytest.mark.parametrize(
    ("text", "number"),
    [("연락처\n위임자 유기태 (2112304335412)는", "2112304335412"), ("서시온님 820710-2386689", "820710-2386689")],
)
def test_resident_number_behind_its_holder_needs_no_check_digit(text: str, number: str) -> None:
    assert ("KR_RRN", number) in found(text)
