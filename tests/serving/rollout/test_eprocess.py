"""The tests of the tests: exact expectations for small samples, and simulations with fixed seeds."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from llm_flywheel.serving.rollout.eprocess import (
    absolute_log_lr,
    harm_ratios,
    log_mixture,
    pass_values,
    relative_log_lr,
)

ALPHA = 0.05
Floats = NDArray[np.float64]


def test_a_bad_canary_request_multiplies_the_evidence_by_p_theta_over_p_null() -> None:
    # s = 10/100, theta = 2: p = 0.2 / 1.1, null p = 0.1; one bad canary request, no bad stable request.
    made = relative_log_lr(10, 1, 90, 0, [2.0], 1.0)
    assert made.tolist() == pytest.approx([math.log((0.2 / 1.1) / 0.1)])


def test_a_bad_stable_request_multiplies_it_by_the_ratio_of_the_complements() -> None:
    made = relative_log_lr(10, 0, 90, 1, [2.0], 1.0)
    assert made.tolist() == pytest.approx([math.log((0.9 / 1.1) / 0.9)])


def test_an_interval_with_one_variant_only_is_no_evidence() -> None:
    assert relative_log_lr(0, 0, 90, 40, [2.0, 8.0], 1.0).tolist() == [0.0, 0.0]
    assert relative_log_lr(10, 10, 0, 0, [2.0, 8.0], 1.0).tolist() == [0.0, 0.0]


def test_requests_without_a_bad_one_are_no_relative_but_absolute_evidence() -> None:
    assert relative_log_lr(50, 0, 50, 0, [0.5], 2.0).tolist() == [0.0]
    assert absolute_log_lr(50, 0, [0.01], 0.05).tolist() == pytest.approx([50 * math.log(0.99 / 0.95)])


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.3, 0.45])
@pytest.mark.parametrize(("null", "true"), [(1.0, 1.0), (1.0, 0.7), (2.0, 2.0), (2.0, 1.3)])
def test_harm_evidence_is_expected_to_be_at_most_one_whatever_the_rate(rate: float, null: float, true: float) -> None:
    assert _expected(12, 30, true * rate, rate, harm_ratios(null), null).max() <= 1 + 1e-12


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("true", [2.0, 3.0])
def test_evidence_of_non_inferiority_is_expected_to_be_at_most_one(rate: float, true: float) -> None:
    assert _expected(12, 12, true * rate, rate, pass_values(2.0), 2.0).max() <= 1 + 1e-12


def _expected(n_c: int, n_s: int, rate_c: float, rate_s: float, ratios: tuple[float, ...], null: float) -> Floats:
    """Exact expectation of the likelihood ratio over both binomials."""
    k, rest = np.meshgrid(np.arange(n_c + 1), np.arange(n_s + 1), indexing="ij")
    weight = binom.pmf(k, n_c, rate_c) * binom.pmf(rest, n_s, rate_s)
    lr = np.exp(relative_log_lr(np.full_like(k, n_c), k, np.full_like(k, n_s), rest, ratios, null))
    return np.asarray((weight[..., None] * lr).sum(axis=(0, 1)))


class Simulation:
    """Counts of many rollouts at once: shape (runs, looks), weights 10 % then 50 %."""

    def __init__(self, stable: Floats | float, canary: Floats | float, *, runs: int = 2000, per_look: int = 20) -> None:
        rng = np.random.default_rng(20260801)
        weights = np.repeat([0.1, 0.5], 30)
        self.n_c = rng.binomial(per_look, np.broadcast_to(weights, (runs, 60)))
        self.n_s = per_look - self.n_c
        self.k = rng.binomial(self.n_c, canary)
        self.rest = rng.binomial(self.n_s, stable)

    def crossed(self, log_lr: Floats, level: float) -> Floats:
        """Per run, the first look at which the e-process reached 1/level; infinity if it never did."""
        over = log_mixture(np.cumsum(log_lr, axis=1)) >= math.log(1 / level)
        return np.where(over.any(axis=1), over.argmax(axis=1) + 1.0, np.inf)

    def harm(self) -> Floats:
        return self.crossed(relative_log_lr(self.n_c, self.k, self.n_s, self.rest, harm_ratios(1.0), 1.0), ALPHA)

    def no_worse_than(self, margin: float) -> Floats:
        lr = relative_log_lr(self.n_c, self.k, self.n_s, self.rest, pass_values(margin), margin)
        return self.crossed(lr, ALPHA)


def share(crossed: Floats) -> float:
    return float(np.isfinite(crossed).mean())


@pytest.mark.parametrize("rate", [0.005, 0.05, 0.2])
def test_without_a_difference_rollbacks_stay_below_alpha_over_sixty_looks(rate: float) -> None:
    assert share(Simulation(rate, rate).harm()) <= ALPHA


def test_an_incident_that_hits_both_variants_does_not_roll_back() -> None:
    rates = np.full(60, 0.005)
    rates[20:30] = 0.5
    assert share(Simulation(rates, rates).harm()) <= ALPHA


def test_ten_times_the_errors_is_found() -> None:
    crossed = Simulation(0.02, 0.2).harm()
    assert share(crossed) > 0.99
    assert np.median(crossed) <= 20  # looks of 20 requests, of which the canary gets two


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3])
def test_a_canary_at_the_margin_is_not_called_non_inferior(rate: float) -> None:
    assert share(Simulation(rate, 2 * rate).no_worse_than(2.0)) <= ALPHA


def test_an_equal_canary_is_called_non_inferior() -> None:
    assert share(Simulation(0.1, 0.1, per_look=60).no_worse_than(3.0)) > 0.95


def test_a_canary_at_the_absolute_limit_does_not_pass() -> None:
    simulated = Simulation(0.0, 0.05)
    assert (
        share(simulated.crossed(absolute_log_lr(simulated.n_c, simulated.k, pass_values(0.05), 0.05), ALPHA)) <= ALPHA
    )
