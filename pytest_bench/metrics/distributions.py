"""Binomial, beta and Student's t distributions, as far as early stopping and intervals need them."""

from __future__ import annotations

import math
from statistics import NormalDist

_TINY = 1e-300
_PRECISION = 1e-15


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), for a, b > 0 and 0 <= x <= 1.

    By its continued fraction (DLMF 8.17.22) with Lentz's method, on the side of the mean where that
    converges within O(sqrt(max(a, b))) terms.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    value = c = 1.0
    d = 0.0
    m = 0
    delta = 0.0
    while abs(delta - 1.0) > _PRECISION:
        even = 1.0 if m == 0 else m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        delta = 1.0
        for term in (odd,) if m == 0 else (even, odd):
            d = 1.0 / _nonzero(1.0 + term * d)
            c = _nonzero(1.0 + term / c)
            delta *= c * d
        value *= delta
        m += 1
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def binomial_cdf(k: int, n: int, p: float) -> float:
    """Probability of at most `k` events in `n` independent trials of probability `p` each."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    return beta_cdf(1.0 - p, n - k, k + 1)


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(probability)


def student_cdf(t: float, degrees: float) -> float:
    """Probability that Student's t with `degrees` of freedom lies below `t`."""
    tail = 0.5 * beta_cdf(degrees / (degrees + t * t), degrees / 2.0, 0.5)
    return 1.0 - tail if t > 0 else tail


def student_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t with `degrees` of freedom, by bisection."""
    if probability < 0.5:
        return -student_quantile(1.0 - probability, degrees)
    low, high = 0.0, 1.0
    while student_cdf(high, degrees) < probability:
        low, high = high, high * 2.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2.0
        if student_cdf(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return high
