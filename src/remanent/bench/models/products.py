"""The matrix products of a model: which of them a training step takes, and a run of them alone."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from remanent.bench.passes import Run


class Product(NamedTuple):
    """The sizes of one call of `F.linear` whose weight is learned.

    Attributes:
        rows: the rows of the input, those of all sequences and steps together.
        inputs: the features of a row.
        outputs: the features of a row of the output.
        bias: whether a bias is added, which costs no product.
        input_gradient: whether the backward pass computes the gradient of the input too.
    """

    rows: int
    inputs: int
    outputs: int
    bias: bool
    input_gradient: bool

    @property
    def flops(self) -> int:
        """The multiplications and additions of the forward pass and of both gradients, or of the weight's alone."""
        return 2 * self.rows * self.inputs * self.outputs * (3 if self.input_gradient else 2)


def products_of(forward: Callable[[], object]) -> list[Product]:
    """The products that a forward pass takes, in their order; those of torch's own recurrent layers are not seen."""
    with _Recorder() as recorder:
        forward()
    return recorder.products


def products_both(products: Sequence[Product]) -> Run:
    """A run of the products alone, on numbers of their own: all forward, then all backward."""
    draw = torch.Generator().manual_seed(0)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=draw)

    calls, leaves, grads = [], [], []
    for rows, inputs, outputs, bias, input_gradient in products:
        x = normal(rows, inputs).requires_grad_(input_gradient)
        weight = normal(outputs, inputs).requires_grad_()
        added = normal(outputs).requires_grad_() if bias else None
        calls.append((x, weight, added))
        leaves += [leaf for leaf in (x, weight, added) if leaf is not None and leaf.requires_grad]
        grads.append(normal(rows, outputs))

    def run() -> tuple[Tensor, ...]:
        return torch.autograd.grad([F.linear(*call) for call in calls], leaves, grads)

    return run


class _Recorder(TorchFunctionMode):
    """Notes every call of `F.linear` while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear:
            self.products.append(_product(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def _product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Product:
    outputs, inputs = weight.shape
    return Product(input.numel() // inputs, inputs, outputs, bias is not None, input.requires_grad)
