"""Annealing for any module: how much of the old state a write keeps, set by hand or by a schedule."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from remanent._options import check_at_least, check_range
from remanent.latches.layer_runs import check_module
from remanent.units._checks import check_flag
from remanent.units.base import RecurrentUnit
from remanent.units.cell import RecurrentCell
from remanent.units.recurrence import Recurrence

DEADLINE = 0.8
"""The share of the steps after which epsilon is 0, however the loss behaves: the rest is trained as it will be used."""
SLOW = 4
"""How many times more steps the slow running mean of the loss looks back than the fast one."""


def set_epsilon(module: nn.Module, value: float, *, cumulative: bool = False) -> list[str]:
    r"""Sets epsilon, how much of the old state a write keeps, on every unit and cell in a module that can be annealed.

    These are `BMRU`, `AlphaBMRU` and their cells, and units of your own whose equations declare an `annealed_option`. A
    `CMRU` and an `AlphaCMRU` are cumulative, with epsilon 1, and stay so unless `cumulative` is true.

    Args:
        module: a unit, a cell, a model, or any module that holds some.
        value: epsilon, in [0, 1]: with 0 a write replaces the state, with 1 writes add up.
        cumulative: whether it is set on cumulative units too.

    Returns:
        The names of the units and cells that were changed, as `module.named_modules()` gives them: "" for `module`.

    Raises:
        ValueError: `value` is out of its range, or there is no unit to change.
        TypeError: `module` is not a module, or `value` is not a number.

    Source: Brandoit et al. (2026), arXiv 2605.11855, for epsilon.

    >>> from remanent import BMRU, CMRU
    >>> from torch import nn
    >>> set_epsilon(nn.ModuleDict({"keeps": BMRU(3, 8), "counts": CMRU(3, 8)}), 0.5)
    ['keeps']
    """
    check_flag("cumulative", cumulative)
    check_range("value", value, 0, 1)
    check_module(module)
    found = annealed(module, cumulative)
    if not found:
        rule = "`module` must hold a unit that can be annealed (cumulative ones only with `cumulative`)"
        units = [type(unit).__name__ for unit in module.modules() if isinstance(unit, RecurrentUnit | RecurrentCell)]
        raise ValueError(f"{rule}, got {', '.join(dict.fromkeys(units)) or 'no unit'} in {type(module).__name__}")
    for _, recurrence, option in found:
        recurrence.set_option(option, float(value))
    return [name for name, _, _ in found]


class EpsilonSchedule:
    r"""Takes the epsilon of units that can be annealed from 1 to exactly 0, with the interface of torch's schedulers.

    Epsilon is 1 for a share `hold` of the steps, falls linearly within a share `ramp`, and stays 0. With `wait`, it
    falls only while the loss does not rise: while its running mean over some `window` steps is not above the one over
    four times as many. However the loss behaves, epsilon is 0 in at least the last fifth of the steps.

    Args:
        module: a unit, a cell, a model, or any module that holds some.
        total_steps: how often `step` will be called, at least 1.
        hold: the share of the steps at the start in which epsilon stays 1, in [0, 1).
        ramp: the share of the steps in which it falls, in (0, 1]; `hold` and `ramp` sum to at most 1, and to at most
            0.8 with `wait`.
        wait: whether epsilon waits for the loss, which `step` is then given.
        window: how many steps the fast running mean of the loss looks back, at least 1; a fiftieth of the steps, and
            at least 10, if None.
        cumulative: whether cumulative units, such as `CMRU`, are annealed too.

    Attributes:
        epsilon: the present value, which the units have.
        last_step: how often `step` was called.

    Raises:
        ValueError: a value is out of its range, or no unit in `module` can be annealed.
        TypeError: a count is not an int, or a flag not a bool.

    Source: Brandoit et al. (2026), arXiv 2605.11855, for epsilon; waiting for the loss is our choice.

    >>> from remanent import BMRU
    >>> unit = BMRU(3, 8)
    >>> schedule = EpsilonSchedule(unit, total_steps=10, hold=0.0, ramp=0.5)
    >>> for _ in range(10):  # a training step, and then:
    ...     schedule.step()
    ...     print(round(unit.epsilon, 1), end=" ")
    0.8 0.6 0.4 0.2 0.0 0.0 0.0 0.0 0.0 0.0
    """

    def __init__(
        self,
        module: nn.Module,
        total_steps: int,
        *,
        hold: float = 0.05,
        ramp: float = 0.4,
        wait: bool = False,
        window: int | None = None,
        cumulative: bool = False,
    ) -> None:
        check_at_least("total_steps", total_steps, 1)
        check_range("hold", hold, 0, 1, open_high=True)
        check_range("ramp", ramp, 0, 1, open_low=True)
        check_flag("wait", wait)
        latest = DEADLINE if wait else 1
        if hold + ramp > latest + 1e-12:
            rule = " where `wait` is true" if wait else ""
            raise ValueError(f"`hold` and `ramp` must sum to at most {latest}{rule}, got {hold + ramp}")
        self.window = max(10, total_steps // 50) if window is None else window
        check_at_least("window", self.window, 1)
        self.module, self.cumulative = module, cumulative
        self.total_steps, self.hold, self.ramp, self.wait = total_steps, hold, ramp, wait
        self.last_step, self.epsilon = 0, 1.0
        self._fallen, self._fast, self._slow = 0.0, 0.0, 0.0  # the share of the steps in which epsilon fell; two means
        set_epsilon(module, self.epsilon, cumulative=cumulative)

    def step(self, loss: float | Tensor | None = None) -> None:
        """Sets the epsilon of the next training step; to be called after each one, as a scheduler of the rate is.

        Args:
            loss: the loss of the step, which must be the same number on all processes that train one model; only read
                where epsilon waits for it.

        Raises:
            TypeError: epsilon waits for the loss, and none is given.
            ValueError: epsilon waits for the loss, and it is not finite.
        """
        rising = self.wait and self._rises(loss)
        self.last_step += 1
        share = self.last_step / self.total_steps
        if not self.wait:
            self._fallen = share - self.hold
        elif share > self.hold:
            fallen = self._fallen if rising else self._fallen + 1 / self.total_steps
            self._fallen = max(fallen, share - (DEADLINE - self.ramp))
        over = share >= (DEADLINE if self.wait else 1)
        self._set(0.0 if over else min(1.0, max(0.0, 1.0 - self._fallen / self.ramp)))

    @property
    def is_final(self) -> bool:
        """Whether epsilon is 0 for good; the best model, early stopping and averages should begin only then."""
        return self.epsilon == 0

    def state_dict(self) -> dict[str, Any]:
        """Everything but the module, as plain values, from which a schedule on another copy of the module continues."""
        return {name: value for name, value in vars(self).items() if name != "module"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continues from what `state_dict` gave, and sets epsilon on the units.

        Raises:
            ValueError: the keys are not those of a schedule.
        """
        expected = self.state_dict().keys()
        if state_dict.keys() != expected:
            raise ValueError(f"`state_dict` must have the keys {', '.join(expected)}, got {', '.join(state_dict)}")
        vars(self).update(state_dict)
        self._set(self.epsilon)

    def _set(self, epsilon: float) -> None:
        self.epsilon = epsilon
        set_epsilon(self.module, epsilon, cumulative=self.cumulative)

    def _rises(self, loss: float | Tensor | None) -> bool:
        """Takes the loss into both running means; whether the fast one is above the slow one."""
        if loss is None:
            raise TypeError("`loss` must be given to a schedule with `wait`, got None")
        value = float(loss)
        if not math.isfinite(value):
            raise ValueError(f"`loss` must be finite, got {value}")
        seen = self.last_step + 1
        self._fast += (value - self._fast) / min(seen, self.window)
        self._slow += (value - self._slow) / min(seen, SLOW * self.window)
        return self._fast > self._slow


def annealed(module: nn.Module, cumulative: bool = False) -> list[tuple[str, Recurrence, str]]:
    """The name and the equations of every unit and cell that can be annealed, and the option that is changed.

    Args:
        module: any module.
        cumulative: whether cumulative units, which have an `epsilon` that is not annealed, are named too.
    """
    found = []
    for name, unit in module.named_modules():
        if isinstance(unit, RecurrentUnit | RecurrentCell):
            recurrence = unit.recurrence
            if recurrence.annealed_option is not None:
                found.append((name, recurrence, recurrence.annealed_option))
            elif cumulative and hasattr(recurrence, "epsilon"):
                found.append((name, recurrence, "epsilon"))
    return found
