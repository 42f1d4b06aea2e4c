"""Does each adapter's report fit its own behaviour better than the other adapters' do?

Fits are a matrix: row a, column b says how well the report of adapter a fits the behaviour of
adapter b. By chance the diagonal is no better than the rest, whatever else the reports are like, so
pairings are permuted (Fisher's exact test; Good 2005, chapter 3).
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from distmatch.measuring.correlation import rank_correlation

_MOST_IN_ALL_ORDERS = 7
_DRAWN_ORDERS = 10_000

Fits = Float[np.ndarray, "adapters behaviours"]


@dataclass(frozen=True)
class Exchange:
    """What permuting pairings of reports and behaviours comes to."""

    value: float
    """Mean of the diagonal, less the mean over all pairings."""
    p: float
    """How likely a value at least so high is by chance; one-sided."""
    each: Float[np.ndarray, " adapters"]
    """Of each adapter the fit with its own behaviour, less the mean with all."""

    @classmethod
    def of(cls, fits: Fits, *, seed: int = 0) -> "Exchange":
        """By all orders of up to seven adapters, else by 10,000 drawn ones and the true one.

        Args:
            fits: Of two adapters or more, square.
            seed: Of drawn orders.

        Raises:
            ValueError: The fits aren't finite.
        """
        if not np.isfinite(fits).all():
            raise ValueError("fits must be finite")
        size = len(fits)
        sums = fits[np.arange(size), _orders(size, seed)].sum(axis=1)
        own = float(np.trace(fits))
        # Sums that are equal but for rounding are equal
        tolerance = 1e-9 * max(float(np.abs(fits).max()) * size, 1e-300)
        each = np.diag(fits) - fits.mean(axis=1)
        return cls(own / size - float(fits.mean()), float((sums >= own - tolerance).mean()), each)


def slope_fits(
    reports: Float[np.ndarray, " adapters"], behaviours: Float[np.ndarray, " adapters"]
) -> Fits:
    """Fits whose exchange value is the least-squares slope of reports on behaviours.

    Args:
        reports: A number an adapter.
        behaviours: Likewise; where all are the same, nothing fits.
    """
    centred = behaviours - behaviours.mean()
    square = float(centred @ centred)
    scale = len(reports) / square if square else 0.0
    return np.outer(reports - reports.mean(), centred) * scale


def rank_fits(
    reports: Float[np.ndarray, "adapters parts"], behaviours: Float[np.ndarray, "adapters parts"]
) -> Fits:
    """Spearman's correlation of every report with every behaviour; 0 where one is constant."""
    found = np.array([[rank_correlation(r, b) for b in behaviours] for r in reports])
    return np.nan_to_num(found)


def nearer_fits(
    distances: Float[np.ndarray, "adapters behaviours items"],
    values: Shaped[np.ndarray, "behaviours items"],
) -> Fits:
    """How much nearer each report is to each behaviour than to every other behaviour.

    Two behaviours are compared on the items in which their values differ; where there are none,
    neither is nearer. So a fit depends on all behaviours, but not on which of them is the
    reporter's own, and pairings can be permuted. The fits of any report sum to 0.

    Args:
        distances: Of each report from each behaviour in every item.
        values: Of each behaviour, such as its likeliest answer to every item.
    """
    differ = (values[:, None] != values[None]).astype(float)
    own = np.einsum("abi,bci->abc", distances, differ)
    others = np.einsum("aci,bci->abc", distances, differ)
    nearer = (others - own) / np.maximum(differ.sum(axis=-1), 1)
    return nearer.sum(axis=-1) / max(len(values) - 1, 1)


def _orders(size: int, seed: int) -> np.ndarray:
    if size <= _MOST_IN_ALL_ORDERS:
        return np.array(list(itertools.permutations(range(size))))
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(np.arange(size), (_DRAWN_ORDERS, 1)), axis=1)
    return np.concatenate([np.arange(size)[None], drawn])
