"""What units share whose steps have an epsilon that annealing takes to 0: in their equations, and as an attribute."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from remanent._options import check_range
from remanent.units.recurrence import ScanRecurrence, StateIsOutput


class EpsilonRecurrence(ScanRecurrence, StateIsOutput):
    """Equations with the option `epsilon`, in [0, 1], whose states are exact where it is 0.

    A subclass is a dataclass with the field `epsilon`, and calls `take_epsilon` when it is made.
    """

    epsilon: float
    epsilon_tensor: Tensor
    shares_time: ClassVar[bool] = True
    annealed_option: ClassVar[str | None] = "epsilon"

    def take_epsilon(self) -> None:
        """Checks epsilon, and keeps it as a tensor as well."""
        check_range("epsilon", self.epsilon, 0, 1)
        self.epsilon = float(self.epsilon)
        # a compiled graph reads the tensor, which may change, where it would fix the number
        self.epsilon_tensor = torch.tensor(self.epsilon, dtype=torch.float64, device="cpu")

    @property
    def exact_states(self) -> bool:
        """Whether a step sets or holds: nothing of the old state is mixed with anything."""
        return self.epsilon == 0

    @property
    def sums_in_order(self) -> bool:
        """Whether a step adds to a part of the old state."""
        return self.epsilon != 0


class Annealed:
    """The attribute `epsilon` of units and cells, which may be changed between steps."""

    recurrence: Any  # one with the option `epsilon`

    @property
    def epsilon(self) -> float:
        """How much of the old state a write keeps, or another share, in [0, 1]; no part of the `state_dict`."""
        return self.recurrence.epsilon

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        self.recurrence.set_option("epsilon", value)
