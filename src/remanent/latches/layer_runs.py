"""The layers of units and cells anywhere in a module: what runs in each is seen, whoever calls it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from remanent.units.base import RecurrentUnit
from remanent.units.cell import RecurrentCell
from remanent.units.recurrence import Params, Recurrence


def check_module(module: Any) -> None:
    """Raises unless the argument `module` is a module."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"`module` must be a torch.nn.Module, got {type(module).__name__}")


class LayerRun(NamedTuple):
    """One layer and direction of a unit, or a cell, at the moment before it runs.

    Attributes:
        name: its name, such as "blocks.0.layer.units.0.l0", or "l0" in a unit alone; a cell's own name.
        recurrence: its equations.
        p: its parameters, as the equations read them.
        x: its inputs, (B, T, M), in the order in which it reads them; T is 1 for a cell or a step.
        unit: the unit or cell that it belongs to.
    """

    name: str
    recurrence: Recurrence
    p: Params
    x: Tensor
    unit: RecurrentUnit | RecurrentCell


@contextmanager
def watch_layers(module: nn.Module, seen: Callable[[LayerRun], None]) -> Iterator[None]:
    """Calls `seen` whenever a layer of a unit, or a cell, runs in the context; it must change nothing that it is given.

    Args:
        module: a unit, a cell, a model, or any module that holds some.
        seen: called with what runs.
    """
    with ExitStack() as hooks:
        for path, unit in module.named_modules():
            if isinstance(unit, RecurrentUnit):
                hooks.enter_context(unit.register_layer_hook(partial(_see_layer, seen, unit, path)))
            elif isinstance(unit, RecurrentCell):
                hooks.enter_context(unit.register_forward_pre_hook(partial(_see_step, seen, path), with_kwargs=True))
        yield


class Arguments(NamedTuple):
    """What a module is called with, where some of it goes by name."""

    positional: tuple[Any, ...]
    named: dict[str, Any]


def call(module: nn.Module, batch: Any) -> Any:
    """What a module gives for a batch; a tuple or list is passed as several arguments."""
    if isinstance(batch, Arguments):
        return module(*batch.positional, **batch.named)
    several = isinstance(batch, tuple | list) and not isinstance(batch, PackedSequence)
    return module(*batch) if several else module(batch)


def _see_layer(
    seen: Callable[[LayerRun], None], unit: RecurrentUnit, path: str, layer: str, p: Params, x: Tensor
) -> None:
    seen(LayerRun(f"{path}.{layer}" if path else layer, unit.recurrence, p, x, unit))


def _see_step(
    seen: Callable[[LayerRun], None],
    path: str,
    cell: RecurrentCell,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
) -> None:
    x = arguments[0] if arguments else keywords["input"]
    seen(LayerRun(path, cell.recurrence, cell._params(), (x if x.dim() == 2 else x[None])[:, None], cell))
