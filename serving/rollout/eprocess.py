r"""Anytime-valid tests on counts of bad requests: pure arithmetic, no state, no I/O.

An e-process is a non-negative process whose expectation under the null is at most 1 at any stopping time. By Ville's
inequality it ever reaches 1/alpha with probability at most alpha, so one may look after every interval and stop
whenever one likes (Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", 2023).

Relative test. In an interval the canary has ``n_c`` requests, ``k`` of them bad, stable ``n_s`` and ``m - k``; share
``s = n_c / (n_c + n_s)``. If the canary's bad rate is theta times stable's, a bad request is the canary's with
probability ``p(theta) = s theta / (s theta + 1 - s)``. The likelihood ratio of ``theta`` against ``theta0`` is
``a^k b^(m-k)``, ``a = p(theta)/p(theta0)``, ``b = (1-p(theta))/(1-p(theta0))``.

Why this holds for common events too, not only rare ones: for independent requests with bad rates ``r`` and
``theta' r``, ``E[a^k b^(m-k) | n_c, n_s] = (1 + theta' r (a-1))^n_c (1 + r (b-1))^n_s``
``<= exp(n r (s theta' (a-1) + (1-s)(b-1)))``, and the exponent has the sign of ``p(theta') - p(theta0)`` times that
of ``theta - theta0``: not positive whenever theta' lies in the null. Weights may therefore change at every look,
and incidents that hit both variants alike cancel. Under random assignment and no difference, ``k`` given ``m`` is
hypergeometric however the requests depend on each other, and Hoeffding (1963) gives the same bound.

Absolute test. Null: the canary's bad rate is at least ``r0``. Alternatives ``r < r0``; Bernoulli likelihood ratio.
It turns "no errors on either side" into evidence, which the relative test cannot.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Ratios that count as harm, from barely worse to on fire (ops.md, section 2); multiples of the tolerated ratio.
HARM_RATIOS = (1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
# Alternatives below a margin (or a rate): fractions of it, from much better to a little better.
PASS_FRACTIONS = (0.02, 0.1, 0.25, 0.4, 0.6, 0.8)


def relative_log_lr(
    canary_n: ArrayLike,
    canary_bad: ArrayLike,
    stable_n: ArrayLike,
    stable_bad: ArrayLike,
    ratios: Sequence[float],
    null: float,
) -> Floats:
    """Log likelihood ratio of each alternative ratio against the null ratio, for one interval.

    Args:
        canary_n: Canary requests; an integer or an array of any shape (one entry per simulated interval).
        canary_bad: How many of them were bad; same shape.
        stable_n: Stable requests; same shape.
        stable_bad: How many of them were bad; same shape.
        ratios: Alternatives, J of them.
        null: Boundary of the null hypothesis.

    Returns:
        Shape ``(..., J)``; zero where one variant had no request, because nothing was compared.
    """
    n_c, n_s = np.asarray(canary_n, float), np.asarray(stable_n, float)
    k, rest = np.asarray(canary_bad, float), np.asarray(stable_bad, float)
    both = (n_c > 0) & (n_s > 0)
    s = np.where(both, n_c / np.maximum(n_c + n_s, 1.0), 0.5)[..., None]
    theta = np.asarray(ratios, float)
    scale = (s * theta + 1 - s) / (s * null + 1 - s)
    log_lr = k[..., None] * (np.log(theta / null) - np.log(scale)) - rest[..., None] * np.log(scale)
    return np.asarray(np.where(both[..., None], log_lr, 0.0))


def absolute_log_lr(n: ArrayLike, bad: ArrayLike, rates: Sequence[float], null: float) -> Floats:
    """Log likelihood ratio of each bad rate against ``null``, for one interval of one variant.

    Args:
        n: Requests; an integer or an array.
        bad: How many were bad; same shape.
        rates: Alternatives below ``null``, J of them.
        null: The bad rate to rule out.

    Returns:
        Shape ``(..., J)``.
    """
    total, k = np.asarray(n, float)[..., None], np.asarray(bad, float)[..., None]
    rate = np.asarray(rates, float)
    return np.asarray(k * np.log(rate / null) + (total - k) * np.log((1 - rate) / (1 - null)))


def log_mixture(log_lr: ArrayLike) -> Floats:
    """Log of the equal-weight mixture over the last axis: the e-value of a grid of alternatives."""
    values = np.asarray(log_lr, float)
    top = values.max(axis=-1, keepdims=True)
    mean = np.exp(values - top).mean(axis=-1)
    return np.asarray(top[..., 0] + np.log(mean))


def harm_ratios(tolerated: float) -> tuple[float, ...]:
    """Alternatives of the harm test, whose null is ``ratio <= tolerated``."""
    return tuple(tolerated * ratio for ratio in HARM_RATIOS)


def pass_values(limit: float) -> tuple[float, ...]:
    """Alternatives of a non-inferiority test, whose null is ``ratio >= limit`` or ``rate >= limit``."""
    return tuple(limit * fraction for fraction in PASS_FRACTIONS)
