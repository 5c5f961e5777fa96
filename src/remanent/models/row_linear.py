"""The linear layers that all parts of a model use, and those at its ends that know the statistics of data."""

import torch
from torch import Tensor, nn

from remanent.ops import row_linear


class RowLinear(nn.Linear):
    """`torch.nn.Linear` whose rows have the same bits alone as among many; see `ops.row_linear`."""

    exact = False
    """Whether, under autocast too, the result is in the dtype of the weight, without rounding to a half type."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., in_features) to (..., out_features)."""
        return row_linear(x, self.weight, self.bias, exact=self.exact)


class ExactLinear(RowLinear):
    """The linear layer where inputs enter a model, where it reads states, and where it answers."""

    exact = True


class Standardised(ExactLinear):
    r"""A linear layer of standardised features: $W (x - \mu) / \sigma + b$.

    Attributes:
        mean: $\mu$, (in_features,), 0 until it is set.
        deviation: $\sigma$, (in_features,), 1 until it is set.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        _keep_statistics(self, in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., in_features) to (..., out_features)."""
        return super().forward((x - self.mean) / self.deviation)


class Restored(ExactLinear):
    r"""A linear layer whose values are given in the units of the targets: $\sigma (W x + b) + \mu$.

    Attributes:
        mean: $\mu$, (out_features,), 0 until it is set.
        deviation: $\sigma$, (out_features,), 1 until it is set.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        _keep_statistics(self, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., in_features) to (..., out_features)."""
        return super().forward(x) * self.deviation + self.mean


def _keep_statistics(layer: nn.Module, size: int) -> None:
    layer.register_buffer("mean", torch.zeros(size))
    layer.register_buffer("deviation", torch.ones(size))
