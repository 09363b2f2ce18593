"""The step with real traffic through a real gateway."""

import json
from dataclasses import replace

import pytest

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.rollout.config import RolloutConfig
from llm_flywheel.components.rollout.rollout import EVIDENCE_NAME, run
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.rollout.backend import GatewayBackend
from llm_flywheel.serving.rollout.replay import replay_file

# A plan for a model that answers in milliseconds: the numbers of requests are real, the waiting is not.
CONFIG = bind(
    RolloutConfig,
    {
        "plan": {
            "steps": [20, 50],
            "min_requests": 5,
            "min_seconds": 0.2,
            "max_seconds": 12,
            "interval_seconds": 0.2,
            "deadline_seconds": 4,
            "metrics": [{"kind": "errors", "margin": 2, "max_rate": 0.1}, {"kind": "ttft", "floor_seconds": 0.2}],
            "warmup": {"requests": 30, "discard": 2, "max_seconds": 15},
        },
        "traffic": {"requests_per_second": 100, "connect_timeout_s": 1, "timeout_s": 5},
    },
)


@pytest.fixture
def roll_out(endpoint_url, dataset, settings, registry, tmp_path):
    def call(version="2", **changes):
        paths = tmp_path / "evidence.json", tmp_path / "report.html"
        return run(CONFIG, endpoint_url, "support", version, dataset, *paths, replace(settings, **changes))

    return call


def aliases(registry):
    return {alias: str(version) for alias, version in registry.get_registered_model("support").aliases.items()}


def test_a_healthy_canary_gets_the_traffic_and_the_champion_alias(roll_out, registry, settings, endpoint_url, server):
    result = roll_out()
    assert (result.outcome.decision, result.failure(CONFIG)) == ("promote", None)
    assert aliases(registry) == {"champion": "2"}
    tags = registry.get_model_version("support", "2").tags
    assert (tags["flywheel.rollout"], tags["flywheel.rollout.previous_champion"]) == ("promote", "1")
    assert GatewayBackend(endpoint_url, "support", "admin-test").weights() == {"stable": 0, "canary": 100}
    questions = {body["messages"][-1]["content"] for body in server.requests}
    assert len(questions) == 20 and all(body["messages"][-1]["role"] == "user" for body in server.requests)

    evidence = settings.home / "evidence.json"
    assert replay_file(evidence).ok
    assert replay_file(settings.run_dir / EVIDENCE_NAME).decision == "promote"
    with Ledger.open(settings.ledger_url) as ledger:
        assert ledger.verify_audit().ok
        [decided] = ledger.audit_events(action="rollout.decision")
        [stored] = ledger.audit_events(action="rollout.evidence")
        changes = ledger.audit_events(action="rollout.weights")
    assert decided.actor == "tester"
    assert decided.details["evidence"] == json.loads(evidence.read_text())["digest"]
    assert stored.details == {
        "evidence": decided.details["evidence"],
        "evidence_uri": result.evidence_uri,
        "run_id": "run-1",
    }
    assert [event.details["weights"]["canary"] for event in changes] == [0, 20, 50, 100]
    page = (settings.home / "report.html").read_text()
    assert "Canary promoted" in page and page.count("<svg") == 2


def assert_reverted(settings, registry, endpoint_url, error):
    assert GatewayBackend(endpoint_url, "support", "admin-test").weights() == {"stable": 100, "canary": 0}
    assert aliases(registry)["champion"] == "1"
    with Ledger.open(settings.ledger_url) as ledger:
        actions = [event.action for event in ledger.audit_events()]
        [reverted] = ledger.audit_events(action="rollout.reverted")
    assert reverted.details == {
        "weights": {"stable": 100, "canary": 0},
        "error": error,
        "applied": True,
        "run_id": "run-1",
    }
    # The promotion was in force and decided before something failed, and the alias never moved.
    assert actions.index("rollout.decision") < actions.index("rollout.reverted")
    assert "rollout.aliases" not in actions


