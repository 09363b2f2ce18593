"""Which rows are the same again: exactly, nearly, or as a held-out row; over all shards of a run.

Rows are numbered through all shards. A search for similar texts lies in ``<search>/`` of the run's folder: its
sketches band by band, so that a worker reads one band of all texts at a time, and the pairs that its tasks found.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_flywheel.components.curate.executors import Executor, Task, perform
from llm_flywheel.components.curate.kernels import I64, U8, U32
from llm_flywheel.components.curate.neighbours import (
    F64,
    Pairs,
    Search,
    banding,
    crowded,
    distinct,
    signature_bytes,
)
from llm_flywheel.components.curate.shards import SetsOnDisk, clean_tasks, facts, plan_of, sketches_of, stems
from llm_flywheel.components.curate.shingles import batches

_TITLES = {"leaks": "leaks into the test split", "near": "near-duplicates", "split": "similar questions"}
_KEYS_PER_TASK = 2_000_000
_CROWDED_PER_TASK = 100_000


class OnDisk:
    """The `Sketches` of one search over all shards."""

    def __init__(self, folder: Path, name: str) -> None:
        self._files = folder / name
        self._system = np.load(self._files / "system.npy", mmap_mode="r")
        self._order: I64 = np.load(self._files / "order.npy")
        self._tests = int(np.load(self._files / "tests.npy"))
        self._signatures = np.memmap(self._files / "signatures", np.uint8, "r").reshape(len(self._order), -1)
        kind, self.threshold = sketches_of(plan_of(folder).settings)[name]
        self._user = SetsOnDisk(folder, "user")
        self._answers = SetsOnDisk(folder, "answers") if kind == "both" else None

    def keys(self, band: int) -> U32:
        """See `Sketches`."""
        count = len(self._order)
        return np.fromfile(self._files / "keys", np.uint32, count, offset=4 * band * count)

    def signatures(self, texts: I64) -> U8:
        """See `Sketches`."""
        found: U8 = self._signatures[texts]
        return found

    def similarity(self, left: I64, right: I64) -> F64:
        """See `Sketches`: the Jaccard similarity; the smaller one of user texts and answers where both count.

        Where both parts are at least t alike, so is their disjoint union: the search misses no pair.
        """
        if self._answers is None:
            return _jaccard(self._user, self._order[left], self._order[right], self.threshold)
        similarity = np.zeros(len(left))
        chosen = np.flatnonzero(self._system[left] == self._system[right])
        for sets in (self._user, self._answers):
            own = _jaccard(sets, self._order[left[chosen]], self._order[right[chosen]], self.threshold)
            similarity[chosen] = own if sets is self._user else np.minimum(similarity[chosen], own)
            similarity[chosen[own < self.threshold]] = 0
            chosen = chosen[own >= self.threshold]
        return similarity

    def wanted(self, left: I64, right: I64) -> NDArray[np.bool_]:
        """See `Sketches`: a search with test texts, which stand first, is for pairs of a test text and another."""
        if not self._tests:
            return np.ones(len(left), bool)
        asked: NDArray[np.bool_] = (left < self._tests) & (right >= self._tests)
        return asked


def _jaccard(sets: SetsOnDisk, left: I64, right: I64, least: float) -> F64:
    parts = [np.empty(0)]
    for begin, end in batches(sets.sizes[left] + sets.sizes[right]):
        rows, places = np.unique(np.concatenate([left[begin:end], right[begin:end]]), return_inverse=True)
        parts.append(sets.take(rows).jaccard(places[: end - begin], places[end - begin :], least))
    return np.concatenate(parts)


def find_pairs(folder: Path, executor: Executor, name: str, rows: I64, tests: int = 0) -> tuple[Pairs, int]:
    """Search some rows for similar texts.

    Args:
        folder: The run's folder.
        executor: Does the work.
        name: One of `sketches_of`.
        rows: The rows, in the order in which they are numbered in the result.
        tests: Look only for pairs of one of the first ``tests`` rows with one of the others; 0 for all pairs.

    Returns:
        The pairs, and how many texts were not compared with all of an overfull bucket.
    """
    if len(rows) < 2:
        return Pairs.merged([]), 0
    _, threshold = sketches_of(plan_of(folder).settings)[name]
    bands = banding(threshold)[0]
    _lay_out(folder, name, rows, tests, threshold)
    parts = range(-(-bands // _bands_per_task(len(rows))))
    perform(executor, [Task(search_bands, folder, f"{name}/bands", key) for key in parts], _TITLES[name])
    found = [np.load(folder / name / "bands" / f"{key:05}.npz") for key in parts]
    groups = _in_groups(distinct(crowd for part in found for crowd in _split(part["members"], part["sizes"])))
    for key, group in enumerate(groups):
        np.savez(folder / name / f"crowds-{key:05}.npz", members=np.concatenate(group), sizes=[*map(len, group)])
    perform(
        executor,
        [Task(search_crowds, folder, f"{name}/crowds", key) for key in range(len(groups))],
        f"{_TITLES[name]}, crowds",
    )
    more = [np.load(folder / name / "crowds" / f"{key:05}.npz") for key in range(len(groups))]
    pairs = Pairs.merged(Pairs(part["left"], part["right"], part["similarity"]) for part in [*found, *more])
    return pairs, len(np.unique(np.concatenate([np.empty(0, np.int64), *(part["rest"] for part in more)])))


def _bands_per_task(texts: int) -> int:
    return max(1, _KEYS_PER_TASK // texts)


def _lay_out(folder: Path, name: str, rows: I64, tests: int, threshold: float) -> None:
    """Write the sketches of these rows band by band."""
    files = folder / name
    files.mkdir(exist_ok=True)
    if (files / "crowded.npz").exists() and np.array_equal(np.load(files / "order.npy"), rows):
        return
    sketches = sketches_of(plan_of(folder).settings)
    sketch = "leaks" if sketches[name] == sketches["leaks"] else name
    np.save(files / "order.npy", rows)
    np.save(files / "tests.npy", tests)
    np.save(files / "system.npy", facts(folder, ["system"])["system"].to_numpy()[rows])
    shards = [(stem, task.outcome()["rows"]) for stem, task in zip(stems(folder), clean_tasks(folder), strict=True)]
    full = []
    with (files / "keys").open("wb") as file:
        for band in range(banding(threshold)[0]):
            parts = [
                np.fromfile(stem.with_suffix(f".{sketch}.keys"), np.uint32, count, offset=4 * band * count)
                for stem, count in shards
            ]
            keys = np.concatenate(parts)[rows]
            keys.tofile(file)
            full.append(crowded(keys))
    order = np.argsort(rows)
    starts = np.cumsum([0, *(count for _, count in shards)])
    cuts = np.searchsorted(rows[order], starts)
    together = np.memmap(files / "signatures", np.uint8, "w+", shape=(len(rows), signature_bytes(threshold)))
    for (stem, _), start, begin, end in zip(shards, starts, cuts, cuts[1:], strict=False):
        own = np.load(stem.with_suffix(f".{sketch}.signatures.npy"))
        together[order[begin:end]] = own[rows[order[begin:end]] - start]
    together.flush()
    np.savez(files / "partial.npz", *full)
    (files / "partial.npz").replace(files / "crowded.npz")


def search_bands(folder: Path, phase: str, key: int) -> dict[str, Any]:
    """Find the similar pairs of some bands; see `Task`."""
    name = phase.split("/")[0]
    search = _search(folder, name)
    full = np.load(folder / name / "crowded.npz")
    step = _bands_per_task(len(np.load(folder / name / "order.npy", mmap_mode="r")))
    own = range(search.bands)[key * step : (key + 1) * step]
    pairs, crowds = search.in_bands(own, [full[f"arr_{band}"] for band in range(search.bands)])
    members = np.concatenate([np.empty(0, np.int64), *crowds])
    np.savez(_result(folder, phase, key), **vars(pairs), members=members, sizes=np.array([*map(len, crowds)], np.int64))
    return {"pairs": len(pairs.left)}


def search_crowds(folder: Path, phase: str, key: int) -> dict[str, Any]:
    """Find similar pairs in some overfull buckets; see `Task`."""
    name = phase.split("/")[0]
    group = np.load(folder / name / f"crowds-{key:05}.npz")
    pairs, rest = _search(folder, name).in_crowds(_split(group["members"], group["sizes"]))
    np.savez(_result(folder, phase, key), **vars(pairs), rest=rest)
    return {"pairs": len(pairs.left)}


def _search(folder: Path, name: str) -> Search:
    sketches = OnDisk(folder, name)
    return Search(sketches, sketches.threshold)


def _result(folder: Path, phase: str, key: int) -> Path:
    return Task(search_bands, folder, phase, key).stem.with_suffix(".npz")


def _split(members: I64, sizes: I64) -> list[I64]:
    return np.split(members, np.cumsum(sizes)[:-1]) if len(sizes) else []


def _in_groups(crowds: Sequence[I64]) -> list[list[I64]]:
    groups: list[list[I64]] = []
    room = 0
    for crowd in crowds:
        if room <= 0:
            groups.append([])
            room = _CROWDED_PER_TASK
        groups[-1].append(crowd)
        room -= len(crowd)
    return groups
