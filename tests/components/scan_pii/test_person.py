"""PERSON: names beside the words, labels and marks that people and programs write around them."""

import pytest

from llm_flywheel.components.scan_pii.fold import fold
from llm_flywheel.components.scan_pii.rules import names
from llm_flywheel.components.scan_pii.spans import resolve


def found(text: str) -> list[str]:
    view = fold(text).text
    return [text[span.start : span.end] for span in resolve(list(names.find(view))) if span.type == "PERSON"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("User: my name is Kwame Nkrumah and I need help.", "Kwame Nkrumah"),
        ("Thanks, Bob", "Bob"),
        ("Kind regards,\nTomasz Wiśniewski\nHead of Sales", "Tomasz Wiśniewski"),
        ("Dear Mr. Abernathy, thank you.", "Abernathy"),
        ("Dear Will,", "Will"),
        ("Please forward this to Dr Susan O'Neill by Friday.", "Susan O'Neill"),
        ("This song is by Fiona McKenzie and others.", "Fiona McKenzie"),
        ("Agent Thompson: hello", "Thompson"),
        ("From: Ahmed Al-Sayed <ahmed@corp.example>", "Ahmed Al-Sayed"),
        ('To: "Chen, Wei" <wei@corp.example>', "Chen, Wei"),
        ("Smith, Jane A. called twice.", "Smith, Jane A."),
        ('{"first_name": "Xochitl", "age": 4}', "Xochitl"),
        ('{"customerName": "Delroy Lindo"}', "Delroy Lindo"),
        ("assignee=Maria Gonzalez status=open", "Maria Gonzalez"),
        ("NAME: ROBERT JOHNSON", "ROBERT JOHNSON"),
        ("Requester: WANDA SCHRÖDER", "WANDA SCHRÖDER"),
        ("| Name | Elena Petrova |", "Elena Petrova"),
        ("<name>Hannah Arendt</name>", "Hannah Arendt"),
        ("Akira Sato,akira@x.example", "Akira Sato"),
        ("2024-01-02 INFO login by Siobhan Byrne from web", "Siobhan Byrne"),
        ("hi, my name is john smith and i need help", "john smith"),
        ("Kim Min-jun will present.", "Kim Min-jun"),
        ("Spoke with Oluwaseun regarding the loan.", "Oluwaseun"),
        ("Signed by: Ludwig van Beethoven", "Ludwig van Beethoven"),
        ("Charlotte sent me the invoice yesterday.", "Charlotte"),
        ("Patient: Nguyen Van Minh, DOB 1990-01-01", "Nguyen Van Minh"),
        ("Thank you, Wendell!", "Wendell"),
        ("John A Smith signed it.", "John A Smith"),
        ("Attending: Aisha Dawson, MD", "Aisha Dawson"),
        ("Taxpayer Deepika Fairchild, TIN on file", "Deepika Fairchild"),
        ("Cardholder Jasper Radcliffe. Reply or call", "Jasper Radcliffe"),
        ("I, Rahul St. Clair, swear", "Rahul St. Clair"),
        ("MILLER, John\n", "MILLER, John"),
    ],
)
def test_a_name_in_latin_script(text: str, expected: str) -> None:
    assert found(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "Will you be there? May I ask? Mark it as read.",
        "Grace period ends on Monday. Hope this helps.",
        "Austin, TX 78701 is our HQ. Paris is nice in April.",
        "Dear Customer, thank you. Dear Hiring Manager,",
        "Wells Fargo and Morgan Stanley reported gains.",
        "Jackson Street is closed. Lake Victoria is not.",
        "Vela Robotics and Johnson Controls Inc",
        "Train it with LoRA or DoRA on GitHub; LaTeX follows.",
        "The Taylor series and the Kelly criterion",
        "a Martin guitar, a Bloom filter, a Gantt chart",
        "Julia 1.9, Ruby on Rails, Jenkins pipeline failed",
        "class Martin(Base): pass",
        "import Jasper; from pandas import Series",
        "https://x.example/Users/JohnSmith @JohnSmith #JohnSmith",
        "JOHN+NEWS@x.example",
        "the transfer to an account wasn't allowed",
        "int sign_file(const char* path, unsigned char *blk)",
        "i liked the idea of writing a song about it",
        "we had a rose garden and a bill to pay",
        "Product Name: Summer Dress",
        "file name: Report Final",
        "Order Summary: Total Due",
        "User: May I change it?",
        "Sunday Monday January",
        "Mount Everest, San Jose and Los Angeles",
        "Thomas Cook Group plc",
        "Priority: normal\n\nChecksum mismatch",
        "Kafka Streams, Cassandra and Splunk",
        "Madison, Jackson and Lincoln are all state capitals.",
        "the city's Martin Luther King Jr. Boulevard",
        "Ivy Cottage, Quill & Fern, Payee IBAN",
    ],
)
def test_capitals_that_are_no_name(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("안녕하세요 김민준 고객님", "김민준"),
        ("담당자: 최우혁", "최우혁"),
        ("홍길동 드림", "홍길동"),
        ("남궁민수 씨가 전화했다", "남궁민수"),
        ("저는 정유미라고 합니다", "정유미"),
        ('{"이름": "김도윤", "나이": 30}', "김도윤"),
        ("성명: 이 순신", "이 순신"),
        ("이 력 서\n성    명 : 박 말순  (한자 생략)", "박 말순"),
        ("김철수(010-1234-5678)", "김철수"),
        ("유관순 <yu@x.example>", "유관순"),
        ("김영희에게 전달해 주세요", "김영희"),
        ("지훈님이 보내셨어요", "지훈"),
        ("예금주 황보관우", "황보관우"),
        ("신청인: 노아름", "노아름"),
        ("user=박찬호 action=login", "박찬호"),
        ("INFO 실명인증 요청 name=설솔 rrn=확인", "설솔"),
        ("[최복동] [오후 2:23] 사진 보내드렸어요", "최복동"),
        ("2025년 1월 2일 오후 9:06, 지말순 : 안녕", "지말순"),
        ("연하은 | 08:50 | 회비 보냈어요", "연하은"),
        ("성명(한글) 조남준  (영문)", "조남준"),
        ("(예금주 오현서) 입니다", "오현서"),
        ("대표자명 라말순\n", "라말순"),
        ("\"예금주\":\"경현서\"", "경현서"),
        ("작성자: 유옥분 | 조회 131", "유옥분"),
        ("성명 신점례 (인)", "신점례"),
        ("기자 손석희", "손석희"),
        ("성 명(한글): 맹봉구", "맹봉구"),
        ("수취인 함준 IBAN CH77", "함준"),
        ("저는 제옥순이고 서울에 살아요", "제옥순"),
        ("안녕하세요, 한울회계법인 진이서입니다.", "진이서"),
        ("audit: user 제혜진 updated the record", "제혜진"),
        ("세대주: 데이비드 존슨", "데이비드 존슨"),
        ("신청인 쩐 반 민 (서명 또는 인)", "쩐 반 민"),
        ("From: 라흐만 칸 <khan@x.example>", "라흐만 칸"),
        ("엘레나 코왈스키 드림", "엘레나 코왈스키"),
        ("마리아님 안녕하세요", "마리아"),
        ("수신: 한지민 과장님", "한지민"),
    ],
)  # fmt: skip
def test_a_name_in_hangul(text: str, expected: str) -> None:
    assert found(text) == [expected]


