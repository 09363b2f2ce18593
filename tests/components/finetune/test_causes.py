"""Why a job waits or fails, from objects as the API server keeps them."""

from typing import Any

import pytest

from llm_flywheel.components.finetune.causes import all_started, failure, finished, own_events, waiting_for
from llm_flywheel.components.finetune.events import TrainingLog

JOB: dict[str, Any] = {"metadata": {"name": "ft-1", "creationTimestamp": "2026-11-21T10:00:00Z"}, "status": {}}


def job(**conditions: str) -> dict[str, Any]:
    made = [{"type": name, "status": "True", "message": message} for name, message in conditions.items()]
    return {**JOB, "status": {"conditions": made}}


def pod(name: str = "ft-1-master-0", phase: str = "Pending", **state: Any) -> dict[str, Any]:
    container = {"name": "pytorch", "image": "trainer:1", "restartCount": 0, "state": state}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "pytorch", "resources": {"limits": {"memory": "64Mi"}}}]},
        "status": {"phase": phase, "containerStatuses": [container]},
    }


def event(reason: str, message: str, name: str = "ft-1", at: str = "2026-11-21T10:00:05Z") -> dict[str, Any]:
    return {
        "involvedObject": {"name": name},
        "metadata": {},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
    }


def said(*lines: str) -> TrainingLog:
    log = TrainingLog()
    for line in lines:
        log.feed(line)
    return log


def ended(code: int, at: str = "2026-11-21T10:01:00Z", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [("Succeeded", "succeeded"), ("Complete", "succeeded"), ("Failed", "failed"), ("Running", "")],
)
def test_both_kinds_of_job_say_how_they_ended(condition: str, outcome: str) -> None:
    assert finished(job(**{condition: ""})) == outcome
    assert finished({"status": {"conditions": [{"type": condition, "status": "False"}]}}) == ""


def test_job_has_started_when_every_pod_has() -> None:
    assert not all_started([pod(phase="Running")], 2)
    assert all_started([pod(phase="Running"), pod("ft-1-worker-0", "Succeeded")], 2)


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_image_that_cannot_be_pulled_is_named_and_will_not_pass(reason: str) -> None:
    cause = waiting_for(job(), [pod(waiting={"reason": reason, "message": "not found"})], [], 1)
    assert (cause.reason, cause.lasting) == ("image_pull", True)
    assert "trainer:1" in cause.text and "not found" in cause.text


def test_missing_secret_is_named() -> None:
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "flywheel-storage" not found'}
    cause = waiting_for(job(), [pod(waiting=waiting)], [], 1)
    assert (cause.reason, cause.lasting) == ("container", True)
    assert 'secret "flywheel-storage" not found' in cause.text


def test_pod_without_a_node_waits_as_in_a_queue() -> None:
    lone = pod()
    lone["status"] = {"phase": "Pending"}
    message = "0/1 nodes are available: 1 Insufficient cpu."
    lone["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": message}]
    cause = waiting_for(job(), [lone], [], 1)
    assert (cause.reason, cause.lasting) == ("unschedulable", False)
    assert message in cause.text


@pytest.mark.parametrize(
    ("message", "reason", "lasting", "fix"),
    [
        ('pods "ft-1-master-0" is forbidden: exceeded quota: team, requested: cpu=4', "quota", False, "others"),
        (
            'pods "ft-1-worker-0" is forbidden: violates PodSecurity "restricted:latest": (container "init-pytorch"',
            "forbidden",
            True,
            "--pytorch-init-container-template-file",
        ),
        ('pods "ft-1-node-0" is forbidden: violates PodSecurity "restricted:latest"', "forbidden", True, "runtime"),
    ],
)
def test_pods_that_admission_refuses(message: str, reason: str, lasting: bool, fix: str) -> None:
    cause = waiting_for(job(), [], [event("FailedCreatePod", f"Error creating: {message}")], 1)
    assert (cause.reason, cause.lasting) == (reason, lasting)
    assert fix in cause.fix


def test_suspended_job_is_in_its_queue() -> None:
    assert waiting_for(job(Suspended="suspended"), [], [], 1).reason == "suspended"


def test_latest_warning_is_shown_for_lack_of_a_better_reason() -> None:
    events = [event("FailedMount", "old"), event("FailedMount", "claim is not bound")]
    cause = waiting_for(job(), [pod(waiting={"reason": "ContainerCreating"})], events, 1)
    assert cause.text == "FailedMount: claim is not bound"


def test_events_of_an_earlier_job_and_of_others_are_left_out() -> None:
    mine = event("FailedMount", "mine", name="ft-1-master-0")
    newer = {**event("Failed", "newer"), "lastTimestamp": None, "eventTime": "2026-11-21T10:00:06.123456Z"}
    others = [event("x", "earlier", at="2026-11-21T09:59:59Z"), event("x", "other", name="ft-12")]
    assert own_events([newer, *others, mine], job()) == [mine, newer]


def test_out_of_memory_comes_before_what_the_other_pods_say() -> None:
    pods = [
        pod("ft-1-master-0", "Failed", **ended(1, "2026-11-21T10:01:00Z")),
        pod("ft-1-worker-0", "Failed", **ended(1, "2026-11-21T10:01:09Z", "OOMKilled")),
    ]
    cause = failure(job(Failed="x"), pods, [], {"ft-1-master-0": said("RuntimeError: Connection closed by peer")})
    assert cause.reason == "out_of_memory"
    assert "ft-1-worker-0" in cause.text and "64Mi" in cause.text


def test_killed_rank_is_named_where_the_kubelet_has_not_seen_it() -> None:
    log = said("Signal 9 (SIGKILL) received by PID 7")
    cause = failure(job(Failed="x"), [pod(phase="Failed", **ended(1))], [], {"ft-1-master-0": log})
    assert cause.reason == "out_of_memory"


def test_program_s_own_reason_is_the_cause() -> None:
    log = said('{"error": "the loss became nan at step 1", "reason": "loss_not_finite"}')
    cause = failure(job(Failed="x"), [pod(phase="Failed", **ended(1))], [], {"ft-1-master-0": log})
    assert (cause.reason, cause.text) == ("loss_not_finite", "the loss became nan at step 1")


def test_first_pod_to_fail_gives_the_last_lines() -> None:
    pods = [
        pod("ft-1-master-0", "Failed", **ended(1, "2026-11-21T10:01:09Z")),
        pod("ft-1-worker-0", "Failed", **ended(1, "2026-11-21T10:01:00Z")),
    ]
    logs = {"ft-1-master-0": said("RuntimeError: peer"), "ft-1-worker-0": said("KeyError: 'messages'")}
    cause = failure(job(Failed="x"), pods, [], logs)
    assert cause.reason == "training"
    assert "ft-1-worker-0 ended with status 1; ft-1-master-0 ended with status 1: KeyError: 'messages'" in cause.text


def test_evicted_pod_says_why() -> None:
    evicted = pod(phase="Failed")
    evicted["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
    cause = failure(job(Failed="x"), [evicted], [], {})
    assert (cause.reason, "low on resource" in cause.text) == ("evicted", True)


def test_deadline_of_the_job_is_told_from_a_failure() -> None:
    message = "Job ft-1 has failed because it was active longer than specified deadline"
    assert failure(job(Failed=message), [], [], {}).reason == "deadline"
