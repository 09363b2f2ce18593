"""How far two distributions lie apart."""

from collections import Counter

import pytest

from llm_flywheel.components.common.shift import (
    Shift,
    population_stability_index,
    psi_by_chance,
    shift_of_categories,
    shift_of_numbers,
    total_variation,
)


def test_psi_of_two_bins() -> None:
    # p = 60.5/101, 40.5/101; q = 40.5/101, 60.5/101: 2 * 20/101 * ln(60.5/40.5)
    assert population_stability_index([60, 40], [40, 60]) == pytest.approx(0.158947, abs=1e-6)


def test_psi_of_an_empty_bin_is_finite() -> None:
    assert population_stability_index([10, 0], [0, 10]) == pytest.approx(5.535495, abs=1e-6)


def test_tvd_is_the_share_of_rows_that_would_have_to_move() -> None:
    assert total_variation([60, 40], [80, 120]) == pytest.approx(0.2)
    assert total_variation([1, 0], [0, 5]) == 1


def test_psi_by_chance_is_the_quantile_of_chi_squared() -> None:
    # 95 % of chi squared with 9 degrees of freedom: 16.919
    assert psi_by_chance([100] * 10, [200] * 10) == pytest.approx(16.919 * (1 / 1000 + 1 / 2000), rel=2e-3)
    assert psi_by_chance([5], [7]) == 0


def test_numbers_are_cut_at_the_tenths_of_the_first_dataset() -> None:
    shift = shift_of_numbers("length", Counter(range(1, 101)), Counter({5: 10, 95: 30, 1000: 10}))
    assert shift.labels[:2] == ["≤ 10", "11 to 20"]
    assert shift.labels[-1] == "> 90"
    assert shift.a == [10] * 10
    assert shift.b == [10, 0, 0, 0, 0, 0, 0, 0, 0, 40]
    assert (shift.medians, shift.p95) == ((50, 95), (95, 1000))


def test_equal_values_share_a_bin() -> None:
    shift = shift_of_numbers("length", Counter({1: 50, 2: 30, 3: 20}), Counter({2: 1, 9: 1}))
    assert (shift.labels, shift.a, shift.b) == (["≤ 1", "2", "> 2"], [50, 30, 20], [0, 1, 1])


def test_one_value_alone_is_one_bin() -> None:
    shift = shift_of_numbers("length", Counter({7: 3}), Counter({7: 1, 9: 1}))
    assert (shift.labels, shift.a, shift.b, shift.verdict) == (["all"], [3], [2], "none")


def test_rare_categories_are_one_bin() -> None:
    many = Counter({f"f{number:02}": 100 - number for number in range(25)})
    shift = shift_of_categories("source", many, Counter({"f00": 1, "new": 2, "": 300}))
    assert shift.labels[0] == "(none)"
    assert shift.labels[-1] == "7 others"
    assert (sum(shift.a), sum(shift.b)) == (sum(many.values()), 303)


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([50, 50], [500, 500], "none"),
        ([6, 4], [4, 6], "chance"),
        ([5000, 5000], [5500, 4500], "small"),
        ([600, 400], [400, 600], "moderate"),
        ([900, 100], [100, 900], "large"),
    ],
)
def test_verdicts(a: list[int], b: list[int], verdict: str) -> None:
    assert Shift("lang", ["en", "ko"], a, b).verdict == verdict
