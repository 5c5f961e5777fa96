"""One step of a unit as plain data: the numbers and the name of what is done with them, for programs without torch."""

from typing import NamedTuple

from torch import Tensor

STEPS = {
    "latch": "gates c, b: h becomes alpha sgn(c) where |c| >= |b|; alpha is the parameter `alpha`, (D,)",
    "latch_between": "gate c: h becomes alpha where relu(c) >= upper, 0 where relu(c) <= lower; each (D,), and alpha "
    "the absolute value of the parameter `alpha`",
    "accumulate": "gates c, b and, unless alpha is given, alpha: h becomes alpha sgn(c) + epsilon h where |c| >= |b|",
    "min_gru": "gates c, u: h becomes h + s(u) (c - h), where s is the logistic function",
    "rotate": "gates v, w: h, a complex number, becomes (a + ib) h + v + iw, where eigenvalues (2, D) are a and b; "
    "the output is the product of read_real and the real parts, of read_imaginary and the imaginary parts, and of "
    "read_input and the input, summed",
    "transition": "gates theta[k, j, l], (H K K,): a tracer of head k that is in state j goes to the state l with the "
    "largest gate, the lowest of equal ones; h has a 1 at the state of each tracer. This is a step where epsilon, the "
    "share of the softmax over l, is 0",
}
"""Kind of step to what it computes from the gates and from the named values; elsewhere the state h is held."""


class StepData(NamedTuple):
    """One step of a layer in one direction, as numbers.

    The gates are `weight` times the input plus `bias`, (N,): one gate's D values after the other's, or logits of heads.

    Attributes:
        kind: what the gates do to the state, a key of `STEPS`, or a name of your own, which no exporter knows.
        hidden_size: D, the channels.
        weight: (N, M).
        bias: (N,), or None for gates without biases.
        values: what else the kind of step reads, by name.
        start: the initial state, of as many real numbers as the state has; None for zeros.
        gain: the gain of gates that are normalised over the channels of a step, before the bias is added: (N,), or
            shorter where only the first gates are; None where none are.
        starts_low: whether `start` is a written state, the low one, rather than any number.
        num_states: K, where the state is one-hot in each K numbers; 1 where it is not.
    """

    kind: str
    hidden_size: int
    weight: Tensor
    bias: Tensor | None
    values: dict[str, Tensor]
    start: Tensor | None = None
    starts_low: bool = False
    gain: Tensor | None = None
    num_states: int = 1
