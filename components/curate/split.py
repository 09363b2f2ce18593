"""Deterministic splits by cluster: what is alike stays together, and a seed decides where it goes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import xxhash


def assign_splits(ids: Sequence[str], cluster_of: Sequence[int], shares: Mapping[str, float], seed: int) -> list[str]:
    """Choose a split per row, whole clusters at a time.

    Clusters come in the order of a seeded hash of their smallest row id, so a row's place hardly moves when the data
    grows. Each split takes clusters until its share is reached; a cluster that no longer fits goes to train.

    Args:
        ids: Row ids.
        cluster_of: Cluster of each row; rows with the same number never part.
        shares: Wanted share of all rows, 0 to 1, per split other than train.
        seed: Changes the order.

    Returns:
        Name of the split of each row; ``train`` for what no split of ``shares`` took.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for row, cluster in enumerate(cluster_of):
        members[cluster].append(row)
    keys = {cluster: _key(min(ids[row] for row in rows), seed) for cluster, rows in members.items()}
    room = {name: max(1, round(share * len(ids))) for name, share in shares.items() if share > 0}
    result = ["train"] * len(ids)
    for cluster in sorted(members, key=keys.__getitem__):
        rows = members[cluster]
        name = next((name for name, free in room.items() if free >= len(rows)), None)
        if name is not None:
            room[name] -= len(rows)
            for row in rows:
                result[row] = name
    return result


def _key(smallest_id: str, seed: int) -> tuple[int, str]:
    return xxhash.xxh3_64_intdigest(f"{seed}:{smallest_id}".encode()), smallest_id
