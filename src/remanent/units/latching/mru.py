"""The general memory recurrent unit: heads of K stable states, which a step's input moves by a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.ops import row_linear, transition_scan
from remanent.ops.arguments import HeadSizes
from remanent.ops.cpu import step as cpu_step
from remanent.ops.heads.matrices import best
from remanent.ops.heads.one_hot import start_state
from remanent.ops.operators import is_traced
from remanent.ops.transition import check_sizes
from remanent.units._checks import check_flag, check_gates
from remanent.units.base import RecurrentUnit
from remanent.units.cell import make_cell
from remanent.units.latching.annealed import Annealed, EpsilonRecurrence
from remanent.units.recurrence import Params
from remanent.units.step_data import StepData

NUM_STATES = 4
"""The stable states of a head, unless another number is given."""
LOGIT_SIZE = 4.0
"""The standard deviation of the logits at first: tables that are nearly hard, and still learn."""


@dataclass(eq=False)
class MRURecurrence(EpsilonRecurrence):
    r"""Heads of K states: $h_t[k, r] = M_t[k]^\top h_{t-1}[k, r]$ for each head k and each of its R tracers r.

    $M_t$ is a table in one-hot rows, and with `epsilon` above 0 a mixture of it and the softmax of the logits.
    """

    num_states: int = NUM_STATES
    num_tracers: int | None = None
    epsilon: float = 0.0
    hard_readout: bool = False
    scan_kind: ClassVar[str | None] = "transition"
    undecayed: ClassVar[tuple[str, ...]] = ("weight_ih",)
    reads_letters_with_bias: ClassVar[bool] = False
    config_fields = MappingProxyType({name: name for name in ("num_states", "num_tracers", "hard_readout")})

    def __post_init__(self) -> None:
        check_sizes(self.sizes)
        check_flag("hard_readout", self.hard_readout)
        self.take_epsilon()

    @property
    def sizes(self) -> HeadSizes:
        """The states and the tracers of a head."""
        return HeadSizes(self.num_states, self.num_states if self.num_tracers is None else self.num_tracers)

    @property
    def chooses(self) -> bool:
        """See `Recurrence`: a row of the table is the largest logit."""
        return True

    @property
    def finite_states(self) -> bool:
        """Whether states are one-hot."""
        return self.epsilon == 0

    @property
    def why_endless(self) -> str | None:
        """See `Recurrence`."""
        return None if self.finite_states else f"whose states are probabilities (epsilon {self.epsilon:g})"

    @classmethod
    def width_factors(cls, options: Mapping[str, Any]) -> dict[str, int]:
        """See `Recurrence`: a head has R tracers of K states."""
        K, R = cls(**options).sizes
        return {"num_tracers": R, "num_states": K}

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`."""
        (K, R), width = self.sizes, _head_width(self.sizes)
        if D % width:
            raise ValueError(f"`hidden_size` must be a multiple of {R} tracers times {K} states of a head, got {D}")
        rows = D // width * K * K
        return {"weight_ih": (rows, M)} | ({"bias_ih": (rows,)} if bias else {})

    def initialise(self, p: Params) -> None:
        """Weights of which inputs of mean square 1 make logits with a standard deviation of 4; biases 0."""
        self._draw(p, LOGIT_SIZE * p["weight_ih"].shape[1] ** -0.5)

    def initialise_letters(self, p: Params) -> None:
        """See `Recurrence`: each letter has logits with a standard deviation of 4."""
        self._draw(p, LOGIT_SIZE)

    def start(self, p: Params) -> Tensor:
        """Tracer r of head k in state (k R + r) mod K."""
        weight = p["weight_ih"]
        return start_state(weight, self.sizes.heads(weight.shape[0]), self.sizes)

    def gates(self, p: Params, x: Tensor) -> tuple[Tensor, ...]:
        """The logits, in one tensor (..., H K K)."""
        return (row_linear(x, p["weight_ih"], p.get("bias_ih"), exact=True),)

    def tables(self, p: Params, x: Tensor) -> Tensor:
        """See `Recurrence`: the largest logit of each state, the lowest of equal ones."""
        K, _ = self.sizes
        return best(self.gates(p, x)[0].unflatten(-1, (-1, K, K))).byte()

    def scan(
        self,
        p: Params,
        gates: tuple[Tensor, ...],
        h: Tensor,
        reset: Tensor | None,
        start: Tensor | None,
        group: Any = None,
    ) -> Tensor:
        """See `ScanRecurrence`."""
        check_gates(self, gates, 1, "one tensor (..., H K K), the logits")
        return _named("`hx`", partial(self._scan, gates[0], h, reset, start, group))

    def readout(self, p: Params, states: Tensor, x: Tensor) -> Tensor:
        """The states; or with `hard_readout` the most probable one of each tracer, with the gradient of the states."""
        if not self.hard_readout or self.epsilon == 0:
            return states
        shares = states.unflatten(-1, (-1, self.num_states))
        best = F.one_hot(shares.detach().argmax(-1), self.num_states).to(states.dtype).flatten(-2)
        return best + (states - states.detach())

    def one_step(self, p: Params, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        """See `ScanRecurrence`; by a kernel or the scan itself, which check the state and never choose a NaN."""
        after = cpu_step.transition_step(gates[0], h, self.sizes) if self.epsilon == 0 else None
        if after is not None:
            return after
        return _named("`h` (`hx` of a cell)", partial(self._scan, gates[0][:, None], h))[:, 0]

    def step_data(self, p: Params) -> StepData | None:
        """A tracer's state is its place, which the logits move."""
        start, values = self.start(p), {"epsilon": self.epsilon_tensor.float()}
        D, K = start.shape[0], self.num_states
        return StepData("transition", D, p["weight_ih"], p.get("bias_ih"), values, start, num_states=K)

    def _scan(
        self,
        logits: Tensor,
        h: Tensor,
        reset: Tensor | None = None,
        start: Tensor | None = None,
        group: Any = None,
    ) -> Tensor:
        K, R = self.sizes
        return transition_scan(
            logits,
            h,
            num_states=K,
            num_tracers=R,
            epsilon=self.epsilon_tensor,
            reset=reset,
            reset_state=start,
            group=group,
        )

    def _draw(self, p: Params, size: float) -> None:
        p["weight_ih"].normal_(0, size)
        if "bias_ih" in p:
            p["bias_ih"].zero_()


def _named(name: str, scan: Callable[[], Tensor]) -> Tensor:
    """What a scan gives; where its `h0` is at fault, the error calls that by the name of the unit's argument."""
    if is_traced():
        return scan()
    try:
        return scan()
    except ValueError as error:
        if "`h0`" not in str(error):
            raise
        raise ValueError(str(error).replace("`h0`", name)) from None


def _head_width(sizes: HeadSizes) -> int:
    """How many numbers of the state a head has."""
    return sizes.tracers * sizes.states


class MRU(Annealed, RecurrentUnit):
    r"""General memory recurrent unit: heads of K stable states, $h_t[k, r] = M_t[k]^\top h_{t-1}[k, r]$.

    The input moves each of H heads from every state to one, by a table: $\theta_t = W x_t + b$ are the logits, and
    head k goes from state j to the state l with the largest $\theta_t[k, j, l]$, the lowest of equal ones. R tracers
    share a head's table and start in different states; with R = K they hold the whole map since the start. The state
    (D = H R K) is H R one-hot vectors of K side by side, head by head and in it tracer by tracer, and is the output.
    Tables of K states make up any finite automaton, for example parity (K = 2) or a group of permutations.

    With `epsilon` 0, a step looks up whole numbers, and any cut of a sequence gives the same bits. With `epsilon` above
    0, $M_t$ mixes the table with the softmax of the logits, whose gradient stands for that of the table.

    Attributes:
        weight_ih_l0: (H K K, M), at (k K + j) K + l how much head k goes from state j to state l; at first normal with
            a standard deviation of $4 / \sqrt M$, so that inputs of mean square 1 make logits with a standard
            deviation of 4. (One-hot inputs of M features make such of $4 / \sqrt M$; in a model that reads tokens, the
            encoder "table" makes it 4.)
        bias_ih_l0: (H K K,), at first 0.
        epsilon: the share of the softmax in a step, in [0, 1]; may be changed between steps, as annealing does in
            training. It is not a parameter and not part of the `state_dict`: a copy, such as an average of the weights
            over training, has its own, which must be annealed as well.

    Args:
        input_size: M, the features of a step, at least 1.
        hidden_size: D, the channels, at least 1. It must be a multiple of `num_tracers` times `num_states`; there are
            H = D / (R K) heads.
        num_layers: how many layers are stacked, at least 1; each reads the outputs of the one before.
        bias: whether the gates have biases.
        batch_first: whether inputs and outputs are (B, T, ...) rather than (T, B, ...).
        dropout: the probability, in [0, 1], that an output of any layer but the last is zeroed in training.
        bidirectional: whether a second direction reads the sequence backwards, with its outputs beside the first's.
        device: the device of the parameters.
        dtype: the dtype of the parameters.
        num_states: K, the stable states of a head, from 2 to 255.
        num_tracers: R, the tracers of a head, at least 1; K if None. Tracer r of head k starts in state
            (k R + r) mod K; a given state of zeros means this start, and with `epsilon` 0 any other must be one-hot.
        epsilon: the share of the softmax in a step, in [0, 1]: 0 is a finite automaton, 1 a probabilistic one.
        hard_readout: whether outputs are one-hot with `epsilon` above 0 too: each tracer's most probable state, with
            the gradient of the states. What follows then cannot tell probabilities apart, which makes heads learn
            permutations rather than mixtures. The states that are kept are the same.
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size, `num_states`, `num_tracers` or `epsilon` is out of its range, or does not fit the others.
        TypeError: a size is not an int.

    Source: De Geeter et al. (2026), arXiv 2601.09495; tables by the largest logit: Brandoit et al. (2026),
    "Length-independent state tracking under a parallel scan". Tracers that share a table are ours.

    >>> y, h_n = MRU(4, 32, batch_first=True)(torch.randn(2, 100, 4))
    >>> y.shape, h_n.unflatten(2, (2, 4, 4)).sum(4).unique().tolist()  # two heads, four tracers, each in one state
    (torch.Size([2, 100, 32]), [1.0])
    """

    weight_ih_l0: Tensor
    bias_ih_l0: Tensor
    recurrence_type = MRURecurrence

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        num_states: int = NUM_STATES,
        num_tracers: int | None = None,
        epsilon: float = 0.0,
        hard_readout: bool = False,
        checkpoint: bool = False,
    ) -> None:
        recurrence = MRURecurrence(num_states, num_tracers, epsilon, hard_readout)
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


MRUCell = make_cell(
    MRU,
    example="""
    >>> NAME(4, 16)(torch.randn(2, 4)).shape
    torch.Size([2, 16])
    """,
)
"""One step of `MRU`, used like `torch.nn.GRUCell`; it takes the options of `MRU`."""
