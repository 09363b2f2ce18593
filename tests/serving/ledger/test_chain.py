import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.ledger.chain import GENESIS, canonical_json, next_event, verify_chain

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # RFC 8785, 3.2.2 and appendix B
        (
            {"numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27], "literals": [None, True, False]},
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}',
        ),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740992.0, "9007199254740992"),
        (295147905179352830000.0, "295147905179352830000"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (1e21, "1e+21"),
        (0.000001, "0.000001"),
        (-0.00000123, "-0.00000123"),
        (1e-7, "1e-7"),
        (0.0001, "0.0001"),
        (123456789.125, "123456789.125"),
        # RFC 8785, 3.2.3: keys in order of UTF-16 code units, so an emoji (a surrogate pair) before U+FB33
        ({"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "\r": 4}, '{"\\r":4,"\u20ac":3,"\U0001f600":2,"\ufb33":1}'),
        ('\u20ac$\u000f\nA\'B"\\', '"\u20ac$\\u000f\\nA\'B\\"\\\\"'),
    ],
)  # fmt: skip
def test_canonical_json(value, expected):
    assert canonical_json(value) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {"a"}, b"x", "\ud800", {"a": object()}])
def test_what_is_not_json_is_refused(value):
    with pytest.raises(FlywheelError) as error:
        canonical_json(value)
    assert error.value.reason == "not_json"


@given(JSON)
def test_canonical_json_is_a_fixed_point(value):
    once = canonical_json(value)
    assert canonical_json(json.loads(once)) == once


def test_hash_is_sha256_over_previous_and_record():
    event = next_event(GENESIS, 1, 1.5, "eva", "promote", "model:m/3", {"b": 1, "a": "x"})

    record = '{"action":"promote","actor":"eva","details":{"a":"x","b":1},"object":"model:m/3","seq":1,"time":1.5}'
    assert event.hash == hashlib.sha256(bytes(32) + record.encode()).hexdigest()
    assert event.previous == "0" * 64


def test_an_empty_chain_is_intact():
    verdict = verify_chain([], 0, GENESIS)
    assert (verdict.ok, verdict.events, verdict.head) == (True, 0, GENESIS)
