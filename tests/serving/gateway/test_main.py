"""The gateway as the process that others start."""

import json
import os
import signal
import subprocess
import sys

import httpx
import pytest

from llm_flywheel.serving.ledger.ledger import Ledger

COMMAND = [sys.executable, "-m", "llm_flywheel.serving.gateway"]


@pytest.fixture
def config_path(gateway_config, tmp_path):
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps(gateway_config))
    return path


def test_sigterm_lets_requests_end_writes_their_usage_and_exits_with_0(config_path, gateway_config, upstream, tmp_path):
    env = {**os.environ, "FLYWHEEL_HOME": str(tmp_path), "FLYWHEEL_RUN_ID": "run-9", "FLYWHEEL_ACTOR": "tester"}
    process = subprocess.Popen(
        [*COMMAND, "--config", str(config_path), "--port", "0"], stdout=subprocess.PIPE, text=True, env=env
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().rpartition(" ")[2].strip()
        body = {"model": "support", "stream": True, "messages": [{"role": "user", "content": "wait"}]}
        headers = {"authorization": "Bearer fk-eva"}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=20) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            upstream.release.set()
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    with Ledger.open(gateway_config["ledger_url"], read_only=True) as ledger:
        [row] = ledger.usage_between(0, 1e12)
        [event] = ledger.audit_events()
    assert (row.outcome, row.run_id, row.completion_tokens) == ("ok", "run-9", 2)
    assert row.cost is not None  # from the ledger's own price file
    assert (event.actor, event.action, event.object) == ("tester", "gateway.set_weights", "model:support")
    assert (event.details["from"], event.details["to"]) == ({}, {"stable": 80, "canary": 20})


def test_a_wrong_config_is_one_message_without_a_traceback(tmp_path):
    path = tmp_path / "gateway.yaml"
    path.write_text("routes: {}\nkey: 1\n")
    done = subprocess.run([*COMMAND, "--config", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "key: unknown key; did you mean 'keys'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_message_without_a_traceback(config_path, upstream):
    port = upstream.url.rpartition(":")[2]
    done = subprocess.run(
        [*COMMAND, "--config", str(config_path), "--port", port], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"127.0.0.1:{port}: cannot listen: Address already in use" in done.stderr
