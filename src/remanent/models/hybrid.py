"""Units side by side on one input, their outputs joined."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from remanent.units import RecurrentUnit

LayerState = tuple[Tensor, ...]
"""One state (1, B, D) a unit."""


class Hybrid(nn.Module):
    r"""Several units on the same input, outputs concatenated: $y_t = [u_1(x)_t, u_2(x)_t, \dots]$.

    A unit whose memory fades gives transient dynamics, one that latches gives persistent memory; a
    hybrid has both, and is still one parallel scan a unit. One unit alone is the plain case.

    Args:
        units: batch-first units of one `input_size`.

    >>> from remanent import BMRU, LRU
    >>> layer = Hybrid([BMRU(4, 3, batch_first=True), LRU(4, 3, batch_first=True)])
    >>> layer(torch.randn(2, 9, 4))[0].shape
    torch.Size([2, 9, 6])
    """

    def __init__(self, units: Sequence[RecurrentUnit]) -> None:
        super().__init__()
        for unit in units:
            if not unit.batch_first:
                raise ValueError(f"`units` must be batch-first, got {unit}")
        if len({unit.input_size for unit in units}) != 1:
            raise ValueError(f"`units` must have one input size, got {[unit.input_size for unit in units]}")
        self.units = nn.ModuleList(units)

    def forward(
        self, x: Tensor, state: LayerState | None = None, *, reset: Tensor | None = None
    ) -> tuple[Tensor, LayerState]:
        """Runs (B, T, M) to (B, T, sum of D), with a state a unit in and out."""
        states = state or (None,) * len(self.units)
        results = [unit(x, h, reset=reset) for unit, h in zip(self.units, states, strict=True)]
        return _join(results)

    def step(self, x_t: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """Runs one step, (B, M) to (B, sum of D)."""
        states = state or (None,) * len(self.units)
        results = [unit.step(x_t, h) for unit, h in zip(self.units, states, strict=True)]  # type: ignore[operator]
        return _join(results)


def _join(results: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, LayerState]:
    outputs, states = zip(*results, strict=True)
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)), tuple(states)
