"""The real gateway in front of a small upstream; real vLLM is the end-to-end test's."""

import json
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.deploy.local import Running, smoke_test, write_endpoint
from llm_flywheel.components.deploy.versions import Registered
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.local.gateway import LocalGateway, Upstream, start_gateway
from llm_flywheel.serving.local.processes import Server
from llm_flywheel.serving.local.ready import start_ready

UPSTREAM = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(200, {})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked["model"] == "broken":
            return self.answer(500, {"error": {"message": "out of memory"}})
        message = {"role": "assistant", "content": "I am " + asked["model"]}
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.answer(200, {"id": "1", "object": "chat.completion", "created": 1, "model": asked["model"],
                          "choices": [choice], "usage": usage})

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def settings(tmp_path: Path, run_dir: Path, run_id: str) -> Settings:
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    return replace(Settings.from_env(), run_dir=run_dir, run_id=run_id, ledger_url=ledger, actor="eva")


@pytest.fixture
def upstream(tmp_path: Path, run_dir: Path, run_id: str) -> Iterator[str]:
    script = tmp_path / "upstream.py"
    script.write_text(UPSTREAM)
    made = start_ready(
        "upstream", lambda port: [sys.executable, str(script), str(port)], run_dir=run_dir, run_id=run_id, timeout_s=30
    )
    yield f"http://127.0.0.1:{made.record.port}"


def gateway(upstream: str, settings: Settings, canary: str = "canary") -> tuple[LocalGateway, Server]:
    variants = {
        "stable": Upstream(upstream, "base", "base", 100),
        "canary": Upstream(upstream, canary, "7", 0),
    }
    assert settings.run_dir is not None
    return start_gateway("support", variants, settings=settings, run_dir=settings.run_dir, run_id=settings.run_id)


def test_both_variants_answer_and_the_weights_can_be_set(upstream: str, settings: Settings) -> None:
    made, server = gateway(upstream, settings)
    assert made.weights() == {"stable": 100, "canary": 0}
    assert smoke_test(made, "stable", DeployConfig()) == "I am base"
    assert smoke_test(made, "canary", DeployConfig()) == "I am canary"
    assert made.set_weights({"stable": 90, "canary": 10}) == {"stable": 90, "canary": 10}
    assert made.weights() == {"stable": 90, "canary": 10}
    assert made.pid == server.record.pid
    server.popen.terminate()
    server.popen.wait(20)
    with Ledger.open(settings.ledger_url) as ledger:
        rows = ledger.usage_between(0, 1e12, run_id=settings.run_id)
        assert [(row.variant, row.version, row.user, row.completion_tokens) for row in rows] == [
            ("stable", "base", "eva", 4),
            ("canary", "7", "eva", 4),
        ]


def test_secrets_are_readable_by_their_owner_alone_and_stand_nowhere_else(upstream: str, settings: Settings) -> None:
    made, server = gateway(upstream, settings)
    token = made.admin_token_file.read_text().strip()
    for path in (made.key_file, made.admin_token_file, made.config_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.key not in made.config_file.read_text()
    assert token not in made.config_file.read_text()
    assert not any(made.key in word or token in word for word in server.record.argv)


def test_weights_that_do_not_sum_to_100_are_refused(upstream: str, settings: Settings) -> None:
    made, _ = gateway(upstream, settings)
    with pytest.raises(FlywheelError, match="did not take the weights: 4"):
        made.set_weights({"stable": 90, "canary": 20})


def test_a_variant_that_does_not_answer_fails_the_smoke_test(upstream: str, settings: Settings) -> None:
    made, _ = gateway(upstream, settings, canary="broken")
    with pytest.raises(FlywheelError, match="canary does not answer: status 5") as caught:
        smoke_test(made, "canary", DeployConfig())
    assert caught.value.reason == "smoke_test"


def test_the_endpoint_file_says_what_rollout_needs(upstream: str, settings: Settings) -> None:
    from llm_flywheel.components.rollout.endpoint import read_endpoint

    made, server = gateway(upstream, settings)
    upstreams = {"stable": Upstream(upstream, "base", "base", 100), "canary": Upstream(upstream, "canary", "7", 0)}
    running = Running(made, upstreams, {"gateway": server.record.pid}, {"stable": 90, "canary": 10}, {})
    models = {"stable": Registered("base", "s3://b"), "canary": Registered("7", "s3://a", "s3://b", 16)}
    path = write_endpoint(running, "support", models, settings)
    written = json.loads(path.read_text())
    assert (written["versions"], written["weights"]) == (
        {"stable": "base", "canary": "7"},
        {"stable": 90, "canary": 10},
    )
    endpoint = read_endpoint(settings.run_dir, made.base_url)
    assert (endpoint.model, endpoint.api_key, endpoint.versions) == ("support", made.key, written["versions"])
