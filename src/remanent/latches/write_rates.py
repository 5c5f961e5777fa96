"""Initialisation by write rates: thresholds under which each channel is written in a chosen share of the steps."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from remanent._options import check_range
from remanent._rates import spaced_rates
from remanent.latches.annealing import annealed
from remanent.latches.layer_runs import LayerRun, call, check_module, watch_layers
from remanent.units.base import RecurrentUnit
from remanent.units.cell import RecurrentCell
from remanent.units.recurrence import Params, Recurrence


class WriteRates(NamedTuple):
    """What `set_write_rates` found and set in one layer and direction of latches.

    Attributes:
        name: the name of the layer, such as "blocks.0.layer.units.0.l0", or "l0" in a unit alone; a cell's own name.
        before: the share of steps that wrote each channel with the old thresholds, float64 (D,).
        wanted: the share that was asked for, float64 (D,).
        after: the share with the new thresholds, float64 (D,); inputs of few values allow only some.
    """

    name: str
    before: Tensor
    wanted: Tensor
    after: Tensor


@torch.no_grad()
def set_write_rates(module: nn.Module, batch: Any, *, low: float | None = None, high: float = 0.5) -> list[WriteRates]:
    r"""Sets the biases of every latch in a module so that its channels are written at given rates on a batch.

    A channel that is never written tells nothing about the input, and one that is always written holds nothing; neither
    learns. Here channel $i$ of $D$ is written in a share $p_i$ of the steps, where the $p_i$ are evenly spaced in the
    logarithm between `low` and `high`: a share of the steps is to a latch what a time constant is to other units. The
    mean is taken from the candidate, and the bias of the threshold is chosen among all that the batch tells apart.
    Layers follow one another, each on what the layers before it give once they are set, with `epsilon` at 0 where it
    can be annealed. Nothing is drawn at random: equal modules and batches get equal bits.

    Args:
        module: a unit, a cell, a model, or any module that holds some: it is called as `module(batch)` in evaluation,
            once for each layer of latches and once more. A cell is set on the inputs of all its calls.
        batch: what the module is called with; a tuple or list is passed as several arguments. Steps of padding count as
            steps, unless they are packed.
        low: the lowest rate, in (0, `high`]; None for one write in a sequence: 1 over the number of steps.
        high: the highest rate, in (0, 1).

    Returns:
        What was found and set, for each layer and direction in the order in which they run.

    Raises:
        ValueError: a rate is out of its range, no latch runs, or one has no biases to set.
        TypeError: `module` is not a module, or a latch of your own does not say how its rates are set.

    Source: the rates are those of Tallec and Ollivier (2018), arXiv 1804.11188, for time constants; layer by layer from
    data, as Mishkin and Matas (2016), arXiv 1511.06422.

    >>> from remanent import BMRU
    >>> (found,) = set_write_rates(BMRU(3, 8), torch.rand(100, 16, 3), low=0.01)
    >>> found.name, found.after.shape, bool(found.after.min() > 0)
    ('l0', torch.Size([8]), True)
    """
    check_range("high", high, 0, 1, open_low=True, open_high=True)
    if low is not None:
        check_range("low", low, 0, high, open_low=True)
    check_module(module)
    for error in unsettable(module).values():
        raise error
    found = set_rates_but(module, batch, (), low=low, high=high)
    if not found:
        raise ValueError(f"`module` must run a latch on `batch`, got none in {type(module).__name__}")
    return found


def unsettable(module: nn.Module) -> dict[str, Exception]:
    """The names of the latches whose rates cannot be set, and for each the error that says why."""
    found: dict[str, Exception] = {}
    for name, unit in module.named_modules():
        if isinstance(unit, RecurrentUnit | RecurrentCell) and unit.recurrence.latches:
            error = _why_not(name, unit)
            if error is not None:
                found[name] = error
    return found


@torch.no_grad()
def set_rates_but(
    module: nn.Module, batch: Any, left: Collection[str], *, low: float | None = None, high: float = 0.5
) -> list[WriteRates]:
    """What `set_write_rates` does, for all latches but those of some names, which stay as they are."""
    done: dict[str, WriteRates] = {}
    units = [module.get_submodule(name) for name in left]
    with _measured(module):
        while (seen := _inputs_of_next(module, batch, done, units)) is not None:
            name, recurrence, p, x, _ = seen
            least = min(1 / x.shape[1], high) if low is None else low
            x = x.flatten(0, 1)
            before = _rates(recurrence, p, x)
            wanted = spaced_rates(least, high, before.shape[0])
            recurrence.set_write_rates(p, x, wanted)
            done[name] = WriteRates(name, before, wanted, _rates(recurrence, p, x))
    return list(done.values())


def _why_not(name: str, unit: RecurrentUnit | RecurrentCell) -> Exception | None:
    names = unit.recurrence.rate_parameters
    if not names:
        rule = f"`rate_parameters` must be declared by the equations of {type(unit).__name__}, with `set_write_rates`"
        return TypeError(f"{rule}, got none")
    where = name or type(unit).__name__.removeprefix("Parametrized")
    if not unit._shapes.keys() >= set(names):
        return ValueError(f"`module` must have biases in its latches, got none in {where}")
    computed = [key for key in getattr(unit, "parametrizations", {}) if key.startswith(names)]
    if computed:
        return ValueError(f"`{computed[0]}` must be a parameter to be set, got a computed one in {where}")
    return None


@contextmanager
def _measured(module: nn.Module) -> Iterator[None]:
    """In evaluation, with every epsilon that can be annealed at 0; both are given back."""
    modes = {part: part.training for part in module.modules()}
    options = [(recurrence, option, getattr(recurrence, option)) for _, recurrence, option in annealed(module)]
    module.eval()
    for recurrence, option, _ in options:
        recurrence.set_option(option, 0.0)
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        for recurrence, option, value in options:
            recurrence.set_option(option, value)


def _inputs_of_next(
    module: nn.Module, batch: Any, done: dict[str, WriteRates], left: list[nn.Module]
) -> LayerRun | None:
    """Runs the module, and puts together the inputs of the first latch that is not done yet; None where all are."""
    runs: list[LayerRun] = []

    def collect(run: LayerRun) -> None:
        if not run.recurrence.latches or run.name in done or any(run.unit is unit for unit in left):
            return
        if not runs or runs[0].name == run.name:
            runs.append(run)

    with watch_layers(module, collect):
        call(module, batch)
    if not runs:
        return None
    steps = sum(run.x.shape[1] for run in runs)
    return runs[0]._replace(x=torch.cat([run.x.flatten(0, 1) for run in runs]).unflatten(0, (-1, steps)))


def _rates(recurrence: Recurrence, p: Params, x: Tensor) -> Tensor:
    written = recurrence.writes(p, x)
    assert written is not None
    return written.double().mean(0)
