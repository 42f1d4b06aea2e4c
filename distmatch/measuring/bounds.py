"""What bounds on some masses say of their shares."""

import numpy as np
from jaxtyping import Float


def share_bounds(
    low: Float[np.ndarray, " words"], high: Float[np.ndarray, " words"]
) -> tuple[Float[np.ndarray, " words"], Float[np.ndarray, " words"]]:
    """The least and the most that the share of each may be, of all together; 0 without any mass.

    Args:
        low: The least mass of each.
        high: The most.
    """
    # A share is largest beside the others' least, and smallest beside their most
    largest = _ratio(high, low.sum() - low)
    smallest = _ratio(low, high.sum() - high)
    return smallest, largest


def _ratio(
    part: Float[np.ndarray, " words"], rest: Float[np.ndarray, " words"]
) -> Float[np.ndarray, " words"]:
    total = part + rest
    return np.divide(part, total, out=np.zeros_like(part), where=total > 0)
