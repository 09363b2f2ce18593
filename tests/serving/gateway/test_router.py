"""Routes whose traffic a router splits: it is told what a caller pins, and its answers say who gave them."""

import openai
import pytest

CANARY = {"x-flywheel-variant": "canary"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("version", "variant"), [("1", "stable"), ("2", "canary")])
def test_the_answer_says_which_version_gave_it(start_gateway, routed, upstream, version, variant, stream):
    gateway = start_gateway(routes=routed)
    upstream.version = version

    answer = gateway.chat(stream=stream)

    assert (answer.status_code, answer.headers["x-flywheel-variant"]) == (200, variant)
    assert upstream.headers[0]["Host"] == "support.models.internal"
    assert "x-flywheel-variant" not in upstream.headers[0]
    [row] = gateway.rows()
    assert (row.variant, row.version, row.upstream) == (variant, version, upstream.url)
    assert (row.outcome, row.completion_tokens) == ("ok", 2)


def test_a_pin_is_passed_on_and_the_answer_is_believed(start_gateway, routed, upstream):
    gateway = start_gateway(routes=routed)
    upstream.version = "1"

    assert gateway.chat(headers=CANARY).headers["x-flywheel-variant"] == "stable"

    assert upstream.headers[0]["x-flywheel-variant"] == "canary"
    [row] = gateway.rows()
    assert (row.variant, row.version) == ("stable", "1")


def test_a_variant_that_there_is_not_cannot_be_pinned(start_gateway, routed, upstream):
    gateway = start_gateway(routes=routed)
    answer = gateway.chat(headers={"x-flywheel-variant": "blue"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_variant")
    assert upstream.requests == []


def test_a_version_that_is_no_variant_of_ours_is_metered_as_it_is(start_gateway, routed, upstream):
    gateway = start_gateway(routes=routed)
    upstream.version = "9"
    assert "x-flywheel-variant" not in gateway.chat().headers
    [row] = gateway.rows()
    assert (row.variant, row.version, row.outcome) == ("", "9", "ok")


@pytest.mark.parametrize(
    ("answered", "status", "outcome"),
    [(502, 502, "unavailable"), (503, 503, "unavailable"), (504, 504, "unavailable"), (404, 502, "upstream_error"),
     (400, 400, "upstream_error")],
)  # fmt: skip
def test_what_the_router_says_itself_is_no_variants_fault(start_gateway, routed, upstream, answered, status, outcome):
    gateway = start_gateway(routes=routed)

    answer = gateway.chat(f"status {answered}", headers=CANARY)

    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(f"the router, not a model server, answered {answered}: ")
    [row] = gateway.rows()
    assert (row.variant, row.version, row.outcome, row.status) == ("", "", outcome, status)


def test_what_a_model_server_refuses_is_its_versions(start_gateway, routed, upstream):
    gateway = start_gateway(routes=routed)
    upstream.version = "2"
    assert gateway.chat("status 500").headers["x-flywheel-variant"] == "canary"
    assert gateway.chat("status 400").status_code == 400
    assert [(row.variant, row.version, row.outcome) for row in gateway.rows()] == [
        ("canary", "2", "upstream_error"),
        ("canary", "2", "client_error"),
    ]


def test_a_router_that_is_down_is_named(start_gateway, routed, upstream):
    gateway = start_gateway(routes=routed)
    upstream.stop()
    answer = gateway.chat(headers=CANARY)
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "support cannot be reached")
    [row] = gateway.rows()
    assert (row.variant, row.outcome) == ("", "unavailable")


def test_a_stream_that_breaks_is_its_versions(start_gateway, routed, upstream):
    gateway = start_gateway(routes=routed)
    upstream.version = "2"
    gateway.chat("cut", stream=True)
    [row] = gateway.rows()
    assert (row.variant, row.outcome, row.completion_tokens) == ("canary", "upstream_error", 1)


def test_the_openai_client_sees_no_difference(start_gateway, routed, upstream):
    gateway = start_gateway(routes=routed)
    upstream.version = "1"
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="fk-eva") as client:
        answer = client.chat.completions.create(model="support", messages=[{"role": "user", "content": "hello"}])
    assert (answer.model, answer.choices[0].message.content) == ("support", "Hi there")
