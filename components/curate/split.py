"""Deterministic splits by cluster: what is alike stays together, and a seed decides where it goes."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from llm_flywheel.components.curate.kernels import I64


def assign_splits(
    ids: Sequence[str] | pl.Series, cluster_of: I64, shares: Mapping[str, float], seed: int, stratum_of: I64
) -> NDArray[np.int8]:
    """Choose a split per row, whole clusters at a time.

    Clusters come in the order of a seeded hash of their smallest row id, so a row's place hardly moves when the data
    grows. Each split takes clusters of each stratum until its share of that stratum is reached, then of any stratum
    until its share of all rows is; a cluster that no longer fits goes to train.

    Args:
        ids: Row ids.
        cluster_of: Shape (rows): rows with the same number never part.
        shares: Wanted share of all rows, 0 to 1, per split other than train.
        seed: Changes the order.
        stratum_of: Shape (rows): what should stand in the same proportion in all splits, such as languages; that of a
            cluster is that of its smallest id.

    Returns:
        Shape (rows): index into ``shares`` of the split of each row; -1 for train.
    """
    ids = pl.Series("id", ids, dtype=pl.String)
    by_id = ids.arg_sort().to_numpy().astype(np.int64)
    cluster, sizes = np.unique(cluster_of, return_inverse=True, return_counts=True)[1:]
    first = by_id[np.unique(cluster[by_id], return_index=True)[1]]  # row with the smallest id, per cluster
    keys = np.fromiter((_key(value, seed) for value in _texts(ids.gather(first))), np.uint64, len(first))
    place = np.empty(len(ids), np.int64)
    place[by_id] = np.arange(len(ids))
    order = np.lexsort((place[first], keys))
    room = _rooms(list(shares.values()), np.bincount(stratum_of))
    chosen = np.full(len(sizes), -1, np.int8)
    _take(order, sizes, stratum_of[first], room, chosen)
    _take(order[chosen[order] < 0], sizes, np.zeros(len(sizes), np.int64), room.sum(axis=1, keepdims=True), chosen)
    result: NDArray[np.int8] = chosen[cluster]
    return result


def _rooms(shares: Sequence[float], strata: I64) -> I64:
    """Rows per split and stratum: each split's total, apportioned by largest remainder."""
    room = np.zeros((len(shares), len(strata)), np.int64)
    for index, share in enumerate(shares):
        if share > 0:
            total = max(1, round(share * int(strata.sum())))
            exact = total * strata / strata.sum()
            room[index] = np.floor(exact)
            largest = np.argsort(room[index] - exact, kind="stable")
            room[index, largest[: total - room[index].sum()]] += 1
    return room


def _take(order: I64, sizes: I64, stratum: I64, room: I64, chosen: NDArray[np.int8]) -> None:
    left = int(room.sum())
    free = room.T.tolist()
    for cluster, size, own in zip(order.tolist(), sizes[order].tolist(), stratum[order].tolist(), strict=True):
        if left <= 0:
            break
        index = next((index for index, rows in enumerate(free[own]) if rows >= size), None)
        if index is not None:
            chosen[cluster] = index
            free[own][index] -= size
            room[index, own] -= size
            left -= size


def _texts(values: pl.Series, step: int = 10_000) -> Iterator[str]:
    for at in range(0, len(values), step):
        yield from values[at : at + step].to_list()


def _key(smallest_id: str, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(f"{seed}:{smallest_id}".encode())
