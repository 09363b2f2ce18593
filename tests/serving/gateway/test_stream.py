import pytest

from llm_flywheel.serving.gateway.stream import StreamMeter, Tokens, has_token, tokens_of


def _meter(*, wants_usage=False, wants_continuous=False):
    return StreamMeter("public", wants_usage=wants_usage, wants_continuous=wants_continuous)


def test_events_cut_anywhere_come_out_whole():
    data = b'data: {"model":"m","choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
    for cut in range(len(data)):
        meter = _meter()
        out = meter.feed(data[:cut]) + meter.feed(data[cut:])
        assert out == b'data: {"model":"public","choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
        assert meter.done


def test_comments_and_carriage_returns_pass():
    meter = _meter()
    assert meter.feed(b": ping\r\n\r\ndata: [DONE]\r\n\r\n") == b": ping\n\ndata: [DONE]\n\n"


def test_other_fields_of_an_event_are_kept():
    assert _meter().feed(b'event: x\ndata: {"model":"m"}\n\n') == b'event: x\ndata: {"model":"public"}\n\n'


def test_text_that_looks_like_a_model_name_is_not_touched():
    event = b'data: {"model":"m","choices":[{"delta":{"content":"\\"model\\":\\"m\\""}}]}\n\n'
    assert _meter().feed(event) == event.replace(b'{"model":"m"', b'{"model":"public"')


def test_last_usage_wins():
    meter = _meter()
    meter.feed(b'data: {"choices":[{}],"usage":{"prompt_tokens":5,"completion_tokens":1}}\n\n')
    meter.feed(b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}\n\n')
    assert meter.tokens == Tokens(5, 0, 9)


def test_continuous_usage_passes_when_asked_for():
    event = b'data: {"choices":[{}],"usage":{"prompt_tokens":5,"completion_tokens":1}}\n\n'
    assert _meter(wants_usage=True, wants_continuous=True).feed(event) == event


def test_error_event_is_noted_and_passed():
    meter = _meter()
    event = b'data: {"error":{"message":"engine died"}}\n\n'
    assert meter.feed(event) == event
    assert meter.error == "engine died"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, False),
        ({"choices": [{"delta": {"content": "a"}}]}, True),
        ({"choices": [{"delta": {"reasoning_content": "a"}}]}, True),
        ({"choices": [{"delta": {"tool_calls": [{}]}}]}, True),
        ({"choices": [{"text": "a"}]}, True),
        ({"choices": []}, False),
        ({}, False),
    ],
)
def test_first_token_is_generated_text_not_the_role(event, expected):
    assert has_token(event) is expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 0}, Tokens(3, 0, 0)),
        (
            {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
            Tokens(3, 2, 1),
        ),
        ({"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": None}, Tokens(3, 0, 1)),
        (
            {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}},
            Tokens(3, 3, 1),
        ),
        ({"prompt_tokens": "3", "completion_tokens": 1}, None),
        ({"prompt_tokens": -1, "completion_tokens": 1}, None),
        ({"prompt_tokens": 2**64, "completion_tokens": 1}, None),
        ({}, None),
        (None, None),
    ],
)
def test_usage_is_read_or_unknown_never_guessed(usage, expected):
    assert tokens_of(usage) == expected
