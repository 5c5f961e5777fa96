"""Random numbers without a generator: each is computed from a seed and a count, so that no draw depends on another."""

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
"""One number of 64 bits for each episode, from which all that is random in it follows."""
_ODD, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mixed(*parts: Keys | NDArray[np.int64] | int) -> Keys:
    """A number of 64 bits that follows from several, the same on every machine.

    Args:
        parts: integers or arrays of them, of shapes that fit one another.

    Returns:
        Their hash, of the shape that they have together.

    Source: Steele, Lea, Flood (2014), "Fast splittable pseudorandom number generators", for the steps that mix.

    >>> mixed(np.arange(2), 7).tolist() == [mixed(np.array([i]), 7).item() for i in range(2)]
    True
    """
    state = np.zeros(1, np.uint64)
    for part in parts:
        state = (state ^ np.asarray(part).astype(np.uint64)) + _ODD
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state = state ^ (state >> np.uint64(31))
    return state


def uniform(keys: Keys | NDArray[np.int64], *place: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """A number in [0, 1) for each key.

    Args:
        keys: of the episodes.
        place: what is drawn of an episode, such as the number of the draw and the step.

    >>> bool((uniform(mixed(np.arange(1000)), 0).mean() - 0.5) ** 2 < 1e-3)
    True
    """
    return (mixed(keys, *place) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def choice(
    keys: Keys | NDArray[np.int64], choices: int | NDArray[np.int64], *place: NDArray[np.int64] | int
) -> NDArray[np.int64]:
    """One of so many choices, from 0, for each key; `place` is that of `uniform`."""
    return (uniform(keys, *place) * choices).astype(np.int64)
