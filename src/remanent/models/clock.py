"""A clock that fades: features of the step since a sequence's start, which are exactly zero from some step on."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from remanent._options import check_at_least, check_choice

CLOCKS = ("none", "sinusoid", "decay")
"""The choices for a model's clock."""
SHORTEST = 4.0
"""The shortest wavelength of the sinusoids, in steps."""


LARGEST_TABLE = 2**25
"""The most features that a clock may have over all steps of its span: 128 MiB of them."""


class Clock(nn.Module):
    r"""Position features that vanish: $\phi(t)$ for the steps $t < S$ since a start, 0 from S on.

    A set-or-hold unit has no transient dynamics: alone, it cannot distinguish one step from another. With a
    clock it can, over the first S steps; since nothing differs after them, what it does there holds at any length.

    - "sinusoid": $\sin$ and $\cos$ of $2 \pi t / w_i$, the wavelengths $w_i$ evenly spaced in their logarithm
      from 4 to 2 S: as sharp everywhere in the span, for input whose informative part ends with it.
    - "decay": the same times $e^{-2 t / w_i}$, the wavelengths from 4 to S / 4: sharp at first and coarser later, for
      input that need not end anywhere.

    The features are read from a table, so that a step alone has the same bits as among many.

    Args:
        kind: "sinusoid" or "decay".
        size: C, the number of features, even and at least 2.
        span: S, at least 1, and with C S at most 2**25.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: a size is not an int.

    Source: sinusoids: Vaswani et al. (2017), arXiv 1706.03762; that they end or fade is ours.

    >>> features, time = Clock("decay", size=2, span=16)(batch=1, steps=20)
    >>> features.shape, features[0, 16:].abs().max().item(), time.item()
    (torch.Size([1, 20, 2]), 0.0, 16)
    """

    table: Tensor
    why_endless: ClassVar[str | None] = "whose features count the steps"
    """Why a model with it is not treated as a finite automaton; see `Recurrence`."""

    def __init__(self, kind: str, *, size: int, span: int) -> None:
        super().__init__()
        check_choice("kind", kind, CLOCKS[1:])
        check_at_least("size", size, 2)
        check_at_least("span", span, 1)
        if size % 2:
            raise ValueError(f"`size` must be even, got {size}")
        if size * span > LARGEST_TABLE:
            raise ValueError(f"`size` times `span` must be at most {LARGEST_TABLE}, got {size} times {span}")
        self.kind = kind
        self.size = size
        self.span = span
        self.register_buffer("table", self._filled(torch.empty(0, dtype=torch.float32)), persistent=False)

    def forward(
        self,
        batch: int,
        steps: int,
        time: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        reset_time: Tensor | None = None,
        device: torch.device | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The features of the next steps.

        Args:
            batch: B.
            steps: T.
            time: int64 (B,), steps since the start before the first of these, at most S; 0 if None.
            reset: bool (B, T): where true, a new sequence starts at that step.
            reset_time: int64 (B, T), in place of `time` at the steps with a reset, the rest not being read; 0 if None.
            device: where `time` and `reset` are and the features will be; that of the table if None.

        Returns:
            Features (B, T, C), and the steps since the start after the last, int64 (B,), at most S.
        """
        table = self.table if device is None else self.table_on(device)
        index = torch.arange(steps, device=table.device)
        start = table.new_zeros(batch, dtype=torch.int64) if time is None else time
        since = start[:, None] + index
        if reset is not None:
            last = torch.where(reset, index, -1)
            last = last if steps == 1 else last.cummax(1).values
            again = index - last
            if reset_time is not None:
                again = again + reset_time.gather(1, last.clamp(min=0))
            since = torch.where(last >= 0, again, since)
        return table[since.clamp(max=self.span)], (since[:, -1] + 1).clamp(max=self.span)

    def time_after(
        self, lengths: Tensor, time: Tensor | None, reset: Tensor | None, reset_time: Tensor | None = None
    ) -> Tensor:
        """The steps since the start after the last real step of each sequence, int64 (B,), at most S.

        Args:
            lengths: how many steps are real, (B,).
            time: as `forward` takes it.
            reset: bool (B, T), false in the padding.
            reset_time: as `forward` takes it.
        """
        since = lengths if time is None else time + lengths
        if reset is not None:
            last = reset.shape[1] - 1 - reset.flip(1).long().argmax(1)  # the last reset, where there is one
            after = lengths - last
            if reset_time is not None:
                after = after + reset_time.gather(1, last[:, None])[:, 0]
            since = torch.where(reset.any(1), after, since)
        return since.clamp(max=self.span)

    def table_on(self, device: torch.device) -> Tensor:
        """The table, which is on this device from then on: weights may come to a device without a call of `to`."""
        if self.table.device != device:
            self.table = self._filled(torch.empty(0, dtype=self.table.dtype, device=device))
        return self.table

    def _apply(self, fn: Callable[[Tensor], Any], recurse: bool = True) -> "Clock":
        """Moves the table as torch moves every buffer, and fills it: that of `to_empty` or a meta device is void."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.table = self._filled(self.table)
        return self

    def _filled(self, like: Tensor) -> Tensor:
        """The features of every step of the span, then zeros for those after it, in the dtype and device of another."""
        features = _sinusoids(self.size, self.span) if self.kind == "sinusoid" else _decays(self.size, self.span)
        return torch.cat([features, features.new_zeros(1, self.size)]).to(like)


def _sinusoids(size: int, span: int) -> Tensor:
    phases = 2 * math.pi * _turns(size, span, 2.0 * span)
    return torch.cat([phases.sin(), phases.cos()], dim=1).float()


def _decays(size: int, span: int) -> Tensor:
    turns = _turns(size, span, span / 4)
    phases, fading = 2 * math.pi * turns, (-2 * turns).exp()
    return torch.cat([phases.sin() * fading, phases.cos() * fading], dim=1).float()


def _turns(size: int, span: int, longest: float) -> Tensor:
    """How often each wavelength fits into the time since the start, (S, C / 2)."""
    ends = math.log(SHORTEST), math.log(max(longest, 2 * SHORTEST))
    wavelengths = torch.linspace(*ends, size // 2, dtype=torch.float64, device="cpu").exp()
    return torch.arange(span, dtype=torch.float64, device="cpu")[:, None] / wavelengths
