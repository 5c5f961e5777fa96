"""The linear layers that all parts of a model use."""

from torch import Tensor, nn

from remanent.ops import row_linear


class RowLinear(nn.Linear):
    """`torch.nn.Linear` whose rows have the same bits alone as among many; see `ops.row_linear`."""

    decides = False
    """Whether all gates depend on the result, which under autocast, too, is in the dtype of the weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., in_features) to (..., out_features)."""
        return row_linear(x, self.weight, self.bias, decides=self.decides)


class EntryLinear(RowLinear):
    """The linear layer at a model's entry, whose result every gate of the model sees."""

    decides = True
