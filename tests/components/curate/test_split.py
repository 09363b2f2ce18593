from collections import Counter
from collections.abc import Sequence

import numpy as np

from llm_flywheel.components.curate.split import assign_splits as assign

IDS = [f"{number:04}" for number in range(1_000)]


def assign_splits(
    ids: list[str], clusters: list[int], shares: dict[str, float], seed: int, strata: Sequence[int] = ()
) -> list[str]:
    found = assign(ids, np.array(clusters), shares, seed, np.array(strata or [0] * len(ids)))
    return [[*shares, "train"][index] for index in found]


def test_shares_are_met_exactly_when_clusters_are_single_rows() -> None:
    names = assign_splits(IDS, list(range(1_000)), {"validation": 0.05, "test": 0.1}, seed=0)
    assert Counter(names) == {"train": 850, "test": 100, "validation": 50}


def test_a_cluster_never_parts_and_one_that_does_not_fit_goes_to_train() -> None:
    clusters = [0] * 600 + [number // 3 for number in range(600, 1_000)]
    names = assign_splits(IDS, clusters, {"validation": 0.1}, seed=0)
    assert set(names[:600]) == {"train"}
    assert 98 <= Counter(names)["validation"] <= 100
    assert all(len({names[row] for row in range(1_000) if clusters[row] == cluster}) == 1 for cluster in set(clusters))


def test_the_seed_and_the_ids_decide_and_not_the_order_of_rows() -> None:
    shares = {"test": 0.1}
    names = assign_splits(IDS, list(range(1_000)), shares, seed=0)
    backwards = assign_splits(IDS[::-1], list(range(1_000)), shares, seed=0)
    assert names == backwards[::-1]
    assert names != assign_splits(IDS, list(range(1_000)), shares, seed=1)


def test_a_row_hardly_moves_when_data_is_added() -> None:
    before = assign_splits(IDS[:900], list(range(900)), {"test": 0.1}, seed=0)
    after = assign_splits(IDS, list(range(1_000)), {"test": 0.1}, seed=0)
    assert sum(old != new for old, new in zip(before, after[:900], strict=True)) <= 15


def test_a_wanted_split_of_tiny_data_gets_a_row_and_an_unwanted_one_none() -> None:
    names = assign_splits(["a", "b", "c"], [0, 1, 2], {"validation": 0.05, "test": 0.0}, seed=0)
    assert Counter(names) == {"train": 2, "validation": 1}


def test_every_stratum_has_its_share_in_every_split() -> None:
    strata = [0] * 800 + [1] * 150 + [2] * 50
    names = assign_splits(IDS, list(range(1_000)), {"validation": 0.1, "test": 0.2}, 0, strata)
    counts = Counter(zip(names, strata, strict=True))
    assert [counts["validation", stratum] for stratum in range(3)] == [80, 15, 5]
    assert [counts["test", stratum] for stratum in range(3)] == [160, 30, 10]


def test_what_a_stratum_cannot_give_comes_from_another() -> None:
    strata = [0] * 900 + [1] * 100
    names = assign_splits(IDS, [*range(900), *[900] * 100], {"validation": 0.1}, 0, strata)
    counts = Counter(zip(names, strata, strict=True))
    assert counts == {("validation", 0): 100, ("train", 0): 800, ("train", 1): 100}


def test_strata_of_a_row_or_two_share_what_there_is() -> None:
    names = assign_splits(IDS, list(range(1_000)), {"validation": 0.05, "test": 0.1}, 0, [i // 2 for i in range(1_000)])
    assert Counter(names) == {"train": 850, "test": 100, "validation": 50}
