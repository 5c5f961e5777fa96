"""The linear layer that all parts of a model use."""

from torch import Tensor, nn

from remanent.ops import row_linear


class RowLinear(nn.Linear):
    """`torch.nn.Linear` whose rows have the same bits alone as among many; see `ops.row_linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., in_features) to (..., out_features)."""
        return row_linear(x, self.weight, self.bias)