def test_names_in_a_list_share_the_label() -> None:
    assert found("참석자: 한세영, 송진우, 오강인\n") == ["한세영", "송진우", "오강인"]


def test_a_speaker_of_a_chat_is_one_in_every_line() -> None:
    assert found("제소연: 확인해 줘\n나: 응\n제소연: 고마워") == ["제소연", "제소연"]


def test_a_name_found_once_is_found_again() -> None:
    assert found("예금주: 기별희\n기별희에게 보내 주세요") == ["기별희", "기별희"]


@pytest.mark.parametrize(
    "text",
    [
        "변수명이랑 함수명은 영어로",
        "전 바보입니다",
        "수령인,이메일,주소",
        "정답: 3\n정답: 4",
        "고객님 안녕하세요",
        "기사님이 오셨어요",
        "정수기 필터 교체",
        "이미지 파일을 첨부합니다",
        "고객: 이상한 소리가 나요",
        "고객: 정수기 고장이요",
        "상담원: 주문 내역을 확인하겠습니다",
        "저는 한국인입니다",
        "제 이름은 비밀입니다",
        "신청인 주소 확인",
        "최신 버전입니다",
        "예비 부자님 파이팅!",
        "신규 회원님, 우수 고객님",
        "전기 요금이 많이 나왔어요",
        "예금주 성명 확인",
        "문의 드립니다",
        "부탁드립니다. 경우에 따라 예약됩니다.",
        "서울 강남구",
        "이 지원금은 한 명이 받는다",
    ],
)
def test_hangul_that_is_no_name(text: str) -> None:
    assert found(text) == []
