"""The gateway over real sockets: what callers get and what the ledger says about it."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

KEY = "fk-eva"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _events(text: str) -> list[Any]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def test_answer_carries_the_public_model_name_and_the_variant(gateway, upstream):
    answer = gateway.chat(headers={"x-flywheel-variant": "canary"})

    assert answer.status_code == 200
    assert answer.json()["model"] == "support"
    assert answer.json()["choices"][0]["message"]["content"] == "Hi there"
    assert answer.headers["x-flywheel-variant"] == "canary"
    assert upstream.requests[0]["model"] == "support-v2"


def test_usage_row_of_a_whole_answer(gateway, upstream):
    before = time.time()
    answer = gateway.chat(headers={"x-flywheel-variant": "stable"})
    [row] = gateway.rows()

    assert (row.key_id, row.user, row.team) == ("key-1", "eva", "care")
    assert (row.model, row.version, row.variant, row.upstream) == ("support", "1", "stable", upstream.url)
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens) == (10, 4, 2)
    assert row.cost == pytest.approx((6 * 1.0 + 4 * 0.5 + 2 * 2.0) / 1e6)
    assert (row.currency, row.outcome, row.status, row.run_id) == ("EUR", "ok", 200, "run-1")
    assert row.request_id == answer.headers["x-request-id"]
    assert before <= row.time <= time.time()
    assert row.latency_s > 0
    assert row.ttft_s is None


def test_stream_arrives_while_the_upstream_is_still_answering(gateway, upstream):
    body = {"model": "support", "stream": True, "messages": [{"role": "user", "content": "wait"}]}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        first, second = json.loads(next(lines)[6:]), json.loads(next(lines)[6:])
        assert not upstream.finished.is_set()
        upstream.release.set()
        rest = list(lines)

    assert (first["model"], second["choices"][0]["delta"]["content"]) == ("support", "Hi")
    assert rest[-1] == "data: [DONE]"
    [row] = gateway.rows()
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens) == (10, 0, 2)
    assert (row.outcome, row.status) == ("ok", 200)
    assert row.ttft_s is not None
    assert 0 < row.ttft_s < row.latency_s


def test_stream_usage_is_hidden_from_a_caller_who_did_not_ask(gateway, upstream):
    events = _events(gateway.chat(stream=True).text)

    assert upstream.requests[0]["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert [event["choices"] for event in events if not event["choices"]] == []
    assert not any("usage" in event for event in events)
    assert {event["model"] for event in events} == {"support"}


def test_stream_usage_reaches_a_caller_who_asked(gateway):
    events = _events(gateway.chat(stream=True, stream_options={"include_usage": True}).text)

    assert [event["usage"] for event in events[:-1]] == [None, None, None, None]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


def test_aborted_stream_is_metered_and_cancelled_upstream(gateway, upstream):
    body = {"model": "support", "stream": True, "messages": [{"role": "user", "content": "wait"}]}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        next(lines), next(lines)

    assert upstream.cancelled.wait(10)
    [row] = gateway.rows()
    assert (row.outcome, row.status) == ("aborted", 499)
    assert (row.prompt_tokens, row.completion_tokens) == (10, 1)
    assert row.cost == pytest.approx((10 * 1.0 + 1 * 2.0) / 1e6)
    assert row.ttft_s is not None


def test_a_caller_who_hangs_up_at_done_has_got_everything(gateway, upstream):
    body = {"model": "support", "stream": True, "messages": [{"role": "user", "content": "linger"}]}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert "data: [DONE]" in answer.iter_lines()

    assert upstream.cancelled.wait(10)
    [row] = gateway.rows()
    assert (row.outcome, row.status, row.completion_tokens) == ("ok", 200, 2)


def test_aborted_whole_request_is_recorded_and_cancelled_upstream(gateway, upstream):
    with pytest.raises(httpx.ReadTimeout):
        gateway.http.post(
            "/v1/chat/completions",
            json={"model": "support", "messages": [{"role": "user", "content": "wait"}]},
            timeout=httpx.Timeout(10, read=0.5),
        )
    assert upstream.cancelled.wait(10)
    [row] = gateway.rows()
    assert (row.outcome, row.status, row.prompt_tokens, row.cost) == ("aborted", 499, None, None)
    assert row.variant in ("stable", "canary")


def test_upstream_down_is_503_and_recorded_with_its_variant(start_gateway, gateway_config):
    dead = {"url": f"http://127.0.0.1:{_free_port()}", "model": "support-v2", "version": "2", "weight": 20}
    stable = gateway_config["routes"]["support"]["variants"]["stable"]
    gateway = start_gateway(routes={"support": {"variants": {"stable": stable, "canary": dead}}})

    answer = gateway.chat(headers={"x-flywheel-variant": "canary"})

    assert answer.status_code == 503
    assert answer.headers["x-flywheel-variant"] == "canary"
    assert answer.json()["error"] == {
        "message": "the canary variant of support cannot be reached",
        "type": "server_error",
        "param": None,
        "code": "upstream_unavailable",
    }
    [row] = gateway.rows()
    assert (row.outcome, row.status, row.variant, row.version) == ("unavailable", 503, "canary", "2")
    assert row.upstream == dead["url"]


@pytest.mark.parametrize(
    ("upstream_status", "status", "outcome"),
    [
        (400, 400, "client_error"),
        (422, 422, "client_error"),
        (401, 502, "upstream_error"),
        (404, 502, "upstream_error"),  # an adapter that is not loaded is not the caller's mistake
        (408, 504, "timeout"),
        (429, 429, "upstream_error"),
        (500, 500, "upstream_error"),
        (503, 503, "unavailable"),
    ],
)
def test_upstream_refusals(gateway, upstream_status, status, outcome):
    answer = gateway.chat(f"status {upstream_status}")

    assert answer.status_code == status
    assert f"refused with status {upstream_status}" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"] == "7"
    [row] = gateway.rows()
    assert (row.outcome, row.status, row.prompt_tokens) == (outcome, status, None)


def test_upstream_that_drops_the_connection_is_an_upstream_error(gateway):
    assert gateway.chat("break").status_code == 502
    [row] = gateway.rows()
    assert (row.outcome, row.status) == ("upstream_error", 502)


def test_answer_that_is_no_json_is_an_upstream_error(gateway):
    assert gateway.chat("garbage").status_code == 502
    [row] = gateway.rows()
    assert row.outcome == "upstream_error"


def test_stream_that_breaks_ends_with_an_error_event(gateway):
    answer = gateway.chat("cut", stream=True)

    assert _events(answer.text)[-1]["error"]["code"] == "upstream_error"
    assert "[DONE]" not in answer.text
    [row] = gateway.rows()
    assert (row.outcome, row.status, row.completion_tokens) == ("upstream_error", 200, 1)


def test_upstream_that_takes_too_long_is_a_timeout(start_gateway):
    gateway = start_gateway(request_timeout_s=0.3)

    assert gateway.chat("wait").status_code == 504
    [row] = gateway.rows()
    assert (row.outcome, row.status) == ("timeout", 504)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [("", "missing_api_key"), ("Bearer wrong", "invalid_api_key"), (f"Basic {KEY}", "missing_api_key")],
)
def test_unknown_callers_get_401_and_reach_no_upstream(gateway, upstream, authorization, code):
    answer = gateway.chat(headers={"authorization": authorization})

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == code
    assert upstream.requests == []
    [row] = gateway.rows()
    assert (row.outcome, row.status, row.key_id, row.variant) == ("client_error", 401, "", "")


def test_the_callers_key_is_not_passed_on(gateway, upstream):
    gateway.chat()
    assert "authorization" not in {name.lower() for name in upstream.headers[0]}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[1]", 400, "invalid_json"),
        (b'{"messages": []}', 400, "missing_model"),
        (b'{"model": "support", "stream": "yes"}', 400, "invalid_stream"),
        (b'{"model": "other"}', 404, "model_not_found"),
        (b'{"model": "' + b"x" * 2000 + b'"}', 413, "body_too_large"),
    ],
)
def test_wrong_requests_are_refused_in_openai_shape_and_recorded(start_gateway, content, status, code):
    gateway = start_gateway(max_body_bytes=1024)

    answer = gateway.http.post("/v1/chat/completions", content=content)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    [row] = gateway.rows()
    assert (row.outcome, row.status, row.user) == ("client_error", status, "eva")


def test_chunked_body_is_limited_too(start_gateway):
    gateway = start_gateway(max_body_bytes=1024)
    answer = gateway.http.post("/v1/chat/completions", content=iter([b"x" * 600, b"x" * 600]))
    assert answer.status_code == 413


def test_unknown_pin_is_refused(gateway):
    answer = gateway.chat(headers={"x-flywheel-variant": "blue"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_variant")


def test_weights_are_measured_within_binomial_bounds(start_gateway):
    gateway = start_gateway(seed=1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gateway.chat().headers["x-flywheel-variant"], range(500)))

    # Binomial(500, 0.2): mean 100, standard deviation 8.9; four of them on each side.
    assert 64 <= answers.count("canary") <= 136
    rows = gateway.rows()
    assert len(rows) == 500
    assert sum(row.variant == "canary" for row in rows) == answers.count("canary")


def test_a_session_stays_on_its_variant(gateway):
    sessions = [f"session-{number}" for number in range(20)]
    first = [gateway.chat(headers={"x-session-id": name}).headers["x-flywheel-variant"] for name in sessions]
    again = [gateway.chat(headers={"x-session-id": name}).headers["x-flywheel-variant"] for name in sessions]

    assert first == again
    assert set(first) == {"stable", "canary"}


def test_concurrent_requests_do_not_wait_for_each_other(gateway, upstream):
    slow: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: slow.append(gateway.chat("wait")))
    thread.start()
    assert upstream.waiting.wait(10)
    assert gateway.chat("hello").status_code == 200
    assert slow == []
    upstream.release.set()
    thread.join(10)
    assert slow[0].status_code == 200
    assert len(gateway.rows()) == 2


def test_text_completions(gateway, upstream):
    answer = gateway.http.post("/v1/completions", json={"model": "support", "prompt": "hello"})

    assert answer.json()["choices"][0]["text"] == "Hi there"
    [row] = gateway.rows()
    assert row.completion_tokens == 2


def test_models_lists_routes_to_known_callers_only(gateway):
    assert [model["id"] for model in gateway.http.get("/v1/models").json()["data"]] == ["support"]
    assert gateway.http.get("/v1/models", headers={"authorization": "Bearer x"}).status_code == 401


def test_health_unknown_path_and_wrong_method(gateway):
    assert gateway.http.get("/health", headers={"authorization": ""}).json() == {"status": "ok"}
    assert gateway.http.get("/v1/nothing").status_code == 404
    answer = gateway.http.get("/v1/chat/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_usage_is_readable_while_the_gateway_runs(gateway):
    gateway.chat()
    deadline = time.monotonic() + 5
    while not gateway.ledger.usage_between(0, 1e12) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(gateway.ledger.usage_between(0, 1e12)) == 1


def test_openai_client_works(gateway):
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)
    messages: Any = [{"role": "user", "content": "hello"}]

    whole = client.chat.completions.create(model="support", messages=messages)
    chunks = list(client.chat.completions.create(model="support", messages=messages, stream=True))

    assert whole.choices[0].message.content == "Hi there"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 2
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hi there"
    assert [model.id for model in client.models.list()] == ["support"]


def test_openai_client_gets_its_own_exceptions(gateway):
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="this API key is not known"):
        client.chat.completions.create(model="support", messages=[{"role": "user", "content": "hello"}])
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)
    with pytest.raises(openai.NotFoundError, match="the model 'other' does not exist"):
        client.chat.completions.create(model="other", messages=[{"role": "user", "content": "hello"}])
