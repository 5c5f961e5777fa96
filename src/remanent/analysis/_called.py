"""How measures call any module: what it is given, what it gives, and what its units give meanwhile."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from remanent.latches.layer_runs import call
from remanent.units import RecurrentUnit
from remanent.units.cell import RecurrentCell


def inputs_of(batch: Any) -> Tensor:
    """The inputs in a batch, which are its first argument; at least (B, T) or (T, B)."""
    x = batch[0] if isinstance(batch, tuple | list) and not isinstance(batch, PackedSequence) and batch else batch
    if not isinstance(x, Tensor):
        raise TypeError(f"`x` must be a torch.Tensor, or begin with one, got {type(x).__name__}")
    if x.dim() < 2 or x.numel() == 0:
        raise ValueError(f"`x` must have the axes B and T and be not empty, got shape {tuple(x.shape)}")
    return x


def answer(module: nn.Module, batch: Any, *, batch_first: bool) -> Tensor:
    """What a module gives for a batch, or the first part of it: (B, T, ...), (B, W) after the last step, or (B,)."""
    given = call(module, batch)
    y = given[0] if isinstance(given, tuple | list) and not isinstance(given, PackedSequence) and given else given
    if not isinstance(y, Tensor):
        raise TypeError(f"`module` must give a torch.Tensor, or a tuple that begins with one, got {type(y).__name__}")
    x = inputs_of(batch)
    if y.dim() > 2 and not batch_first:
        y = y.transpose(0, 1)
    B = x.shape[0 if batch_first else 1]
    if y.dim() < 1 or len(y) != B:
        order = "B, T" if batch_first else "T, B"
        rule = f"`module` must give ({order}, W), or (B, W) after the last step, where B={B}"
        raise ValueError(f"{rule} with batch_first={batch_first}, got {tuple(y.shape)}")
    return y


@contextmanager
def embeddings_of(module: nn.Module, tokens: Tensor) -> Iterator[list[Tensor]]:
    """A list that will hold what the first `nn.Embedding` gives for tokens in the context, as the start of a graph."""
    found: list[Tensor] = []

    def begin(_: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if found or not arguments or arguments[0].shape != tokens.shape:
            return None
        found.append(output.detach().requires_grad_())
        return found[0]

    with ExitStack() as hooks:
        for part in module.modules():
            if isinstance(part, nn.Embedding):
                hooks.callback(part.register_forward_hook(begin).remove)
        yield found


def unit_outputs(module: nn.Module, x: Tensor, *, batch_first: bool) -> Tensor:
    """The outputs of all units and cells in a module that is called once on x, side by side, (B, T, W).

    Raises:
        ValueError: no unit or cell ran, or one did not run once over every step.
    """
    seen: dict[nn.Module, list[Tensor]] = {}

    def keep(part: nn.Module, _: Any, output: Any) -> None:
        y = output if isinstance(output, Tensor) else output[0]
        if isinstance(part, RecurrentCell):
            y = (y if y.dim() == 2 else y[None])[:, None]
        elif isinstance(y, Tensor) and y.dim() == 3 and not part.batch_first:
            y = y.transpose(0, 1)
        seen.setdefault(part, []).append(y)

    with ExitStack() as hooks:
        for part in module.modules():
            if isinstance(part, RecurrentUnit | RecurrentCell):
                hooks.callback(part.register_forward_hook(keep).remove)
        call(module, x)
    B, T = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
    for part, outputs in seen.items():
        if not all(y.dim() == 3 and len(y) == B for y in outputs) or sum(y.shape[1] for y in outputs) != T:
            given = " and ".join(str(tuple(y.shape)) for y in outputs[:2])
            raise ValueError(
                f"`read` must be 'answer' where a unit does not run once over all of (B={B}, T={T}), "
                f"got {given} from {type(part).__name__}"
            )
    if not seen:
        raise ValueError(f"`read` must be 'answer' where no unit or cell runs, got 'units' for {type(module).__name__}")
    return torch.cat([torch.cat(outputs, dim=1) for outputs in seen.values()], dim=-1)
