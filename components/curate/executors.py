"""Where the tasks of a phase run: in this process, on all cores, or on a Ray cluster."""

import importlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import xxhash

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_json
from llm_flywheel.components.common.progress import Progress
from llm_flywheel.components.common.workers import available_cores, end_with_parent, submit

_BLOCK_BYTES = 1 << 20


class Task(NamedTuple):
    """One piece of work on the files of a folder; doing it again makes the same files.

    Its files are ``<phase>/<key>.*`` in the folder. The last one, ``<key>.json``, is its done marker, with what the
    function counted and the hash of every other file.

    Attributes:
        function: Does it, given the folder, the phase and the key; a function of a module, so that it can be pickled.
        folder: The folder, on a disk that all workers share.
        phase: Name of the phase.
        key: Number of the piece.
    """

    function: Callable[[Path, str, int], dict[str, Any]]
    folder: Path
    phase: str
    key: int

    @property
    def stem(self) -> Path:
        """Path of its files, without what stands behind the key."""
        return self.folder / self.phase / f"{self.key:05}"

    @property
    def marker(self) -> Path:
        """Path of its done marker."""
        return self.stem.with_suffix(".json")

    def files(self) -> dict[str, str]:
        """Hash of each file, by name."""
        found = sorted(self.stem.parent.glob(f"{self.stem.name}.*"))
        return {path.name: hash_of(path) for path in found if not path.name.startswith(self.marker.name)}

    def outcome(self) -> dict[str, Any]:
        """What its marker holds."""
        marker: dict[str, Any] = json.loads(self.marker.read_text(encoding="utf-8"))
        return marker

    def is_done(self) -> bool:
        """Whether its marker is there and its files are those that it names."""
        return self.marker.exists() and self.outcome()["files"] == self.files()

    def do(self) -> int:
        """Do it, write the marker, and return the key."""
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        self.marker.unlink(missing_ok=True)
        counted = self.function(self.folder, self.phase, self.key)
        write_json(self.marker, {**counted, "files": self.files()})
        return self.key


def hash_of(path: Path) -> str:
    """Hash of a file's bytes."""
    digest = xxhash.xxh3_64()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class Executor(Protocol):
    """Does the tasks of one phase after the other."""

    def run(self, tasks: Sequence[Task]) -> Iterator[int]:
        """Do all tasks and yield the key of each when it is done, in any order."""
        ...


def perform(executor: Executor, tasks: Sequence[Task], title: str = "") -> list[dict[str, Any]]:
    """Do what is not done yet of one phase.

    Args:
        executor: Where.
        tasks: All tasks of the phase.
        title: What a person sees of it; nothing is shown for a single task, or without a title.

    Returns:
        The content of their done markers, in the order of the tasks.
    """
    missing = [task for task in tasks if not task.is_done()]
    if len(tasks) > 1 and title:
        with Progress(f"curate: {title}", len(tasks)) as progress:
            for done, _ in enumerate(executor.run(missing), len(tasks) - len(missing) + 1):
                progress.update(done)
    else:
        list(executor.run(missing))
    return [task.outcome() for task in tasks]


class Inline:
    """Does the tasks one by one in this process."""

    def run(self, tasks: Sequence[Task]) -> Iterator[int]:
        """See `Executor`."""
        return (task.do() for task in tasks)


class Pool:
    """Does the tasks in processes of this machine, which live until the end of the ``with`` block.

    Args:
        workers: Processes; 0 for all cores that this process may use.
    """

    def __init__(self, workers: int = 0) -> None:
        self._workers = workers or available_cores()
        self._pool: ProcessPoolExecutor | None = None

    def run(self, tasks: Sequence[Task]) -> Iterator[int]:
        """See `Executor`; a single task is done in this process."""
        if len(tasks) < 2 or self._workers < 2:
            yield from Inline().run(tasks)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._workers, multiprocessing.get_context("spawn"), _start)
        try:
            for future in as_completed([submit(self._pool, task.do) for task in tasks]):
                yield future.result()
        except BrokenProcessPool:
            raise FlywheelError(
                "a worker process died, probably for lack of memory",
                where="curate",
                fix="give it more memory or fewer workers; what is done is kept, so start it again",
                reason="worker_died",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _start() -> None:
    end_with_parent()
    # One process per core: threads of their own would only get in each other's way.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    import pyarrow as pa

    pa.set_cpu_count(1)


class Ray:
    """Does the tasks on the Ray cluster that this process is connected to, or on a local one.

    The folder must be on a disk that all nodes share. Tasks, not actors: actors that hold all cores starve the tasks
    that would feed them.
    """

    def run(self, tasks: Sequence[Task]) -> Iterator[int]:
        """See `Executor`."""
        try:
            ray = importlib.import_module("ray")
        except ModuleNotFoundError:
            raise FlywheelError(
                "ray is not installed", fix="pip install 'llm-flywheel[ray]'", reason="missing"
            ) from None
        ray.init(ignore_reinit_error=True, log_to_driver=False)
        do = ray.remote(num_cpus=1, max_retries=2)(Task.do)
        waiting = [do.remote(task) for task in tasks]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)
