"""Starts a server and waits for it: a port that is taken is retried, a failure is explained from the log."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.local.http import call
from llm_flywheel.serving.local.processes import Server, free_port, start

_PORT_TAKEN = re.compile(r"address already in use|Errno 98", re.IGNORECASE)
# The last line of a Python traceback, with or without a logger's prefix before it.
_CAUSE = re.compile(r"(?:^|[\s\]])((?:[A-Za-z_]+\.)*[A-Za-z]*(?:Error|Exception|Exit)): (.+)$")
# vLLM's parent process only reports that its child failed; the child's own line says why.
_NO_CAUSE = ("Engine core initialization failed", "See root cause above", "WorkerProc initialization failed")
_TRIES = 3
_TELL_EVERY_S = 5.0


def start_ready(
    name: str,
    argv: Callable[[int], Sequence[str]],
    *,
    run_dir: Path,
    run_id: str,
    timeout_s: float,
    health: str = "/health",
    env: Mapping[str, str] | None = None,
    port: int = 0,
) -> Server:
    """Start a server on a free port and wait until it answers.

    Args:
        name: Name of its record and log.
        argv: Program and arguments for a port.
        run_dir: Folder of the run.
        run_id: Id of the run.
        timeout_s: Longest wait, seconds.
        health: Path that answers 200 when it is ready.
        env: Variables to set for it.
        port: Wanted port; 0 for any. A wanted port is not replaced by another.

    Raises:
        FlywheelError: It ended or did not answer in time; with the cause and the end of its log.
    """
    for attempt in range(_TRIES):
        chosen = port or free_port()
        server = start(name, argv(chosen), run_dir=run_dir, run_id=run_id, port=chosen, env=env)
        try:
            wait_ready(server, f"http://127.0.0.1:{chosen}{health}", timeout_s)
            return server
        except FlywheelError:
            # Somebody else took the port between our look and the server's bind.
            taken = server.popen.poll() is not None and _PORT_TAKEN.search(server.output())
            if port or not taken or attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


def wait_ready(server: Server, url: str, timeout_s: float) -> float:
    """Wait until ``url`` answers 200, showing that time passes.

    Returns:
        Seconds waited.

    Raises:
        FlywheelError: The server ended, or the time is up.
    """
    name, begin, shown = server.record.name, time.monotonic(), 0.0
    while (waited := time.monotonic() - begin) < timeout_s:
        if call(url, timeout_s=2.0).status == 200:
            print(f"{name} is ready after {waited:.1f} s", flush=True)
            return waited
        status = server.popen.poll()
        if status is not None:
            raise _failed(server, f"{name} ended with status {status} before it was ready")
        if waited - shown >= _TELL_EVERY_S:
            shown = waited
            print(f"waiting for {name}: {waited:.0f} s (at most {timeout_s:.0f} s)", flush=True)
        time.sleep(0.2)
    raise _failed(server, f"{name} was not ready after {timeout_s:.0f} s", reason="timeout")


def _failed(server: Server, what: str, reason: str = "start") -> FlywheelError:
    text = server.output()
    cause = cause_of(text)
    tail = "\n".join(f"    {line}" for line in text.strip().splitlines()[-8:])
    return FlywheelError(
        f"{what}{': ' + cause if cause else ''}\n  the log ends with\n{tail}",
        where=server.record.log,
        reason=reason,
    )


def cause_of(log: str) -> str:
    """The most telling error line of a server's log, or empty.

    The last exception that does not merely point at another one.
    """
    lines = log.splitlines()
    for number in range(len(lines) - 1, -1, -1):
        match = _CAUSE.search(lines[number])
        if match is None or any(word in match[2] for word in _NO_CAUSE):
            continue
        text = match[2]
        if "validation error" in text and number + 1 < len(lines):
            text = lines[number + 1].strip()  # pydantic's first line only counts
        return f"{match[1]}: {text if len(text) <= 300 else text[:300] + '…'}"
    return ""
