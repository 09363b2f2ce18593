"""What is an e-mail address, plain or with its signs spelled, and what only looks like one."""

import pytest

from llm_flywheel.components.scan_pii.fold import fold
from llm_flywheel.components.scan_pii.rules import email, obfuscated
from llm_flywheel.components.scan_pii.spans import resolve


def found(text: str) -> list[tuple[str, str]]:
    view = fold(text).text
    return [(span.type, text[span.start : span.end]) for span in resolve([*email.find(view), *obfuscated.find(view)])]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Contact JOHN.DOE+tag@Example.CO.UK, thanks", "JOHN.DOE+tag@Example.CO.UK"),
        ("이메일은foo@bar.com으로 보내주세요", "foo@bar.com"),
        ("GET /login?email=john%40example.com&x=1", "john%40example.com"),
        ("https://x.com/u/john%40example.com", "john%40example.com"),
        (r"Thanks,\nfoo@bar.com\n", "foo@bar.com"),
        ("write to foo@bar.com.Please do", "foo@bar.com"),
        ("müller@exämple.de schrieb", "müller@exämple.de"),
        ("ｕｓｅｒ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ｕｓｅｒ＠ｅｘａｍｐｌｅ．ｃｏｍ"),
        ("hong＠naver．com으로", "hong＠naver．com"),
        ("user@163.com", "user@163.com"),
        ("mailto:john@x.com?subject=a", "john@x.com"),
        ("John <john@x.com>", "john@x.com"),
        ('"john doe"@example.com', '"john doe"@example.com'),
        ("홍길동@회사.한국으로", "홍길동@회사.한국"),
        ("info@한국.kr은", "info@한국.kr"),
        ("иван@почта.рф", "иван@почта.рф"),
        ("user@xn--9n2bp8q.xn--9t4b11yi5a", "user@xn--9n2bp8q.xn--9t4b11yi5a"),
        ("o'brien@x.ie,", "o'brien@x.ie"),
        ("'foo@bar.com'", "foo@bar.com"),
        ("foo@bar.com(담당자)", "foo@bar.com"),
        ("a_b-c@mail.dept.x-y.io.", "a_b-c@mail.dept.x-y.io"),
        ("john@example.com:8080", "john@example.com"),
        ("john.doe@corp.local", "john.doe@corp.local"),
        ('{"email":"foo@bar.com"}', "foo@bar.com"),
        ("id,foo@bar.com,kim", "foo@bar.com"),
        ("**foo@bar.com**", "foo@bar.com"),
        ("john&#64;example.com", "john&#64;example.com"),
    ],
)
def test_address_is_found_without_its_surroundings(text: str, address: str) -> None:
    assert found(text) == [("EMAIL", address)]


@pytest.mark.parametrize(
    "text",
    ["icon@2x.png", "lodash@4.17.21", "pkg@1.2.3", "react@18.0.0-rc.beta", "@types/node@20.1.0", "root@localhost",
    "@here",
     "git@github.com:a/b.git", "deploy@10.0.0.1", "@john on twitter", "https://medium.com/@user.name", "a@b", "x@y.z",
     "kim@masked.invalid",
     "https://user@host.com/x", "postgres://user:password@db.example.com/x", "@app.route", "foo@bar..com", "20@30.5"],
)  # fmt: skip
def test_file_package_host_and_handle_are_no_address(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "address",
    ["john at example dot com", "john [at] example [dot] com", "john(at)example(dot)com", "john AT example DOT com",
     "john{at}example.com", "john_AT_example_DOT_com", "john <at> example <dot> com", "john (@) example.com",
     "john -at- example -dot- com", "john *at* example *dot* com", "john dot doe at mail dot example dot co dot uk",
     "hong 골뱅이 naver 점 com", "hong 골뱅이 naver.com", "hong[골뱅이]naver[쩜]com", "hong골뱅이naver닷컴",
     "hong 골뱅이 네이버 점 컴", "hong골뱅이네이버닷컴", "hong @ naver . com", "hong @ naver.com",
     "kim.minsu[at]naver[dot]com", "h.vargas at papercraft dot studio", "s.kovacs AT vela DOT systems",
     "elegar5440 (at) tallgrass.energy", "h.fitzgerald @ papercraft . studio", "linnor4386[at]acme[dot]technology",
     "john@gmail dot com", "john@gmail[.]com", "john[@]gmail[.]com", "john @gmail.com", "john@ gmail.com",
     "hong앳네이버닷컴", "hong@naver닷컴", "john plus tag at gmail dot com", "ban.mijeong @ hanbit-lab.co.kr",
     "hong @ acme.io", "kim99&lt;at&gt;acme.com"],
)  # fmt: skip
def test_spelled_address_is_found_before_a_particle(address: str) -> None:
    assert found(f"제 메일: {address}으로 주세요") == [("EMAIL_OBFUSCATED", address)]


@pytest.mark.parametrize(
    "text",
    ["meet me at example.com", "look at dot com boom", "sale at amazon.com", "stay-at-home.com", "look_at_me.com",
     "the dot com boom at the dot com party", "find us at the example dot com site", "we met at noon. Come",
     "me @ noon. compare",
     "골뱅이 무침이 맛있어요. naver.com", "3 @ $5.99 . common", "see example dot com", "dinner at eight dot",
     "arrived at polka dot dresses", "we stayed at the red dot design museum", "rent @ 500 . net 30",
     "array[at].value", "list[at]items.count", "follow us @naver.com",
     "Engineer @ stripe.com since 2020", "we stay @ hotel.com"],
)  # fmt: skip
def test_prose_with_an_at_is_no_address(text: str) -> None:
    assert found(text) == []
