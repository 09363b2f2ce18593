import json

import pytest
import yaml

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.gateway.config import GatewayConfig, load_config, sha256_of

VARIANT = {"url": "http://127.0.0.1:8001/v1/", "model": "m", "version": "1", "weight": 100}
GOOD = {
    "routes": {"support": {"variants": {"stable": VARIANT}}},
    "keys": [{"id": "a", "sha256": sha256_of("secret"), "user": "eva", "team": "care"}],
}


def test_json_and_yaml_are_read_alike(tmp_path):
    (tmp_path / "gateway.json").write_text(json.dumps(GOOD))
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(GOOD))

    config = load_config(tmp_path / "gateway.json")

    assert config == load_config(tmp_path / "gateway.yaml")
    assert config.routes["support"].variants["stable"].url == "http://127.0.0.1:8001"
    assert bind(GatewayConfig, config.model_dump(mode="json")) == config


def test_all_errors_come_at_once_and_no_secret_is_repeated(tmp_path):
    path = tmp_path / "gateway.yaml"
    wrong = {
        "routes": {
            "support": {"variants": {"stable": {**VARIANT, "weight": 70, "url": "ftp://x"}}},
            "other": {"variants": {"blue": VARIANT}},
        },
        "keys": [{"id": "a", "sha256": "fk-plain-text-secret", "user": "eva"}],
        "admin_sha": "x",
        "prices": str(tmp_path / "none.yaml"),
        "max_body_bytes": 0,
    }
    path.write_text(yaml.safe_dump(wrong))

    with pytest.raises(FlywheelError) as error:
        load_config(path)

    message = str(error.value)
    assert "6 errors in the configuration" in message
    for part in (
        "routes.support.variants.stable.url: must look like http://host:port",
        "routes.other.variants.blue",
        "keys.0.sha256: must be a SHA-256",
        "admin_sha: unknown key; did you mean 'admin_sha256'?",
        "prices: ",
        "max_body_bytes: got 0",
    ):
        assert part in message
    assert "fk-plain-text-secret" not in message


def test_weights_must_sum_to_100():
    routes = {"support": {"variants": {"stable": {**VARIANT, "weight": 70}}}}
    with pytest.raises(FlywheelError, match="weights must sum to 100; got 70"):
        bind(GatewayConfig, {**GOOD, "routes": routes})


def test_keys_must_differ():
    with pytest.raises(FlywheelError, match="keys: id 'a' is used twice"):
        bind(GatewayConfig, {**GOOD, "keys": GOOD["keys"] * 2})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"weight": 100}, "a route that a router splits has no weights here"),
        ({"url": "http://127.0.0.1:9"}, "one router needs one url, host and model for all variants"),
        ({"host": "other"}, "one router needs one url, host and model for all variants"),
        ({"version": "2"}, "variants need different ones"),
    ],
)
def test_a_router_is_one_way_to_versions_that_differ(change, problem):
    stable = {**VARIANT, "weight": 0, "host": "support.models.internal"}
    variants = {"stable": {**stable, **change}, "canary": {**stable, "version": "2"}}
    with pytest.raises(FlywheelError, match=problem):
        bind(GatewayConfig, {**GOOD, "routes": {"support": {"split_by": "router", "variants": variants}}})
