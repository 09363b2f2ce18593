"""Ends a run's processes when its runner is gone, however it went: Ctrl-C, a crash or ``kill -9``.

``python -m llm_flywheel.serving.local.watchdog RUN_DIR RUN_ID`` reads its standard input. The runner holds the other
end of that pipe and the kernel closes it with the runner; a line ``keep`` before that makes the watchdog leave alone
what runs.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from llm_flywheel.serving.local.processes import RUN_ID, reap


class Watchdog:
    """The runner's end of the pipe."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen

    @property
    def pid(self) -> int:
        """Process id of the watchdog."""
        return self._popen.pid

    def keep(self) -> None:
        """Leave the run's processes running when the runner ends."""
        # The watchdog may have been killed; then nobody reaps, which is what was asked for.
        with contextlib.suppress(OSError, ValueError):
            assert self._popen.stdin is not None
            self._popen.stdin.write(b"keep\n")
            self._popen.stdin.flush()

    def close(self, timeout_s: float = 30.0) -> None:
        """Let go of the pipe and wait until the watchdog has done its work."""
        with contextlib.suppress(OSError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout_s)


def start_watchdog(run_dir: Path, run_id: str) -> Watchdog:
    """Start the watchdog of a run; its life is tied to this process by a pipe alone."""
    environment = {key: value for key, value in os.environ.items() if key != RUN_ID}
    log = run_dir / "logs" / "watchdog.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return Watchdog(
            subprocess.Popen(
                [sys.executable, "-m", "llm_flywheel.serving.local.watchdog", str(run_dir), run_id],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        )


def main(arguments: Sequence[str]) -> int:
    """Wait for the runner to end; then reap, unless it said ``keep``."""
    run_dir, run_id = Path(arguments[0]), arguments[1]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for line in sys.stdin:
        if line.strip() == "keep":
            return 0
    for line in reap(run_dir, run_id):
        print(f"ended {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
