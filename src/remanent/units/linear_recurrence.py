"""Recurrences that are linear in their state, as scans of factors and of what is added, or of gates that make both."""

from typing import Any, ClassVar

from torch import Tensor

from remanent.ops import linear_scan, linear_step
from remanent.ops.arguments import InitialStates
from remanent.ops.gated.gated import gated_scan, gated_step
from remanent.ops.pairs.views import as_complex, as_pairs
from remanent.units._checks import check_gates
from remanent.units.recurrence import Params, ScanRecurrence


class LinearRecurrence(ScanRecurrence):
    """A recurrence that is linear in the state: its gates are the factor of the state and what is added."""

    shares_time: ClassVar[bool] = True
    scan_kind: ClassVar[str | None] = "linear"
    in_pairs: ClassVar[bool] = False
    """Whether gates and states are complex numbers, which the scan takes as pairs of real ones."""

    @property
    def why_endless(self) -> str | None:
        """See `Recurrence`."""
        return None if self.finite_states else "whose state is a sum that fades"

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
        check_gates(self, gates, 2, "two tensors, the factor of the state and what is added")
        decay, value = gates
        return linear_scan(decay, value, h, reset=reset, reset_state=start, pairs=self.in_pairs, group=group)

    def to_scan(self, h: Tensor) -> Tensor:
        """See `ScanRecurrence`."""
        return as_pairs(h) if self.in_pairs else h

    def from_scan(self, states: Tensor) -> Tensor:
        """See `ScanRecurrence`."""
        return as_complex(states) if self.in_pairs else states

    def one_step(self, p: Params, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        """See `ScanRecurrence`."""
        decay, value = (self.from_scan(gate) for gate in gates)
        return linear_step(decay, value, h)


class GatedRecurrence(LinearRecurrence):
    """A linear recurrence whose gates, as `ops.gated` takes them, become factor and addition within the scan."""

    cell: ClassVar[str]
    """How its gates are read, a key of `ops.gated.gate_arguments.CELLS`."""
    width: float = 1.0

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
        return gated_scan(gates, InitialStates(h, reset, start), cell=self.cell, width=self.width, group=group)

    def one_step(self, p: Params, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        """See `ScanRecurrence`."""
        return gated_step(gates, h, cell=self.cell, width=self.width)
