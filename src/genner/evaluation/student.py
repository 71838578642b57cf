"""Student's t distribution with any number of degrees of freedom, by the incomplete beta function.

The continued fraction is that of Press et al., Numerical Recipes (3rd ed., 2007), section 6.4 (Lentz's method).
"""

from functools import lru_cache
from math import exp, inf, lgamma, log, log1p, pi
from statistics import NormalDist

_STEPS = 10_000
_TINY = 1e-300


def two_sided(t: float, df: float) -> float:
    """The chance, in [0, 1], that a t variable of `df` > 0 degrees of freedom is at least `t` >= 0 from 0."""
    if t == inf:
        return 0.0
    return _incomplete_beta(df / 2, 0.5, df, t * t) if t > 0 else 1.0


@lru_cache(maxsize=4096)
def quantile(level: float, df: float) -> float:
    """The t >= 0 for which `two_sided(t, df)` is `level`, in (0, 0.9]."""
    # The tail is convex, so that Newton's method rises to the root from the left: from the quantile of the normal
    # distribution and the first term of its expansion in 1 / df (Abramowitz and Stegun 26.7.5).
    z = NormalDist().inv_cdf(1 - level / 2)
    t = z + (z**3 + z) / (4 * df)
    for _ in range(60):
        step = (two_sided(t, df) - level) / (2 * _density(t, df))
        t += step
        if abs(step) <= 1e-13 * t:
            break
    return t


def _density(t: float, df: float) -> float:
    scale = lgamma((df + 1) / 2) - lgamma(df / 2) - 0.5 * log(df * pi)
    return exp(scale - (df + 1) / 2 * log1p(t * t / df))


def _incomplete_beta(a: float, b: float, df: float, square: float) -> float:
    """The regularised incomplete beta function of a, b at x = df / (df + square)."""
    x, rest = df / (df + square), square / (df + square)
    if not x or not rest:
        return 1.0 if x else 0.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) - a * log1p(square / df) + b * log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, rest) / b


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _STEPS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _away(1 + term * d), _away(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _away(value: float) -> float:
    """Never 0, since it is divided by."""
    return value if abs(value) > _TINY else _TINY