def test_a_promotion_whose_evidence_cannot_be_stored_is_taken_back(
    roll_out, registry, settings, endpoint_url, tmp_path
):
    (tmp_path / "a_file").write_text("")
    with pytest.raises((FlywheelError, OSError)) as caught:
        roll_out(object_store=(tmp_path / "a_file").as_uri())
    assert_reverted(settings, registry, endpoint_url, type(caught.value).__name__)


def test_a_promotion_that_the_registry_refuses_is_taken_back(roll_out, registry, settings, endpoint_url, tmp_path):
    with pytest.raises(FlywheelError, match="MLflow refused"):
        roll_out(tracking_uri=f"sqlite:///{tmp_path / 'other.db'}")
    assert_reverted(settings, registry, endpoint_url, "FlywheelError")


def test_a_promotion_that_is_interrupted_is_taken_back(roll_out, registry, settings, endpoint_url, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tempfile.TemporaryDirectory", interrupt)
    with pytest.raises(KeyboardInterrupt):
        roll_out()
    assert_reverted(settings, registry, endpoint_url, "KeyboardInterrupt")


def test_a_failing_canary_is_rolled_back_and_loses_the_challenger_alias(roll_out, registry, server, endpoint_url):
    server.failing.add("v2")
    result = roll_out()
    assert (result.outcome.decision, result.outcome.rule) == ("rollback", "canary_failing")
    assert str(result.failure(CONFIG)).endswith("canary requests in a row failed")
    assert result.failure(CONFIG.model_copy(update={"fail_on_rollback": False})) is None
    assert aliases(registry) == {"champion": "1"}
    assert registry.get_model_version("support", "2").tags["flywheel.rollout.rule"] == "canary_failing"
    assert GatewayBackend(endpoint_url, "support", "admin-test").weights() == {"stable": 100, "canary": 0}


def test_a_canary_that_is_slow_to_its_first_token_is_rolled_back(roll_out, registry, server):
    server.delay["v2"] = 0.4
    result = roll_out()
    assert (result.outcome.decision, result.outcome.rule) == ("rollback", "harm:ttft")
    assert aliases(registry) == {"champion": "1"}


def test_a_model_server_that_dies_on_the_way_ends_in_a_rollback(roll_out, registry, server):
    server.die_after = 80
    result = roll_out()
    assert (result.outcome.decision, result.outcome.rule) == ("rollback", "canary_unavailable")
    assert aliases(registry) == {"champion": "1"}


def test_a_version_that_is_not_the_canary_is_refused(roll_out):
    with pytest.raises(FlywheelError, match="with canary 2, not support 3"):
        roll_out("3")


def test_a_missing_endpoint_is_named(dataset, settings, tmp_path):
    with pytest.raises(FlywheelError, match="no endpoint was deployed"):
        run(CONFIG, "http://127.0.0.1:9", "support", "2", dataset, tmp_path / "e", tmp_path / "r", settings)


@pytest.mark.parametrize(
    ("deadline", "timeout", "problem"),
    [
        (30, 30.5, r"timeout_s \(30.5\) must be at least plan.deadline_seconds \(30\) \+ 1"),
        (30, 61, r"timeout_s \(61\) must be at most 60"),
        (300, 1141, r"timeout_s \(1141\) must be at most 1140"),
    ],
)
def test_a_timeout_that_would_hide_hanging_requests_is_refused(deadline, timeout, problem):
    values = {"plan": {"deadline_seconds": deadline}, "traffic": {"timeout_s": timeout}}
    with pytest.raises(FlywheelError, match=problem):
        bind(RolloutConfig, values)
    values["traffic"]["enabled"] = False
    bind(RolloutConfig, values)


def test_the_default_timeout_is_longer_than_the_default_deadline():
    config = RolloutConfig()
    assert (config.plan.deadline_seconds, config.traffic.timeout_s) == (30, 35)
