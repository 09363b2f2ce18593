"""What the training program says, line by line, and what is kept of it."""

import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class TrainingLog:
    """Collects the output of a training program.

    Attributes:
        progress: The progress events, in order.
        evals: (step, validation loss), in order.
        splits: Examples, tokens and dropped rows per split.
        done: The final event, or empty.
        error: The program's own explanation of its failure, or empty.
        reason: Its machine-readable reason.
        tail: The last lines that were no event.
    """

    progress: list[dict[str, Any]] = field(default_factory=list)
    evals: list[tuple[int, float]] = field(default_factory=list)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    reason: str = ""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=40))

    def feed(self, line: str) -> dict[str, Any]:
        """Take one line of output; returns the event it was, or an empty mapping."""
        event = parse_event(line)
        if "error" in event:
            self.error, self.reason = str(event["error"]), str(event.get("reason", "error"))
        elif "done" in event:
            self.done = event
        elif "eval_loss" in event:
            self.evals.append((int(event["step"]), float(event["eval_loss"])))
        elif "loss" in event:
            self.progress.append(event)
        elif "split" in event:
            self.splits[str(event["split"])] = event
        elif line.strip():
            self.tail.append(line.rstrip()[:500])
        return event

    def metrics(self) -> dict[str, float]:
        """The numbers worth keeping of a finished training."""
        values: dict[str, float] = {}
        if self.done:
            values |= {"steps": self.done["steps"], "train_loss": self.done["train_loss"]}
        if self.progress:
            values |= {"final_loss": self.progress[-1]["loss"], "tokens_per_second": self.progress[-1]["tok_s"]}
        if self.evals:
            values["validation_loss"] = self.evals[-1][1]
        for name, split in self.splits.items():
            values[f"{name}_examples"] = split["examples"]
            values[f"{name}_dropped"] = sum(split["dropped"].values())
        return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def progress_text(event: Mapping[str, Any]) -> str:
    """What to show beside the percentage of a progress event."""
    return f"loss {event['loss']:.3f}, {event['tok_s']:,} tokens/s, {event['eta_s']:.0f} s left"


def parse_event(line: str) -> dict[str, Any]:
    """The event in a line of output, or an empty mapping for any other text."""
    text = line.strip()
    if not text.startswith("{"):
        return {}
    try:
        event = json.loads(text)
    except ValueError:
        return {}
    known = {"step", "done", "error", "split"}
    return event if isinstance(event, dict) and known & event.keys() else {}


def failure_text(tail: list[str], shown: int = 12) -> str:
    """The last lines of a failed program, the line with the cause first.

    Launchers and other ranks add noise after the exception, so the cause is looked for from the end upwards.
    """
    cause = next((line for line in reversed(tail) if _is_exception(line)), "")
    lines = "\n".join(f"    {line}" for line in tail[-shown:])
    return f"{cause}\n  last lines:\n{lines}" if cause else f"last lines:\n{lines}"


def _is_exception(line: str) -> bool:
    text = line.split("]:", 1)[-1].strip() if line.startswith("[rank") else line.strip()
    name = text.partition(":")[0]
    plain = name.replace(".", "").replace("_", "").isalnum()
    return plain and name.endswith(("Error", "Exception", "Interrupt")) and "ChildFailedError" not in name
