"""The admin API: weights are checked, audited before they are in force, and read back."""

import sqlite3

import pytest

ADMIN = {"authorization": "Bearer admin-token"}
PATH = "/admin/routes/support/weights"


def test_weights_in_force_are_read_back_and_obeyed(gateway):
    assert gateway.http.get(PATH, headers=ADMIN).json() == {"stable": 80, "canary": 20}

    answer = gateway.http.put(PATH, headers=ADMIN, json={"stable": 0, "canary": 100})

    assert (answer.status_code, answer.json()) == (200, {"stable": 0, "canary": 100})
    assert gateway.http.get(PATH, headers=ADMIN).json() == {"stable": 0, "canary": 100}
    assert {gateway.chat().headers["x-flywheel-variant"] for _ in range(20)} == {"canary"}


def test_a_change_of_weights_is_an_audit_event(gateway):
    gateway.http.put(PATH, headers={**ADMIN, "x-flywheel-actor": "rollout"}, json={"stable": 50, "canary": 50})

    [event] = gateway.ledger.audit_events()
    assert (event.actor, event.action, event.object) == ("rollout", "gateway.set_weights", "model:support")
    assert event.details == {
        "from": {"stable": 80, "canary": 20},
        "to": {"stable": 50, "canary": 50},
        "versions": {"stable": "1", "canary": "2"},
        "run_id": "run-1",
    }
    assert gateway.ledger.verify_audit().ok


@pytest.mark.parametrize(
    "weights",
    [
        {"stable": 80},
        {"stable": 80, "canary": 10},
        {"stable": 110, "canary": -10},
        {"stable": 80.0, "canary": 20.0},
        {"stable": True, "canary": 99},
        {"stable": 80, "canary": 20, "blue": 0},
    ],
)
def test_wrong_weights_change_nothing(gateway, weights):
    answer = gateway.http.put(PATH, headers=ADMIN, json=weights)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_weights")
    assert gateway.http.get(PATH, headers=ADMIN).json() == {"stable": 80, "canary": 20}
    assert gateway.ledger.audit_events() == []


def test_weights_that_cannot_be_audited_are_not_put_in_force(gateway, tmp_path):
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute("DROP TABLE audit")

    answer = gateway.http.put(PATH, headers=ADMIN, json={"stable": 0, "canary": 100})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ledger_unavailable")
    assert gateway.http.get(PATH, headers=ADMIN).json() == {"stable": 80, "canary": 20}


def test_only_the_admin_token_opens_it(gateway):
    assert gateway.http.get(PATH).status_code == 401
    assert gateway.http.get(PATH, headers={"authorization": ""}).status_code == 401
    assert gateway.http.get("/admin/routes/other/weights", headers=ADMIN).status_code == 404


def test_without_an_admin_token_in_the_config_it_is_off(start_gateway):
    gateway = start_gateway(admin_sha256=None)
    assert gateway.http.get(PATH, headers=ADMIN).status_code == 403


def test_the_weights_of_a_router_are_not_the_gateways(start_gateway, routed):
    gateway = start_gateway(routes=routed)
    for answer in (gateway.http.get(PATH, headers=ADMIN), gateway.http.put(PATH, headers=ADMIN, json={"stable": 100})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "split_by_router")
        assert "in the HTTPRoute for host support.models.internal" in answer.json()["error"]["message"]
    assert gateway.ledger.audit_events() == []
