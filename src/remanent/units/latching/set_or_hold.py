"""What all latches share whose written state has the sign of a candidate: equations, and the attribute epsilon."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from remanent._options import check_choice, check_range
from remanent._rates import threshold_bias
from remanent.ops import latch_scan_joint, latch_step, row_linear
from remanent.ops.cpu import step as cpu_step
from remanent.ops.normalisation import projected_moments
from remanent.units._checks import check_gates
from remanent.units.latching.annealed import EpsilonRecurrence
from remanent.units.latching.gate_norm import (
    GATE_NORMS,
    gain_shapes,
    moment_buffers,
    normalised_linear,
    observe_moments,
    reset_gate_norm,
    settle_moments,
)
from remanent.units.latching.write_span import (
    NORMAL,
    begin_moments,
    check_write_span,
    later_span,
    span_threshold_bias,
)
from remanent.units.recurrence import (
    INITIAL_STATES,
    LatchGates,
    Params,
    gate_shapes,
    learned_shapes,
)

_RULE = "one tensor (..., 2 D), candidate and threshold side by side"
_RULE_WITH_SIZE = "one tensor (..., 3 D), candidate, threshold and size side by side"
"""What the gates of a latch must be, as errors say it."""


@dataclass(eq=False)
class LatchRecurrence(EpsilonRecurrence):
    r"""Set or hold: $h_t = \alpha\,\mathrm{sgn}(c_t) + \epsilon h_{t-1}$ where $|c_t| \ge |\beta_t|$, else $h_{t-1}$.

    Its gates are one tensor, in which candidate and threshold lie side by side, and after them $\alpha$ where
    `alpha_from_input` says so. A latch of your own overrides `gates`, and `alpha`, `shapes` and `initialise` where it
    has other parameters.
    """

    epsilon: float = 0.0
    width: float = 1.0
    initial_state: str = "zeros"
    gate_norm: str = "none"
    write_span: int | None = None
    scan_kind: ClassVar[str | None] = "latch"
    latches: ClassVar[bool] = True
    rate_parameters: ClassVar[tuple[str, ...]] = ("bias_ih",)
    initial_states: ClassVar[tuple[str, ...]] = (*INITIAL_STATES, "low")
    config_fields = MappingProxyType({"width": "surrogate_width", "initial_state": "initial_state"})
    alpha_from_input: ClassVar[bool] = False
    """Whether the size of a written state is the last of the gates, rather than a parameter."""

    def __post_init__(self) -> None:
        check_range("width", self.width, 0, float("inf"), open_low=True)
        check_choice("initial_state", self.initial_state, self.initial_states)
        check_choice("gate_norm", self.gate_norm, GATE_NORMS)
        check_write_span(self.write_span)
        self.take_epsilon()

    @property
    def finite_states(self) -> bool:
        r"""Whether states are $\pm\alpha$ and the initial one alone."""
        return self.epsilon == 0 and not self.alpha_from_input

    @property
    def why_endless(self) -> str | None:
        """See `Recurrence`; what is written is a parameter, or a function of the input of that step."""
        return None if self.epsilon == 0 else f"whose writes add to a part of the old state (epsilon {self.epsilon:g})"

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`."""
        parts = 3 if self.alpha_from_input else 2
        alpha: dict[str, tuple[int, ...]] = {} if self.alpha_from_input else {"alpha": (D,)}
        gain = gain_shapes(self.gate_norm, 2 * D)
        return gate_shapes(parts, M, D, bias) | gain | alpha | learned_shapes(self.initial_state, D)

    def buffers(self, D: int) -> dict[str, Tensor]:
        """See `Recurrence`."""
        return moment_buffers(self.gate_norm, 2 * D)

    def observed(self, p: Params, x: Tensor, real: Tensor | None, group: Any = None) -> Params:
        """See `Recurrence`."""
        if self.gate_norm != "batch":
            return p
        return observe_moments(p, projected_moments(x, p["weight_ih"][: p["gate_gain"].shape[0]], real, group))

    def initialise(self, p: Params) -> None:
        """Weights as in `torch.nn.Linear`; biases 0 for the candidate, else 1; sizes 1; a state of random sign."""
        M, D = p["weight_ih"].shape[1], self._channels(p)
        p["weight_ih"].uniform_(-(M**-0.5), M**-0.5)
        if "bias_ih" in p:
            p["bias_ih"].zero_()[D:] = 1
        reset_gate_norm(p, D)
        if "alpha" in p:
            p["alpha"].fill_(1)
        if "h0" in p:
            p["h0"].copy_(torch.where(torch.rand_like(p["h0"]) < 0.5, -1.0, 1.0))

    def initialise_layer(self, p: Params, layer: int) -> None:
        """See `Recurrence`; with a `write_span`, thresholds have their biases, of a shorter span in later layers.

        They are those of a candidate and a threshold that are linear in the input; a latch whose gates are other
        functions leaves `write_span` at None.
        """
        self.initialise(p)
        if self.write_span is not None:
            later = layer > 0
            self._set_thresholds(p, later_span(self.write_span, self.sums_in_order) if later else self.write_span)

    def gates(self, p: Params, x: Tensor) -> tuple[Tensor, ...]:
        """Candidate, threshold and, where the input gives it, the size, in one tensor (..., 2 D) or (..., 3 D)."""
        if self.gate_norm == "none":
            return (row_linear(x, p["weight_ih"], p.get("bias_ih"), exact=True),)
        return (normalised_linear(x, p, 2),)

    def alpha(self, p: Params) -> Tensor:
        """The size of a written state, (D,), where it is learned; not asked for where `alpha_from_input` is true."""
        return p["alpha"]

    def start(self, p: Params) -> Tensor | None:
        """The learned initial state, that of a low write, or None for zeros."""
        return -self.alpha(p) if self.initial_state == "low" else super().start(p)

    def latch_gates(self, p: Params, x: Tensor) -> LatchGates:
        """See `Recurrence`."""
        return self._split(p, self.gates(p, x)[0])

    def writes(self, p: Params, x: Tensor) -> Tensor | None:
        """See `Recurrence`."""
        gates = self.latch_gates(p, x)
        return gates.candidate.abs() >= gates.threshold.abs()

    def set_write_rates(self, p: Params, x: Tensor, rates: Tensor) -> None:
        """Takes the mean from the candidate, and sets the bias of the threshold."""
        D = rates.shape[0]
        if self.gate_norm == "batch":
            settle_moments(p, projected_moments(x[None], p["weight_ih"][: 2 * D]))
        p["bias_ih"][: 2 * D] = 0
        p["bias_ih"][:D] = -self.latch_gates(p, x).candidate.double().mean(0)
        gates = self.latch_gates(p, x)
        p["bias_ih"][D : 2 * D] = threshold_bias(gates.candidate, gates.threshold, rates)

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
        check_gates(self, gates, 1, _RULE_WITH_SIZE if self.alpha_from_input else _RULE)
        return latch_scan_joint(
            gates[0],
            None if self.alpha_from_input else self.alpha(p),
            h,
            epsilon=self.epsilon_tensor,
            width=self.width,
            reset=reset,
            reset_state=start,
            group=group,
        )

    def one_step(self, p: Params, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        """See `ScanRecurrence`."""
        after = cpu_step.latch_step(gates[0], None if self.alpha_from_input else self.alpha(p), h, self.epsilon)
        if after is not None:
            return after
        split = self._split(p, gates[0])
        epsilon, width = self.epsilon_tensor, self.width
        return latch_step(split.candidate, split.threshold, split.alpha, h, epsilon=epsilon, width=width)

    def _channels(self, p: Params) -> int:
        return p["weight_ih"].shape[0] // (3 if self.alpha_from_input else 2)

    def _set_thresholds(self, p: Params, write_span: int) -> None:
        if "bias_ih" in p and not p["bias_ih"].is_meta:
            D = self._channels(p)
            begin_moments(p, NORMAL)
            p["bias_ih"][D : 2 * D] = span_threshold_bias(p, D, self.gate_norm, write_span)

    def _split(self, p: Params, joined: Tensor) -> LatchGates:
        if self.alpha_from_input:
            candidate, threshold, alpha = joined.chunk(3, dim=-1)
        else:
            (candidate, threshold), alpha = joined.chunk(2, dim=-1), self.alpha(p)
        return LatchGates(candidate, threshold, alpha, self.epsilon)
