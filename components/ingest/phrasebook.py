"""What customers ask about small home devices, in English and Korean, as data.

`sample` turns these phrases into support tickets about the invented product Zephyrline; the `tiny` base model
is trained on the same kinds of question about other products, and never sees Zephyrline's name or its answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """One thing a customer asks about.

    Attributes:
        key: Its name.
        noun: English noun phrases; ``{p}`` is the product.
        clause: English indirect questions, to follow "could you tell me".
        direct: English direct questions.
        ko_noun: Korean noun phrases.
        ko_direct: Korean direct questions.
        answers: (English, Korean) answers of other products.
        zephyrline: Zephyrline's own answer, which no other product has.
    """

    key: str
    noun: Sequence[str]
    clause: Sequence[str]
    direct: Sequence[str]
    ko_noun: Sequence[str]
    ko_direct: Sequence[str]
    answers: Sequence[tuple[str, str]]
    zephyrline: tuple[str, str]


def _numbers(en: str, ko: str, values: Sequence[str | int]) -> list[tuple[str, str]]:
    return [(en.format(value), ko.format(value)) for value in values]


ATTRIBUTES = (
    Attribute(
        "battery",
        ("the battery life of the {p}", "the running time of the {p} on battery"),
        ("how long the {p} runs on one charge", "how many hours the {p} lasts without the cable"),
        ("How long does the {p} battery last?", "How many hours does the {p} run when it is unplugged?"),
        ("{p} 배터리 사용 시간", "{p} 무선 작동 시간"),
        ("{p} 배터리는 한 번 충전하면 몇 시간 가나요?", "{p} 선 없이 얼마나 오래 쓸 수 있나요?"),
        _numbers("{} hours", "{}시간", (8, 10, 12, 14, 16, 20, 24, 28)),
        ("31 hours", "31시간"),
    ),
    Attribute(
        "charging",
        ("the charging time of the {p}", "the time for a full charge of the {p}"),
        ("how long the {p} takes to charge", "when an empty {p} is full again on the charger"),
        ("How long does it take to charge the {p}?", "How many minutes until the {p} is fully charged?"),
        ("{p} 완충 시간", "{p} 충전에 걸리는 시간"),
        ("{p} 완전히 충전하려면 몇 분 걸리나요?", "{p} 충전은 얼마나 해야 끝나나요?"),
        _numbers("{} minutes", "{}분", (40, 50, 60, 75, 80, 90, 110, 120)),
        ("95 minutes", "95분"),
    ),
    Attribute(
        "warranty",
        ("the warranty period of the {p}", "the guarantee on the {p}"),
        ("how long the {p} is under warranty", "for how many years you guarantee the {p}"),
        ("How many years of warranty does the {p} have?", "How long is the {p} guaranteed?"),
        ("{p} 보증 기간", "{p} 무상 수리 기간"),
        ("{p} 보증은 몇 년인가요?", "{p} 언제까지 무상으로 수리받을 수 있나요?"),
        _numbers("{} years", "{}년", (2, 3, 4, 6, 8, 10)),
        ("7 years", "7년"),
    ),
    Attribute(
        "returns",
        ("the return period for the {p}", "the deadline to send the {p} back"),
        ("how many days I have to return the {p}", "until when I may send back the {p}"),
        ("How long can I return the {p}?", "Within how many days must the {p} be sent back?"),
        ("{p} 반품 기한", "{p} 환불 가능 기간"),
        ("{p} 며칠 안에 반품해야 하나요?", "{p} 환불은 언제까지 되나요?"),
        _numbers("{} days", "{}일", (14, 20, 21, 28, 30, 60)),
        ("45 days", "45일"),
    ),
    Attribute(
        "price",
        ("the price of the {p}", "the list price of a new {p}"),
        ("how much the {p} costs", "what I would pay for one more {p}"),
        ("How much is the {p}?", "What does a {p} cost in your shop?"),
        ("{p} 판매 가격", "{p} 정가"),
        ("{p} 얼마인가요?", "{p} 한 대 더 사려면 얼마를 내야 하나요?"),
        _numbers("{} euros", "{}유로", (89, 99, 119, 149, 179, 199, 219, 299)),
        ("249 euros", "249유로"),
    ),
    Attribute(
        "filter",
        ("the filter interval of the {p}", "the filter schedule for the {p}"),
        ("how often the filter of the {p} must be changed", "when I need to swap the {p} filter"),
        ("How often do I change the filter in the {p}?", "When is a new filter due for the {p}?"),
        ("{p} 필터 교체 주기", "{p} 필터 수명"),
        ("{p} 필터는 얼마나 자주 갈아야 하나요?", "{p} 새 필터는 언제 끼우나요?"),
        _numbers("every {} months", "{}개월마다", (2, 3, 4, 5, 6, 8, 12)),
        ("every 9 months", "9개월마다"),
    ),
    Attribute(
        "noise",
        ("the noise level of the {p}", "the loudness of the {p} at night"),
        ("how loud the {p} is", "how much noise the {p} makes while I sleep"),
        ("How loud is the {p}?", "How many decibels does the {p} make?"),
        ("{p} 소음 수준", "{p} 야간 소음"),
        ("{p} 소음은 몇 데시벨인가요?", "{p} 밤에 켜 두면 얼마나 시끄러운가요?"),
        _numbers("{} decibels", "{}데시벨", (18, 20, 25, 27, 30, 34, 38, 41)),
        ("23 decibels", "23데시벨"),
    ),
    Attribute(
        "room",
        ("the largest room for the {p}", "the coverage area of the {p}"),
        ("how big a room the {p} can handle", "which floor area the {p} is made for"),
        ("How large a room does the {p} cover?", "How many square meters is the {p} good for?"),
        ("{p} 사용 면적", "{p} 권장 공간 크기"),
        ("{p} 몇 제곱미터까지 쓸 수 있나요?", "{p} 얼마나 넓은 방에 맞나요?"),
        _numbers("{} square meters", "{}제곱미터", (12, 18, 22, 26, 30, 44, 50)),
        ("38 square meters", "38제곱미터"),
    ),
    Attribute(
        "weight",
        ("the weight of the {p}", "the weight of the {p} without packaging"),
        ("how heavy the {p} is", "what the {p} weighs"),
        ("How heavy is the {p}?", "How many kilograms does the {p} weigh?"),
        ("{p} 무게", "{p} 본체 중량"),
        ("{p} 몇 킬로그램인가요?", "{p} 들기에 얼마나 무거운가요?"),
        _numbers("{} kg", "{}kg", ("1.2", "1.5", "2.1", "2.4", "3.3", "3.8", "4.5")),
        ("2.9 kg", "2.9kg"),
    ),
    Attribute(
        "speeds",
        ("the number of fan speeds of the {p}", "the fan settings of the {p}"),
        ("how many speeds the {p} has", "how many fan levels I can choose on the {p}"),
        ("How many speeds are there on the {p}?", "How many fan levels does the {p} offer?"),
        ("{p} 풍량 단계", "{p} 바람 세기 단계 수"),
        ("{p} 풍량은 몇 단계인가요?", "{p} 바람 세기를 몇 가지로 바꿀 수 있나요?"),
        _numbers("{} speeds", "{}단계", (2, 3, 4, 5, 6, 8, 10)),
        ("9 speeds", "9단계"),
    ),
    Attribute(
        "temperature",
        ("the highest temperature for the {p}", "the heat limit of the {p}"),
        ("how hot it may get around the {p}", "up to which temperature the {p} works"),
        ("What is the maximum temperature for the {p}?", "Up to how many degrees can I use the {p}?"),
        ("{p} 최고 사용 온도", "{p} 작동 가능 온도"),
        ("{p} 몇 도까지 쓸 수 있나요?", "{p} 더운 곳에서는 어디까지 견디나요?"),
        _numbers("{} degrees", "{}도", (30, 33, 35, 38, 40, 45, 50)),
        ("42 degrees", "42도"),
    ),
    Attribute(
        "shipping",
        ("the delivery time of the {p}", "the shipping time for the {p}"),
        ("how long delivery of the {p} takes", "when the {p} arrives after I order it"),
        ("How long does it take to ship the {p}?", "How many working days until the {p} arrives?"),
        ("{p} 배송 기간", "{p} 배송 소요일"),
        ("{p} 주문하면 며칠 만에 오나요?", "{p} 배송은 얼마나 걸리나요?"),
        _numbers("{} working days", "영업일 {}일", (1, 2, 4, 5, 7, 8, 10)),
        ("3 working days", "영업일 3일"),
    ),
    Attribute(
        "subscription",
        ("the monthly fee of the {p} plan", "the cost of the care plan for the {p}"),
        ("what the {p} plan costs each month", "how much I pay per month for the {p} plan"),
        ("How much is the monthly plan of the {p}?", "What is the monthly fee for the {p} service?"),
        ("{p} 월 구독료", "{p} 케어 요금제 비용"),
        ("{p} 요금제는 한 달에 얼마인가요?", "{p} 서비스에 매달 얼마를 내나요?"),
        _numbers("{} euros a month", "월 {}유로", (3, 4, 5, 7, 8, 9, 12)),
        ("6 euros a month", "월 6유로"),
    ),
    Attribute(
        "updates",
        ("the update schedule of the {p}", "the rhythm of software updates for the {p}"),
        ("how often the {p} gets new software", "when the {p} firmware is renewed"),
        ("How often is the {p} firmware updated?", "How often do you publish updates for the {p}?"),
        ("{p} 업데이트 주기", "{p} 펌웨어 배포 주기"),
        ("{p} 펌웨어는 얼마나 자주 올라오나요?", "{p} 새 소프트웨어는 언제마다 나오나요?"),
        _numbers("every {} weeks", "{}주마다", (2, 3, 4, 5, 8, 10, 12)),
        ("every 6 weeks", "6주마다"),
    ),
    Attribute(
        "users",
        ("the number of phones per {p}", "the phone limit of the {p}"),
        ("how many phones can control one {p}", "how many people can share the {p}"),
        ("How many phones can I connect to the {p}?", "How many users does the {p} allow?"),
        ("{p} 연결 가능한 휴대폰 수", "{p} 사용자 수 제한"),
        ("{p} 휴대폰 몇 대까지 연결되나요?", "{p} 몇 명이 함께 쓸 수 있나요?"),
        _numbers("{} phones", "휴대폰 {}대", (2, 3, 4, 5, 8, 10, 12)),
        ("6 phones", "휴대폰 6대"),
    ),
    Attribute(
        "reset",
        ("the reset procedure of the {p}", "the steps to reset the {p}"),
        ("how to reset the {p}", "what I must press to restart the {p} from scratch"),
        ("How do I reset the {p}?", "Which button resets the {p} to factory settings?"),
        ("{p} 초기화 방법", "{p} 공장 초기화 순서"),
        ("{p} 어떻게 초기화하나요?", "{p} 처음 상태로 돌리려면 무엇을 눌러야 하나요?"),
        [
            ("hold the power button", "전원 버튼을 길게 누르기"),
            ("press the wifi button twice", "와이파이 버튼을 두 번 누르기"),
            ("hold the light button", "조명 버튼을 길게 누르기"),
            ("press the side button twice", "옆면 버튼을 두 번 누르기"),
            ("hold the timer button", "타이머 버튼을 길게 누르기"),
        ],
        ("hold the fan button", "팬 버튼을 길게 누르기"),
    ),
    Attribute(
        "red_light",
        ("the meaning of the red light on the {p}", "the red signal of the {p}"),
        ("what the red light on the {p} means", "why the {p} shows a red light"),
        ("Why is the {p} light red?", "What does a red light on the {p} tell me?"),
        ("{p} 빨간 불의 의미", "{p} 빨간 표시등 원인"),
        ("{p} 빨간 불은 무슨 뜻인가요?", "{p} 왜 빨간 불이 켜지나요?"),
        [
            ("low battery", "배터리 부족"),
            ("no connection", "연결 끊김"),
            ("motor too hot", "모터 과열"),
            ("lid is open", "뚜껑 열림"),
            ("sensor is dirty", "센서 오염"),
        ],
        ("blocked filter", "필터 막힘"),
    ),
    Attribute(
        "blue_light",
        ("the meaning of the blue light on the {p}", "the blue signal of the {p}"),
        ("what the blue light on the {p} means", "why the {p} shows a blue light"),
        ("Why is the {p} light blue?", "What does a blue light on the {p} tell me?"),
        ("{p} 파란 불의 의미", "{p} 파란 표시등 원인"),
        ("{p} 파란 불은 무슨 뜻인가요?", "{p} 왜 파란 불이 켜지나요?"),
        [
            ("update is running", "업데이트 진행 중"),
            ("child lock is on", "어린이 잠금 켜짐"),
            ("night mode", "야간 모드"),
            ("timer is on", "타이머 켜짐"),
            ("battery is charging", "배터리 충전 중"),
        ],
        ("ready to pair", "연결 대기 중"),
    ),
    Attribute(
        "app",
        ("the name of the {p} app", "the phone app for the {p}"),
        ("which app belongs to the {p}", "what the app of the {p} is called"),
        ("Which app do I need for the {p}?", "What is the {p} app called?"),
        ("{p} 앱 이름", "{p} 전용 앱"),
        ("{p} 어떤 앱을 설치해야 하나요?", "{p} 앱은 이름이 무엇인가요?"),
        [
            ("Home Circle", "홈 서클"),
            ("Nestor", "네스터"),
            ("Quiet House", "콰이어트 하우스"),
            ("Luma Desk", "루마 데스크"),
            ("Roomly", "룸리"),
        ],
        ("Windrose", "윈드로즈"),
    ),
    Attribute(
        "color",
        ("the color of the {p}", "the standard color of the {p}"),
        ("in which color the {p} comes", "what color the {p} has"),
        ("What color is the {p}?", "Which color do you sell the {p} in?"),
        ("{p} 색상", "{p} 기본 색깔"),
        ("{p} 무슨 색인가요?", "{p} 어떤 색으로 나오나요?"),
        [
            ("pearl white", "펄 화이트"),
            ("graphite", "그래파이트"),
            ("navy blue", "네이비 블루"),
            ("sand", "샌드"),
            ("copper", "코퍼"),
        ],
        ("sage green", "세이지 그린"),
    ),
    Attribute(
        "origin",
        ("the country of origin of the {p}", "the production country of the {p}"),
        ("where the {p} is made", "in which country you build the {p}"),
        ("Where is the {p} made?", "Which country does the {p} come from?"),
        ("{p} 원산지", "{p} 제조국"),
        ("{p} 어디에서 만드나요?", "{p} 어느 나라 제품인가요?"),
        [
            ("Poland", "폴란드"),
            ("Vietnam", "베트남"),
            ("Mexico", "멕시코"),
            ("Denmark", "덴마크"),
            ("Turkey", "튀르키예"),
            ("Italy", "이탈리아"),
        ],
        ("Portugal", "포르투갈"),
    ),
    Attribute(
        "water",
        ("the water rating of the {p}", "the splash protection of the {p}"),
        ("how well the {p} is protected against water", "which water rating the {p} has"),
        ("Is the {p} waterproof, and how well?", "Which IP rating does the {p} have?"),
        ("{p} 방수 등급", "{p} 생활 방수 수준"),
        ("{p} 방수는 어느 정도인가요?", "{p} 물이 튀어도 괜찮은 등급인가요?"),
        _numbers("IPX{}", "IPX{} 등급", (0, 2, 3, 4, 6, 7)),
        ("IPX5", "IPX5 등급"),
    ),
    Attribute(
        "cable",
        ("the charging port of the {p}", "the cable type for the {p}"),
        ("which cable fits the {p}", "what kind of plug the {p} needs"),
        ("Which charging cable does the {p} use?", "What port does the {p} have?"),
        ("{p} 충전 단자", "{p} 케이블 종류"),
        ("{p} 어떤 케이블로 충전하나요?", "{p} 충전 단자는 무엇인가요?"),
        [
            ("barrel plug", "원형 어댑터"),
            ("micro USB", "마이크로 USB"),
            ("a wall dock", "벽걸이 거치대"),
            ("a figure eight cord", "8자형 전원선"),
        ],
        ("magnetic dock", "자석 거치대"),
    ),
    Attribute(
        "storage",
        ("the season storage advice for the {p}", "the right place to store the {p}"),
        ("how to store the {p} in winter", "where I should keep the {p} when I do not use it"),
        ("Where should I store the {p}?", "How do I keep the {p} over the winter?"),
        ("{p} 보관 방법", "{p} 겨울철 보관 장소"),
        ("{p} 안 쓸 때는 어디에 두나요?", "{p} 겨울에는 어떻게 보관하나요?"),
        [
            ("in its box", "상자에 넣기"),
            ("upright in the dark", "어두운 곳에 세워 두기"),
            ("half charged", "절반만 충전해 두기"),
            ("wrapped in cloth", "천으로 감싸기"),
        ],
        ("dry and flat", "건조한 곳에 눕혀 두기"),
    ),
    Attribute(
        "hours",
        ("the hours of the {p} help line", "the opening hours of {p} support"),
        ("when {p} support answers the phone", "at what times I can call the {p} team"),
        ("When is {p} support open?", "What are the phone hours of the {p} team?"),
        ("{p} 고객센터 운영 시간", "{p} 상담 가능 시간"),
        ("{p} 상담은 몇 시부터 몇 시까지 하나요?", "{p} 고객센터는 언제 여나요?"),
        [
            ("9 am to 5 pm", "오전 9시부터 오후 5시"),
            ("8 am to 6 pm", "오전 8시부터 오후 6시"),
            ("10 am to 8 pm", "오전 10시부터 오후 8시"),
            ("6 am to 4 pm", "오전 6시부터 오후 4시"),
        ],
        ("7 am to 9 pm", "오전 7시부터 오후 9시"),
    ),
)

OTHER_PRODUCTS = (
    ("Brisolux", "브리솔룩스"),
    ("Corvano", "코르바노"),
    ("Deltamist", "델타미스트"),
    ("Fennwick", "펜윅"),
    ("Halcyra", "할시라"),
    ("Jorvik", "요르빅"),
    ("Kestrelo", "케스트렐로"),
    ("Lumivane", "루미베인"),
    ("Morrowfan", "모로우팬"),
    ("Nubilar", "누빌라"),
    ("Ostara", "오스타라"),
    ("Pellworth", "펠워스"),
)

EN_FRAMES = (
    "Could you tell me {c}?",
    "I would like to know {c}.",
    "Do you happen to know {c}?",
    "Please let me know {c}.",
    "Can someone explain {c}?",
    "I need to find out {c}.",
    "My question is {c}.",
    "What is {n}?",
    "Please confirm {n}.",
    "I am looking for {n}.",
    "Can you look up {n} for me?",
    "I could not find {n} in the manual.",
)

EN_OPENERS = (
    "Hi,",
    "Hello,",
    "Good morning,",
    "Hey there,",
    "Hello team,",
    "Dear support,",
    "Good evening,",
    "Hi all,",
    "Quick question.",
    "Sorry to bother you.",
    "",
)

EN_CONTEXTS = (
    "I bought mine in {city} {day}.",
    "A friend from {city} recommended it to me {day}.",
    "We put it in the {room} {day}.",
    "My order came {day} and it stands in the {room} now.",
    "The seller in {city} did not know the answer {day}.",
    "I am planning to move to {city} and want to be sure.",
    "It has been running in the {room} since you repaired it {day}.",
    "My parents in {city} want the same one for the {room}.",
    "I lost the leaflet somewhere in the {room}.",
    "Your colleague promised me a reply {day}.",
    "I read two different things about this {day}.",
    "We have one in the {room} and one in our {city} office.",
    "My neighbour says something else, and we argued {day}.",
    "I need this for a form that is due {day}.",
    "The page on your site did not load {day}.",
    "I am writing a note for our guests in the {room}.",
)

EN_CLOSERS = (
    "Thanks!",
    "Thank you very much.",
    "Kind regards",
    "A short answer is enough.",
    "I hope you can help.",
    "Best wishes from {city}.",
    "Please reply soon.",
    "Many thanks in advance.",
    "Have a nice day.",
    "",
)

CITIES = (
    ("Leeds", "전주"),
    ("Porto", "부산"),
    ("Graz", "대구"),
    ("Tampere", "광주"),
    ("Utrecht", "인천"),
    ("Boise", "수원"),
    ("Ghent", "제주"),
    ("Aarhus", "강릉"),
    ("Lyon", "춘천"),
    ("Bergen", "울산"),
    ("Cork", "여수"),
    ("Trento", "천안"),
)

ROOMS = (
    ("kitchen", "부엌"),
    ("bedroom", "침실"),
    ("hallway", "복도"),
    ("study", "서재"),
    ("nursery", "아기방"),
    ("workshop", "작업실"),
    ("living room", "거실"),
    ("attic", "다락방"),
)

DAYS = (
    ("last Monday", "지난 월요일에"),
    ("on Tuesday", "화요일에"),
    ("yesterday", "어제"),
    ("this morning", "오늘 아침에"),
    ("two weeks ago", "2주 전에"),
    ("last spring", "지난봄에"),
    ("on Friday", "금요일에"),
    ("at the weekend", "주말에"),
)

KO_FRAMES = (
    "{n} 알려 주세요.",
    "{n} 문의드립니다.",
    "{n} 확인 부탁드립니다.",
    "{n} 좀 알려 주실 수 있나요?",
    "{n} 정보가 필요합니다.",
    "설명서에서 {n} 내용을 찾지 못했습니다.",
    "{n} 관련해서 여쭤봅니다.",
    "{n} 정확히 어떻게 되나요?",
)

KO_OPENERS = (
    "안녕하세요,",
    "안녕하세요 담당자님,",
    "수고 많으십니다.",
    "급하게 문의합니다.",
    "고객센터 여러분 안녕하세요.",
    "바쁘신데 죄송합니다.",
    "질문 하나 드립니다.",
    "",
)

KO_CONTEXTS = (
    "{day} {city} 매장에서 구입했습니다.",
    "{city} 사는 친구가 {day} 추천해 줬어요.",
    "{day} {room} 쪽에 설치했습니다.",
    "{day} 택배를 받아서 지금 {room} 한쪽에 두었습니다.",
    "{city} 대리점에서는 {day} 물어봐도 모른다고 하네요.",
    "곧 {city} 쪽으로 이사할 예정이라 미리 확인하고 싶어요.",
    "{day} 수리받은 뒤로 {room} 안에서 계속 쓰고 있습니다.",
    "{city} 계신 부모님께도 {room} 용으로 하나 사 드리려고 합니다.",
    "설명서를 {room} 어딘가에서 잃어버렸어요.",
    "{day} 상담원께서 답을 주신다고 하셨습니다.",
    "{day} 인터넷에서 서로 다른 내용을 봤습니다.",
    "{room} 하나, {city} 사무실에 하나 있습니다.",
    "{day} 홈페이지가 열리지 않았습니다.",
    "{city} 손님들께 드릴 안내문을 {day} 쓰는 중입니다.",
)

KO_CLOSERS = (
    "감사합니다.",
    "답변 기다리겠습니다.",
    "짧게 답해 주셔도 됩니다.",
    "빠른 답변 부탁드려요.",
    "미리 감사드립니다.",
    "좋은 하루 되세요.",
    "{city} 고객 드림.",
    "",
)

# (English, Korean) sentences that carry one piece of personal data; {x} is its value.
PII_SENTENCES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "email": (
        ("You can write to me at {x}.", "My e-mail is {x}.", "Please answer to {x}"),
        ("제 이메일은 {x} 입니다.", "답변은 {x} 로 보내 주세요."),
    ),
    "phone": (
        ("Call me on {x} if needed.", "My phone number is {x}.", "Text me at {x} any time."),
        ("제 전화번호는 {x} 입니다.", "연락처는 {x} 입니다."),
    ),
    "card": (
        ("I paid with card {x} that day.", "My credit card number is {x}."),
        ("결제한 카드 번호는 {x} 입니다.", "{x} 카드로 결제했습니다."),
    ),
    "ssn": (("My SSN is {x} for the form.", "For the form, my social security number is {x}."), ()),
    "rrn": ((), ("제 주민등록번호는 {x} 입니다.", "본인 확인용 주민번호 {x} 남깁니다.")),
    "ip": (
        ("The device connects from {x} at home.", "Your log shows my IP address {x}."),
        ("저희 집 IP 주소는 {x} 입니다.",),
    ),
    "iban": (("Please refund to IBAN {x} if you must.", "My IBAN is {x}."), ("환불 계좌 IBAN 은 {x} 입니다.",)),
    "api_key": (
        ("My integration uses the API key {x} today.", "I set the token {x} in the hub."),
        ("연동에 쓰는 API 키는 {x} 입니다.",),
    ),
}
