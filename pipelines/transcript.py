"""What a local run prints: the steps' own words, without the executor's plumbing; everything goes to the log."""

import io
import re
import time
from pathlib import Path
from typing import TextIO

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_TASK = re.compile(r"Executing task '([^']+)'")
_ORCHESTRATOR = re.compile(r"^\d\d:\d\d:\d\d\.\d+ - (\w+) - (.*)")


class Transcript(io.TextIOBase):
    """A text stream to put in place of stdout while ``kfp.local`` runs.

    Every line is appended to a log file as it is. The terminal gets a headline per step and the lines the step
    printed; KFP's executor lines and the JSON of its inputs are left to the log.

    Args:
        terminal: Where a person reads.
        log: File that keeps everything.
    """

    def __init__(self, terminal: TextIO, log: Path) -> None:
        self._terminal = terminal
        self._log = log.open("a", encoding="utf-8")
        self._buffer = ""
        self._in_inputs = False
        self._in_outputs = False
        self._start = time.monotonic()

    def writable(self) -> bool:
        """Always: this is a sink."""
        return True

    def write(self, text: str) -> int:
        """Take any piece of text; lines are shown when they are complete."""
        self._log.write(text)
        self._buffer += text
        *lines, self._buffer = self._buffer.split("\n")
        for line in lines:
            shown = self._shown(_ANSI.sub("", line))
            if shown is not None:
                self._terminal.write(shown + "\n")
        return len(text)

    def flush(self) -> None:
        """Flush both sinks."""
        self._log.flush()
        self._terminal.flush()

    def close(self) -> None:
        """Close the log; the terminal stays open."""
        self._log.close()

    def _shown(self, line: str) -> str | None:
        if self._in_inputs:
            self._in_inputs = line != "    }"
            return None
        if "[KFP Executor " in line:
            self._in_inputs = line.endswith("Got executor_input:")
            return None
        orchestrator = _ORCHESTRATOR.match(line)
        if orchestrator:
            self._in_outputs = orchestrator[2].endswith(" outputs:")
            task = _TASK.match(orchestrator[2])
            return f"[{time.monotonic() - self._start:6.1f} s] ▶ {task[1]}" if task else None
        if self._in_outputs or not line.strip():
            return None
        return f"          {line.strip()}" if line.startswith("    ") else None
