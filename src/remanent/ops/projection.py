"""A linear map whose rows do not depend on how many are computed together."""

import torch.nn.functional as F
from torch import Tensor

_ROWS = 16  # every multiple of this has given the same bits in each row, in every CPU library tried


def row_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Linear map $y = x W^\top + b$, the same bits for a row alone as among many.

    Matrix libraries change the order of a sum with the number of rows. One different bit can flip a
    gate, and a latch keeps a flipped state for ever: so, on a CPU, rows are filled up to a multiple
    of 16 before the product. A step of a unit then equals the same step of a whole sequence.

    Args:
        x: (..., M).
        weight: (N, M).
        bias: (N,) or None.

    Returns:
        (..., N).

    >>> x, weight = torch.randn(1000, 5), torch.randn(3, 5)
    >>> torch.equal(row_linear(x[7:8], weight), row_linear(x, weight)[7:8])
    True
    """
    if x.device.type != "cpu":
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    missing = -rows.shape[0] % _ROWS
    if missing:
        rows = F.pad(rows, (0, 0, 0, missing))
    y = F.linear(rows, weight, bias)
    return y[: y.shape[0] - missing].view(*x.shape[:-1], -1)
