"""How often latches are written, which of them never are, and how long they hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from remanent.analysis._probe import CHUNK, Probed, check_probed, check_sequences, evaluating, pieces, run
from remanent.latches.layer_runs import LayerRun, call, check_module, watch_layers


class Writes(NamedTuple):
    """The statistics of the writes in one layer of latches, over a batch and its time.

    Attributes:
        name: the name of the layer, such as "blocks.0.layer.units.0.l0", or "l0" in a unit alone.
        rate: the share of steps that write each channel, the mean of $z_t$, float64 (D,).
        interval: the mean number of steps between two writes of a channel, float64 (D,); NaN if no sequence has two.
        intervals: the number of intervals, over all channels, of 1, of 2 to 3, of 4 to 7 steps and so on, int64 (32,).
    """

    name: str
    rate: Tensor
    interval: Tensor
    intervals: Tensor

    @property
    def never(self) -> Tensor:
        """The channels that are never written, bool (D,): they are dead, since they tell nothing about the input."""
        return self.rate == 0

    @property
    def always(self) -> Tensor:
        """The channels that are written at every step, bool (D,): they are dead memories, since they hold nothing."""
        return self.rate == 1

    @property
    def dead(self) -> Tensor:
        """The channels that are written never or always, bool (D,)."""
        return self.never | self.always


@torch.no_grad()
def write_statistics(module: nn.Module, x: Any) -> list[Writes]:
    r"""Counts where latches are set, $z_t = [\,|c_t| \ge \beta_t\,]$, under a given input.

    Args:
        module: a unit of one direction or a model, which run in chunks of the time; or any module that holds units or
            cells, which is called once as a whole. Units that do not set and hold are skipped.
        x: inputs, (B, T, M), or tokens (B, T); for another module, what it is called with, a tuple or list as several
            arguments.

    Returns:
        The statistics of each layer of latches, from the input upwards.

    Raises:
        ValueError: no unit in `module` sets and holds, or a shape does not fit.
        TypeError: `module` is not a module.

    Source: De Geeter et al. (2026), arXiv 2601.09495, for $z_t$.

    >>> from remanent import BMRU
    >>> (writes,) = write_statistics(BMRU(3, 8), torch.randn(4, 100, 3))
    >>> writes.rate.shape, writes.dead.sum().item()
    (torch.Size([8]), 0)
    """
    check_module(module)
    counters: dict[str, _Counter] = {}
    state = None
    with evaluating(module), write_watch(module, lambda name, z: counters.setdefault(name, _Counter(z)).count(z)):
        if isinstance(module, Probed):
            check_probed(module)
            check_sequences(module, "x", x)
            for left, right in pieces(0, x.shape[1], CHUNK):
                _, state = run(module, x[:, left:right], state)
        else:
            call(module, x)
    if not counters:
        raise ValueError(f"`module` must have latches, which set and hold, got none in {type(module).__name__}")
    return [counter.result(name) for name, counter in counters.items()]


@contextmanager
def write_watch(module: nn.Module, seen: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Calls `seen` with a layer's name and its $z_t$, bool (B, T, D), whenever a layer of latches runs in the context.

    Args:
        module: a unit, or any module that holds some.
        seen: called with a name such as "blocks.0.layer.units.0.l0", or "l0" of a unit alone, and $z_t$.
    """

    def look(run: LayerRun) -> None:
        with torch.no_grad():
            z = run.recurrence.writes(run.p, run.x)
        if z is not None:
            seen(run.name, z)

    with watch_layers(module, look):
        yield


class _Counter:
    """Adds up one layer's writes over chunks."""

    def __init__(self, like: Tensor) -> None:
        B, _, D = like.shape
        self.steps = 0
        self.writes = like.new_zeros(B, D, dtype=torch.int64)
        self.first = like.new_full((B, D), -1, dtype=torch.int64)
        self.last = self.first.clone()
        self.intervals = like.new_zeros(32, dtype=torch.int64)

    def count(self, z: Tensor) -> None:
        T = z.shape[1]
        when = torch.arange(self.steps, self.steps + T, device=z.device)[:, None]
        at = torch.where(z, when, -1)
        upto = torch.cat([self.last[:, None], at], dim=1).cummax(dim=1).values
        before = upto[:, :-1]
        gaps = (when - before)[z & (before >= 0)]
        self.intervals += torch.bincount(gaps.double().log2().floor().long(), minlength=32)
        arrived = torch.where(z.any(1), z.int().argmax(1) + self.steps, -1)
        self.first = torch.where(self.first >= 0, self.first, arrived)
        self.last = upto[:, -1]
        self.writes += z.sum(1)
        self.steps += T

    def result(self, name: str) -> Writes:
        rate = self.writes.sum(0).double() / (len(self.writes) * self.steps)
        spans, gaps = (self.last - self.first).sum(0).double(), (self.writes - 1).clamp(min=0).sum(0).double()
        return Writes(name, rate, spans / gaps, self.intervals)  # 0 / 0 is NaN
