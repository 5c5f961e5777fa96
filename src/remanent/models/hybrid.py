"""Units side by side on one input, their outputs joined."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from remanent._options import check_choice
from remanent.models.attention import Attention
from remanent.units import RecurrentUnit

JOINS = ("concatenate", "sum")
"""The ways to join the outputs of units side by side."""
LayerState = tuple[Any, ...]
"""One state per unit: (1, B, D), a tuple of two for an LSTM, an `AttentionState` for attention."""


class Hybrid(nn.Module):
    r"""Several units on the same input, outputs joined: $y_t = [u_1(x)_t, u_2(x)_t, \dots]$ or their sum.

    A unit whose memory fades gives transient dynamics, one that latches gives persistent memory; a
    hybrid has both, and is still one parallel scan per unit. One unit alone is the plain case.

    Args:
        units: batch-first units of one `input_size`.
        join: "concatenate", or "sum" for units of one `hidden_size`.
        bidirectional: whether the units read in both directions, rather than in one; they then have no `step`.

    Raises:
        ValueError: the units do not fit each other, or `join` is unknown.

    >>> from remanent import BMRU, LRU
    >>> layer = Hybrid([BMRU(4, 3, batch_first=True), LRU(4, 3, batch_first=True)])
    >>> layer(torch.randn(2, 9, 4))[0].shape
    torch.Size([2, 9, 6])
    """

    def __init__(
        self, units: Sequence[RecurrentUnit | Attention], *, join: str = "concatenate", bidirectional: bool = False
    ) -> None:
        super().__init__()
        check_choice("join", join, JOINS)
        for unit in units:
            if isinstance(unit, RecurrentUnit) and not unit.batch_first:
                raise ValueError(f"`units` must be batch-first, got {unit}")
            if isinstance(unit, RecurrentUnit) and unit.bidirectional != bidirectional:
                rule = "two directions" if bidirectional else "one direction"
                raise ValueError(f"`units` must have {rule}, got {unit}")
        if len({unit.input_size for unit in units}) != 1:
            raise ValueError(f"`units` must have one input size, got {[unit.input_size for unit in units]}")
        if join == "sum" and len({unit.hidden_size for unit in units}) != 1:
            raise ValueError(f"`units` must have one size to be summed, got {[unit.hidden_size for unit in units]}")
        self.units = nn.ModuleList(units)
        self.join = join

    def forward(
        self,
        x: Tensor,
        state: LayerState | None = None,
        *,
        reset: Tensor | None = None,
        reset_state: LayerState | None = None,
        group: Any = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, LayerState]:
        """Runs (B, T, M) to (B, T, joined D), with one state per unit in and out; `reset` is (B, T).

        `reset_state` has the state after a reset for each unit, as `RecurrentUnit.forward` takes it. With a `group`,
        these are this process's steps of a longer sequence, and with `lengths`, sequences of so many steps; attention
        takes neither.
        """
        more = {"group": group, "lengths": lengths}
        shared = {"reset": reset} | {name: value for name, value in more.items() if value is not None}
        given = zip(self.units, self._states("state", state), self._resets(reset_state), strict=True)
        return self._join([unit(x, h, **shared, **start) for unit, h, start in given])

    def step(
        self,
        x_t: Tensor,
        state: LayerState | None = None,
        *,
        reset: Tensor | None = None,
        reset_state: LayerState | None = None,
    ) -> tuple[Tensor, LayerState]:
        """Runs one step, (B, M) to (B, joined D); `reset` is (B,), and a state in `reset_state` is like one before."""
        given = zip(self.units, self._states("state", state), self._resets(reset_state), strict=True)
        return self._join([unit.step(x_t, h, reset=reset, **start) for unit, h, start in given])  # type: ignore[operator]

    def _resets(self, reset_state: LayerState | None) -> list[dict[str, Any]]:
        """The option of each unit; none where there is nothing to pass, which attention would not take."""
        return [{} if h is None else {"reset_state": h} for h in self._states("reset_state", reset_state)]

    def _states(self, name: str, state: LayerState | None) -> LayerState:
        if state is None:
            return (None,) * len(self.units)
        if not isinstance(state, tuple | list) or len(state) != len(self.units):
            found = f"{len(state)}" if isinstance(state, tuple | list) else type(state).__name__
            raise ValueError(f"`{name}` must be a tuple of {len(self.units)} states, one for each unit, got {found}")
        return tuple(state)

    def _join(self, results: list[tuple[Tensor, Any]]) -> tuple[Tensor, LayerState]:
        if len(results) == 1:
            (output, state), *_ = results
            return output, (state,)
        outputs, states = zip(*results, strict=True)
        joined = torch.cat(outputs, dim=-1) if self.join == "concatenate" else torch.stack(outputs).sum(0)
        return joined, tuple(states)
