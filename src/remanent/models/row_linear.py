"""The linear layers that all parts of a model use."""

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
