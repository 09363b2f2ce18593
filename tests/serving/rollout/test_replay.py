"""Replay says so when a record does not reproduce, whatever was changed in it."""

import json

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.rollout.record import digest, read, to_json, write
from llm_flywheel.serving.rollout.replay import replay, replay_file


@pytest.fixture
def stored(world):
    return to_json(world.roll_out())


def test_a_file_replays_to_its_decision(stored, tmp_path):
    path = tmp_path / "evidence.json"
    write(stored, path)
    result = replay_file(path)
    assert (result.ok, result.decision, result.stored_decision, result.looks) == (
        True, "promote", "promote", len(stored["looks"]),
    )  # fmt: skip
    assert read(path) == stored


def test_a_record_from_before_pods_and_interruptions_were_known_still_replays(stored):
    for look in stored["looks"]:
        for name in ("unwatched", "unattributed", "pods"):
            del look["seen"][name]
    for name in ("unattributed_share", "restarts", "not_ready_seconds"):
        del stored["plan"]["guards"][name]
    stored["digest"] = digest(stored)
    assert replay(stored).mismatches == []


def test_changed_words_break_the_digest(stored):
    stored["actor"] = "somebody else"
    result = replay(stored)
    assert not result.ok
    assert result.mismatches == ["the digest does not fit: something in the record was changed after it was written"]


def test_changed_counts_are_found_even_with_a_new_digest(stored):
    look = next(look for look in stored["looks"] if look["seen"]["canary"]["metrics"]["errors"]["n"] > 3)
    look["seen"]["canary"]["metrics"]["errors"]["bad"] = 3
    stored["digest"] = digest(stored)
    result = replay(stored)
    assert not result.ok
    assert any("log_pass[errors]" in text for text in result.mismatches)


def test_a_changed_outcome_is_found_even_with_a_new_digest(stored):
    stored["outcome"]["decision"] = "rollback"
    stored["digest"] = digest(stored)
    assert replay(stored).mismatches == ["outcome: decision is 'rollback', recomputed 'promote'"]


def test_a_changed_limit_is_found_even_with_a_new_digest(stored):
    stored["plan"]["beta"] = 0.0001
    stored["digest"] = digest(stored)
    assert "the recomputed rollout does not come to an end" in replay(stored).mismatches


def test_a_changed_threshold_is_found_even_with_a_new_digest(stored):
    stored["baselines"]["ttft"]["threshold"] = 60.0
    stored["digest"] = digest(stored)
    assert replay(stored).mismatches[0].startswith("baseline ttft: threshold is 60.0, recomputed")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not a readable"), ("[]", "not a rollout evidence"), ('{"schema": "other/1"}', "'other/1'")],
)
def test_a_file_that_is_no_record_is_refused(tmp_path, content, message):
    path = tmp_path / "evidence.json"
    path.write_text(content)
    with pytest.raises(FlywheelError, match=message):
        replay_file(path)


def test_a_damaged_record_is_refused_without_a_traceback(stored, tmp_path):
    del stored["looks"][0]["seen"]["canary"]
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(stored))
    with pytest.raises(FlywheelError, match="damaged"):
        replay_file(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FlywheelError, match="no such evidence file"):
        replay_file(tmp_path / "none.json")
