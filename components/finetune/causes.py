"""Why a training job waits or has failed, read from its pods, its events and what its pods said; pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llm_flywheel.components.finetune.events import TrainingLog, failure_text

Body = Mapping[str, Any]

# Reasons of a waiting container, as the kubelet writes them.
_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_CONTAINER = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_KILLED = 137  # 128 + SIGKILL
_OPERATOR_INIT = "init-pytorch"


@dataclass(frozen=True)
class Cause:
    """Why a job waits or has failed.

    Attributes:
        reason: Machine-readable: image_pull, container, unschedulable, quota, forbidden, suspended, pending,
            out_of_memory, evicted, deadline, training, or what the training program itself gave.
        text: For a person.
        fix: What to do, or empty.
        lasting: For a job that waits: time alone will hardly help, as it does in a queue.
    """

    reason: str
    text: str
    fix: str = ""
    lasting: bool = False


def finished(job: Body) -> Literal["", "succeeded", "failed"]:
    """How a PyTorchJob or TrainJob has ended, or empty."""
    true = {item["type"] for item in _conditions(job) if item["status"] == "True"}
    if true & {"Succeeded", "Complete"}:
        return "succeeded"
    return "failed" if "Failed" in true else ""


def all_started(pods: Sequence[Body], expected: int) -> bool:
    """Whether as many pods as expected run or have run."""
    return sum(pod["status"].get("phase") in ("Running", "Succeeded", "Failed") for pod in pods) >= expected


def own_events(events: Sequence[dict[str, Any]], job: Body) -> list[dict[str, Any]]:
    """The events of a job and of what was made for it, oldest first; an earlier job of its name is left out."""
    name, created = job["metadata"]["name"], job["metadata"].get("creationTimestamp", "")
    mine = [
        event
        for event in events
        if f"{event['involvedObject'].get('name', '')}-".startswith(f"{name}-") and _when(event) >= created[:19]
    ]
    return sorted(mine, key=_when)


def waiting_for(job: Body, pods: Sequence[Body], events: Sequence[Body], expected: int) -> Cause:
    """What a job that does not run yet waits for.

    Args:
        job: The job.
        pods: Its pods.
        events: Its `own_events`.
        expected: Number of pods that it is to have.
    """
    for pod in pods:
        found = _blocked(pod)
        if found is not None:
            return found
    if any(item["type"] == "Suspended" and item["status"] == "True" for item in _conditions(job)):
        return Cause("suspended", "the job waits in its queue")
    warnings = [event for event in events if event.get("type") == "Warning"]
    refused = [event["message"] for event in warnings if event.get("reason") in ("FailedCreatePod", "FailedCreate")]
    if refused and len(pods) < expected:
        return _refused(refused[-1])
    if warnings:
        return Cause("pending", f"{warnings[-1].get('reason', '')}: {warnings[-1]['message']}")
    return Cause("pending", f"{len(pods)} of {expected} pods made, and not yet running")


def failure(job: Body, pods: Sequence[Body], events: Sequence[Body], logs: Mapping[str, TrainingLog]) -> Cause:
    """Why a job has failed.

    Args:
        job: The job.
        pods: Its pods.
        events: Its `own_events`.
        logs: By pod, what was said.
    """
    failed = sorted((pod for pod in pods if _ended_at(pod)), key=_ended_at)
    for pod in failed:
        found = _killed(pod)
        if found is not None:
            return found
    said = [logs[name] for pod in failed if (name := pod["metadata"]["name"]) in logs]
    said += [log for log in logs.values() if log not in said]  # of a pod that the operator has removed
    for log in said:
        if log.error:
            return Cause(log.reason, log.error)
    conditions = [item.get("message", "") for item in _conditions(job) if item["type"] == "Failed"]
    message = conditions[0] if conditions else "the job has failed"
    if "deadline" in message:
        return Cause("deadline", message, "raise finetune.cluster.run_timeout_seconds")
    if not failed and len(pods) == 0 and events:
        message = f"{message}; {events[-1].get('reason', '')}: {events[-1]['message']}"
    for log in said:
        if any("SIGKILL" in line for line in log.tail):
            return _out_of_memory("a training process was killed (SIGKILL), most often for its memory")
    codes = [f"{pod['metadata']['name']} ended with status {code}" for pod in failed for code in _exit_codes(pod)]
    tail = next((failure_text(list(log.tail)) for log in said if log.tail), "")
    return Cause("training", ": ".join(part for part in ("; ".join(codes) or message, tail) if part))


def failed_pods(pods: Sequence[Body]) -> list[str]:
    """Names of the pods whose log may say why, the first to fail first."""
    return [pod["metadata"]["name"] for pod in sorted(pods, key=_ended_at) if _ended_at(pod)]


def _blocked(pod: Body) -> Cause | None:
    name = pod["metadata"]["name"]
    for status in _statuses(pod):
        waiting = status.get("state", {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in _IMAGE:
            text = f"pod {name}: image {status['image']} cannot be pulled: {reason}: {message}"
            return Cause("image_pull", text, "set finetune.cluster.image to an image that the nodes can pull", True)
        if reason in _CONTAINER:
            return Cause("container", f"pod {name} cannot start: {reason}: {message}", lasting=True)
    for condition in _conditions(pod):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            fix = "ask for less (finetune.cluster.cpu, memory, gpus, node_selector), or wait for room"
            return Cause("unschedulable", f"pod {name} has no node: {condition.get('message', '')}", fix)
    return None


def _refused(message: str) -> Cause:
    if "exceeded quota" in message:
        return Cause("quota", f"pods are refused: {message}", "ask for less, or wait for others to end")
    fix = ""
    if _OPERATOR_INIT in message:
        fix = "the training operator needs --pytorch-init-container-template-file with a container that fits"
    elif "PodSecurity" in message:
        fix = "a TrainJob's runtime must fit Pod Security: kubectl apply -k manifests/overlays/trainjob"
    return Cause("forbidden", f"pods are refused: {message}", fix, True)


def _killed(pod: Body) -> Cause | None:
    name, status = pod["metadata"]["name"], pod["status"]
    for container in _statuses(pod):
        ended = _terminated(container)
        if ended.get("reason") == "OOMKilled" or ended.get("exitCode") == _KILLED:
            limit = _memory_limit(pod, container["name"])
            return _out_of_memory(f"pod {name} was killed for using more memory than its limit{limit}")
    if status.get("reason"):
        return Cause("evicted", f"pod {name}: {status['reason']}: {status.get('message', '')}")
    return None


def _out_of_memory(text: str) -> Cause:
    fix = "raise finetune.cluster.memory, or lower finetune.micro_batch_size or sequence_len"
    return Cause("out_of_memory", text, fix)


def _memory_limit(pod: Body, container: str) -> str:
    for item in pod.get("spec", {}).get("containers", []):
        if item["name"] == container:
            return f" of {item.get('resources', {}).get('limits', {}).get('memory', '?')}"
    return ""


def _ended_at(pod: Body) -> str:
    """When the pod failed, or empty."""
    if pod["status"].get("phase") != "Failed":
        return ""
    times = [ended["finishedAt"] for status in _statuses(pod) if (ended := _terminated(status)).get("finishedAt")]
    return min(times, default=str(pod["metadata"].get("creationTimestamp", "?")))


def _exit_codes(pod: Body) -> list[int]:
    return [code for status in _statuses(pod) if (code := _terminated(status).get("exitCode"))]


def _statuses(pod: Body) -> list[Body]:
    status = pod["status"]
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _terminated(container: Body) -> Body:
    found: Body = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated") or {}
    return found


def _conditions(body: Body) -> list[Body]:
    return list(body.get("status", {}).get("conditions") or ())


def _when(event: Body) -> str:
    """Second of an event; events of newer reporters have no lastTimestamp."""
    when = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return str(when or "")[:19]
