"""Means and deviations of data: what a task measures in its training part, and a model standardises by."""

from typing import NamedTuple

from torch import Tensor


class Statistics(NamedTuple):
    """Means and deviations of data, by which a model that standardises reads its inputs and gives its values.

    Attributes:
        mean: of each feature, (M,).
        deviation: of each feature, (M,), above 0.
        target_mean: of each value that is asked for, (O,); None where classes are.
        target_deviation: of each value, (O,), above 0; None where classes are asked for.
    """

    mean: Tensor
    deviation: Tensor
    target_mean: Tensor | None = None
    target_deviation: Tensor | None = None
