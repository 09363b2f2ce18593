"""ADDRESS: house number and street, box, postcode with a label, and the Korean forms."""

import pytest

from llm_flywheel.components.scan_pii.fold import fold
from llm_flywheel.components.scan_pii.rules import names
from llm_flywheel.components.scan_pii.spans import resolve


def found(text: str) -> list[str]:
    view = fold(text).text
    return [text[span.start : span.end] for span in resolve(list(names.find(view))) if span.type == "ADDRESS"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Send it to 742 Evergreen Terrace.", "742 Evergreen Terrace."),
        ("at 500 W 2nd St, Floor 19, Austin TX 78701 today", "500 W 2nd St, Floor 19, Austin TX 78701"),
        ("4059 Mt Lee Dr.\nHollywood, CA 90068", "4059 Mt Lee Dr.\nHollywood, CA 90068"),
        ("16521 Old Mill Drive, Floor 17, New York, NY 10005", "16521 Old Mill Drive, Floor 17, New York, NY 10005"),
        ("2580 Deer Run Loop, #661, Little Rock, AR 72218", "2580 Deer Run Loop, #661, Little Rock, AR 72218"),
        ("221 Konopelski Manors Apt. 873, West Rhea, MT 11987", "221 Konopelski Manors Apt. 873, West Rhea, MT 11987"),
        ("8506 CR 94, St. Louis, MO 63143", "8506 CR 94, St. Louis, MO 63143"),
        ("Rural Route 66 Box 377A\nBaton Rouge, LA 70881", "Rural Route 66 Box 377A\nBaton Rouge, LA 70881"),
        ("10 Downing Street, London SW1A 2AA", "10 Downing Street, London SW1A 2AA"),
        ("Flat 3, 12 Victoria Road, Leeds LS1 4AP", "Flat 3, 12 Victoria Road, Leeds LS1 4AP"),
        ("Unit 14, 209 Queensway, Edinburgh EH3 7PZ has", "Unit 14, 209 Queensway, Edinburgh EH3 7PZ"),
        ("8 The Crescent, Bath BA1 5LR", "8 The Crescent, Bath BA1 5LR"),
        ("1 Macquarie Street, Sydney NSW 2000", "1 Macquarie Street, Sydney NSW 2000"),
        ("PO Box 1234, Boise, ID 83701", "PO Box 1234, Boise, ID 83701"),
        ("Hauptstraße 12, 10115 Berlin", "Hauptstraße 12, 10115 Berlin"),
        ("12 rue de Rivoli, 75001 Paris", "12 rue de Rivoli, 75001 Paris"),
        ("Via Garibaldi, 12, 20121 Milano", "Via Garibaldi, 12, 20121 Milano"),
        ("152 Teheran-ro, Gangnam-gu, Seoul", "152 Teheran-ro, Gangnam-gu, Seoul"),
        ("my address is 123 main st, austin, tx 78701", "123 main st, austin, tx 78701"),
        ("Address: 45 Carne Azeda 16, Lisboa", "45 Carne Azeda 16, Lisboa"),
        ('{"street_address": "890 Kuhn Rows 4"}', "890 Kuhn Rows 4"),
        ('{"zip": "94105"}', "94105"),
        ("ZIP Code: 10001", "10001"),
        ("Alice,88 Elm Street,a@x.example", "88 Elm Street"),
        ("12972  Oakridge  St.,  Ann  Arbor,  MI  48188", "12972  Oakridge  St.,  Ann  Arbor,  MI  48188"),
        ("to Ivy Cottage, 22 Albert Street, York YO31 8ZP", "Ivy Cottage, 22 Albert Street, York YO31 8ZP"),
    ],
)
def test_an_address_in_latin_script(text: str, expected: str) -> None:
    assert found(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "Call 911. We sold 20 Units in March 2023.",
        "10 The best way, 2 Park rangers saw 3 Hills",
        "In 2019 Springs were mild. 10 Big Lakes to visit",
        "Windows 11 Drive error, Python 3 The Way",
        "IP address: 192.168.0.1",
        "Address: 0x7fff5fbff8c0",
        "Address the 3 issues below.",
        "address: null, port: 8080",
        "Room 5 is free. Suite 12 is booked.",
        "5 Drive failures, 12 Circle objects",
        "Chapter 12 The Hollow Men",
        "Error Code: 50123",
    ],
)
def test_numbers_that_are_no_address(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("서울특별시 강남구 테헤란로 152로 보내주세요", "서울특별시 강남구 테헤란로 152"),
        ("서울 강남구 테헤란로 152, 1203호로 변경", "서울 강남구 테헤란로 152, 1203호"),
        ("(06236) 서울특별시 강남구 테헤란로 152 (역삼동)", "(06236) 서울특별시 강남구 테헤란로 152 (역삼동)"),
        ("부산 해운대구 우동 1408-5에 살아요", "부산 해운대구 우동 1408-5"),
        ("강원 춘천시 남산면 방하리 산 12-3", "강원 춘천시 남산면 방하리 산 12-3"),
        ("경기 화성시 동탄대로5길 21", "경기 화성시 동탄대로5길 21"),
        ("울산 남구 삼산로35번길 19", "울산 남구 삼산로35번길 19"),
        ("주소: 세종대로 110", "세종대로 110"),
        ("650911-1296452 인천광역시 연수구 연수동 316-31", "인천광역시 연수구 연수동 316-31"),
        ("650911 - 1296452 서울 노원구 한글비석로 78", "서울 노원구 한글비석로 78"),
        ("강원  춘천시  효자동  979-31번지  자이  103동", "강원  춘천시  효자동  979-31번지  자이  103동"),
        ("우편번호: 06236", "06236"),
        ("경기 평택시 월성동 금호어울림 113동 602호 고민", "경기 평택시 월성동 금호어울림 113동 602호"),
        ("대구 수성구 범어동 123 범어아파트 101동 1203호예요", "대구 수성구 범어동 123 범어아파트 101동 1203호"),
        ('"주소": "서울 송파구 올림픽로35길 125 (신천동)"', "서울 송파구 올림픽로35길 125 (신천동)"),
    ],
)
def test_an_address_in_hangul(text: str, expected: str) -> None:
    assert found(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "앞으로 3일 안에 처리",
        "카드로 3개월 할부",
        "버스로 20분, 하루로 24시간",
        "서울로 2박 3일",
        "101동 1203호 앞",
        "제가 1호팬 하겠습니다.",
        "주문번호 123-45로 조회",
        "종가 5만원, 정가 12,000원",
        "의견을 메일로 1부 보내주세요",
    ],
)
def test_hangul_that_is_no_address(text: str) -> None:
    assert found(text) == []
