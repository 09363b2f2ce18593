from collections import Counter

from llm_flywheel.components.curate.split import assign_splits

IDS = [f"{number:04}" for number in range(1_000)]


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
