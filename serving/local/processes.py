"""Starts servers that outlive the step that started them, and ends them with the run that they belong to.

Every server gets a session of its own, a record in ``<run_dir>/processes/`` and its run's id in its environment.
`reap` finds a run's processes by any of the three, so that neither a dead leader, a lost record nor a child that
was forked in between escapes.
"""

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_json

RUN_ID = "FLYWHEEL_RUN_ID"
# psutil adds ticks since boot to the boot time, which moves when the clock is set.
_CLOCK_SLACK_S = 2.0


@dataclass(frozen=True)
class ProcessRecord:
    """One server of a run.

    Attributes:
        name: Unique within the run.
        pid: Process id of the session leader.
        session: Its session id.
        argv: What was started. Secrets are never passed on a command line.
        port: Port it listens on, or 0.
        started: When the kernel made it, Unix time, seconds.
        log: File with its output.
    """

    name: str
    pid: int
    session: int
    argv: list[str]
    port: int
    started: float
    log: str


@dataclass(frozen=True)
class Server:
    """A server that this process started.

    Attributes:
        record: How it was recorded.
        popen: Its handle; the server lives on when it is dropped.
        log_offset: Where its output begins in the log; an earlier try may have written before.
    """

    record: ProcessRecord
    popen: "subprocess.Popen[bytes]"
    log_offset: int = 0

    @property
    def log(self) -> Path:
        """File with its output."""
        return Path(self.record.log)

    def output(self) -> str:
        """What it has written so far."""
        try:
            with self.log.open("rb") as file:
                file.seek(self.log_offset)
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(
    name: str,
    argv: Sequence[str],
    *,
    run_dir: Path,
    run_id: str,
    port: int = 0,
    env: Mapping[str, str] | None = None,
) -> Server:
    """Start a server in a session of its own and record it.

    Args:
        name: Unique within the run; names the record and the log.
        argv: Program and arguments.
        run_dir: Folder of the run.
        run_id: Id of the run, put into the server's environment.
        port: Port it will listen on, for the record.
        env: Variables to set on top of this process's environment.

    Raises:
        FlywheelError: The program cannot be started.
    """
    log = run_dir / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as output:
            offset = output.tell()
            popen = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {}), RUN_ID: run_id},
                start_new_session=True,
            )
    except OSError as error:
        raise FlywheelError(f"cannot start {name}: {error}", where=argv[0], reason="start") from None
    # The kernel's own word: on a busy machine seconds pass between the start and our next line.
    started = psutil.Process(popen.pid).create_time()
    record = ProcessRecord(name, popen.pid, popen.pid, list(argv), port, started, str(log))
    _write(record, run_dir)
    return Server(record, popen, offset)


def _write(record: ProcessRecord, run_dir: Path) -> None:
    write_json(run_dir / "processes" / f"{record.name}.json", asdict(record))


def records(run_dir: Path) -> list[ProcessRecord]:
    """Servers of a run that were started and not reaped, oldest first; an unreadable record is skipped."""
    found = []
    for path in (run_dir / "processes").glob("*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found.append(ProcessRecord(**json.loads(path.read_text(encoding="utf-8"))))
    return sorted(found, key=lambda record: record.started)


def reap(run_dir: Path, run_id: str, grace_s: float = 10.0) -> list[str]:
    """End every process of a run: first TERM, then KILL. Never this process or one of its ancestors.

    Args:
        run_dir: Folder of the run.
        run_id: Id of the run; empty to go by the records alone.
        grace_s: Seconds between TERM and KILL.

    Returns:
        A line per process that was ended, for the log.
    """
    known = records(run_dir)
    ended: dict[int, str] = {}
    deadline = time.monotonic() + grace_s
    told: set[int] = set()
    # A process may fork while we look: look again until nobody is left.
    while found := list(_members(known, run_id)):
        late = time.monotonic() >= deadline
        for process in found:
            with contextlib.suppress(psutil.Error):
                ended.setdefault(process.pid, f"{process.pid} {' '.join(process.cmdline()).strip()[:120]}")
                if late:
                    process.kill()
                elif process.pid not in told:
                    process.terminate()
                    told.add(process.pid)
        psutil.wait_procs(found, timeout=0.1)
        if time.monotonic() >= deadline + 10:
            break  # what KILL does not end is stuck in the kernel
    for record in known:
        (run_dir / "processes" / f"{record.name}.json").unlink(missing_ok=True)
    return list(ended.values())


def _members(known: Sequence[ProcessRecord], run_id: str) -> Iterator[psutil.Process]:
    """Live processes of a run, with all their descendants."""
    spared = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    sessions = {record.session: record for record in known if _is_ours(record)}
    seen: set[int] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in spared or not _belongs(process, sessions, run_id):
                continue
            for member in _with_children(process):
                if member.pid not in spared and member.pid not in seen and member.status() != psutil.STATUS_ZOMBIE:
                    seen.add(member.pid)
                    yield member


def _with_children(process: psutil.Process) -> Iterable[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return [process]


def _belongs(process: psutil.Process, sessions: Mapping[int, ProcessRecord], run_id: str) -> bool:
    record = sessions.get(os.getsid(process.pid))
    if record is not None and process.create_time() >= record.started - _CLOCK_SLACK_S:
        return True
    return bool(run_id) and process.environ().get(RUN_ID) == run_id


def _is_ours(record: ProcessRecord) -> bool:
    """Whether the record's process id still means our server, or nobody (then its children may live)."""
    try:
        return abs(psutil.Process(record.pid).create_time() - record.started) <= _CLOCK_SLACK_S
    except psutil.Error:
        return True


def alive(record: ProcessRecord) -> bool:
    """Whether a recorded server still runs."""
    try:
        process = psutil.Process(record.pid)
        return _is_ours(record) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
