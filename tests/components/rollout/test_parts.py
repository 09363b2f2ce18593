"""The client, the router and the endpoint description, each against the real other side."""

import json
import time

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.rollout.endpoint import read_endpoint
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.rollout.backend import GatewayBackend
from llm_flywheel.serving.rollout.traffic import Traffic, TrafficConfig, prompt_of

QUESTION = [[{"role": "user", "content": "How long is the warranty?"}, {"role": "assistant", "content": "two years."}]]
NOBODY = "http://127.0.0.1:9"


def test_weights_are_put_in_force_and_read_back(endpoint_url, settings):
    backend = GatewayBackend(endpoint_url, "support", "admin-test", "tester")
    backend.set_weights({"stable": 90, "canary": 10})
    assert backend.weights() == {"stable": 90, "canary": 10}
    with Ledger.open(settings.ledger_url) as ledger:
        *_, event = ledger.audit_events(action="gateway.set_weights")
    assert event.actor == "tester"


def test_an_actor_with_a_korean_name_is_audited_by_it(endpoint_url, settings):
    GatewayBackend(endpoint_url, "support", "admin-test", "김철수 100%").set_weights({"stable": 90, "canary": 10})
    with Ledger.open(settings.ledger_url) as ledger:
        *_, event = ledger.audit_events(action="gateway.set_weights")
    assert event.actor == "김철수 100%"


def test_a_refused_change_says_why(endpoint_url):
    with pytest.raises(FlywheelError, match="must sum to 100"):
        GatewayBackend(endpoint_url, "support", "admin-test").set_weights({"stable": 90, "canary": 20})
    with pytest.raises(FlywheelError, match="status 401"):
        GatewayBackend(endpoint_url, "support", "wrong").weights()


def test_a_dead_router_is_an_error():
    backend = GatewayBackend(NOBODY, "support", "admin-test")
    with pytest.raises(FlywheelError, match="no answer"):
        backend.weights()


def ask(url, config, seconds=5.0, key="fk-test", until=lambda traffic: False):
    started = time.monotonic()
    with Traffic(url, key, "support", QUESTION, config, max_seconds=seconds) as traffic:
        while time.monotonic() - started < seconds and not until(traffic):
            time.sleep(0.02)
    return traffic.stats


def test_the_client_streams_questions_and_pins_some_in_warm_up(endpoint_url, server):
    config = TrafficConfig(requests_per_second=200, max_requests=20, pin_every=4)
    stats = ask(endpoint_url, config, until=lambda traffic: sum(traffic.stats.outcomes.values()) == 20)
    assert (stats.sent, dict(stats.outcomes), stats.error) == (20, {"ok": 20}, "")
    assert dict(stats.variants) == {"canary": 5, "stable": 15}
    assert all(body["stream"] and len(body["messages"]) == 1 for body in server.requests)


def test_every_answer_of_the_client_leaves_a_row_with_a_time_to_first_token(endpoint_url, settings):
    config = TrafficConfig(requests_per_second=200, max_requests=5, pin_every=0)
    ask(endpoint_url + "/v1", config, until=lambda traffic: sum(traffic.stats.outcomes.values()) == 5)
    deadline = time.monotonic() + 10
    with Ledger.open(settings.ledger_url) as ledger:
        while len(rows := ledger.usage_between(0, 1e12)) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert [row.variant for row in rows] == ["stable"] * 5
    assert all(row.ttft_s is not None and row.completion_tokens == 3 for row in rows)


def test_a_dead_endpoint_neither_hangs_nor_hammers():
    stats = ask(NOBODY, TrafficConfig(requests_per_second=1000, concurrency=2), seconds=1.0)
    assert set(stats.outcomes) == {"no_connection"}
    assert 1 <= stats.sent <= 12


def test_a_wrong_key_is_counted_by_status(endpoint_url):
    config = TrafficConfig(requests_per_second=200, max_requests=3)
    stats = ask(endpoint_url, config, key="wrong", until=lambda traffic: sum(traffic.stats.outcomes.values()) == 3)
    assert dict(stats.outcomes) == {"status_401": 3}


def test_a_model_error_is_counted_by_status(endpoint_url, server):
    server.failing |= {"v1", "v2"}
    config = TrafficConfig(requests_per_second=200, max_requests=3)
    stats = ask(endpoint_url, config, until=lambda traffic: sum(traffic.stats.outcomes.values()) == 3)
    assert [outcome[:8] for outcome in stats.outcomes] == ["status_5"]


def test_the_prompt_is_everything_before_the_last_answer():
    turns = [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user", "assistant")]
    assert [message["role"] for message in prompt_of(turns)] == ["system", "user", "assistant", "user"]
    assert prompt_of([{"role": "user", "content": "u"}]) == [{"role": "user", "content": "u"}]


def test_without_questions_there_is_no_rollout():
    with pytest.raises(FlywheelError, match="test split is empty"):
        Traffic(NOBODY, "k", "support", [], TrafficConfig(), max_seconds=1)


def test_the_endpoint_description_is_read_with_its_secrets(tmp_path):
    endpoint = description(tmp_path)
    (tmp_path / "endpoint.json").write_text(json.dumps(endpoint))
    found = read_endpoint(tmp_path, NOBODY + "/v1")
    assert (found.model, found.api_key, found.admin_token) == ("support", "fk", "token")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_url": "http://127.0.0.1:10"}, "describes http://127.0.0.1:10"),
        ({"versions": {"stable": "1"}}, "KeyError: 'canary'"),
        ({"key_file": "/nowhere/key"}, "no readable secret"),
    ],
)
def test_an_endpoint_description_that_does_not_fit_is_refused(tmp_path, change, message):
    (tmp_path / "endpoint.json").write_text(json.dumps(description(tmp_path) | change))
    with pytest.raises(FlywheelError, match=message):
        read_endpoint(tmp_path, NOBODY)


def test_without_a_run_folder_the_fix_is_named():
    with pytest.raises(FlywheelError, match="FLYWHEEL_RUN_DIR"):
        read_endpoint(None, NOBODY)


def description(folder):
    (folder / "key").write_text("fk\n")
    (folder / "token").write_text("token\n")
    return {
        "base_url": NOBODY,
        "model": "support",
        "key_file": str(folder / "key"),
        "admin_token_file": str(folder / "token"),
        "versions": {"stable": "1", "canary": "2"},
    }
