"""A model with some of its K-state heads alone: smaller, or with the others frozen where it cannot be smaller."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from remanent.analysis.automata.heads import Head, all_heads, freeze, num_heads
from remanent.models import SequenceModel
from remanent.ops.arguments import HeadSizes
from remanent.units import RecurrentUnit


def can_shrink(model: SequenceModel) -> bool:
    """Whether a configuration can have fewer heads: `state_size` is the width of all units, so there must be one."""
    return [len(names) for names in model.config.layers] == [1]


@torch.no_grad()
def with_heads(model: SequenceModel, kept: Sequence[Head]) -> SequenceModel:
    """A copy of a model that answers as if the heads that are not kept stayed in their start states for ever.

    A model of one unit gets a smaller unit: what the other heads would give the projection after it becomes part of
    that projection's bias. With fewer tracers than states, a head's start depends on its number, so that the states of
    a head that gets another number are renamed.

    Args:
        model: the model, which is left as it is.
        kept: the heads that move, at least one, in rising order, of those that `all_heads` gives.

    Returns:
        The copy, on the same device, in the same dtype, mode and at the same `epsilon`.
    """
    heads = all_heads(model)
    if list(kept) == heads or not can_shrink(model):
        return freeze(model, [head for head in heads if head not in kept])
    unit: RecurrentUnit = model.blocks[0].layer.units[0]  # type: ignore[union-attr, index, assignment]
    sizes: HeadSizes = unit.recurrence.sizes  # type: ignore[attr-defined]
    numbers = torch.tensor([head.number for head in kept])
    weights = _weights(model, unit, sizes, numbers)
    config = dataclasses.replace(model.config, state_size=len(kept) * sizes.tracers * sizes.states)
    like = model.head.weight
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        smaller = SequenceModel(config)
    smaller.names = model.names
    smaller.to(like.device, like.dtype).load_state_dict(weights)
    if model.epsilon is not None:
        smaller.set_epsilon(model.epsilon)
    return smaller.train(model.training)


def _weights(model: SequenceModel, unit: RecurrentUnit, sizes: HeadSizes, numbers: Tensor) -> dict[str, Tensor]:
    """The weights of the smaller model."""
    (K, R), H = sizes, num_heads(unit)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    numbers = numbers.to(model.head.weight.device)
    moved = (numbers - torch.arange(len(numbers), device=numbers.device)) * R % K
    names = [(numbers.new_tensor(range(K)) + shift) % K for shift in moved]  # the old names of a head's states
    for name in ("weight_ih_l0", "bias_ih_l0"):
        logits = weights.get(f"blocks.0.layer.units.0.{name}")
        if logits is not None:
            rows = logits.unflatten(0, (H, K, K))
            renamed = [rows[number][old][:, old] for number, old in zip(numbers, names, strict=True)]
            weights[f"blocks.0.layer.units.0.{name}"] = torch.cat(renamed).flatten(0, 1)
    columns = weights["blocks.0.project.weight"].unflatten(1, (H, R, K))
    renamed = [columns[:, number][..., old] for number, old in zip(numbers, names, strict=True)]
    weights["blocks.0.project.weight"] = torch.cat(renamed, 1).flatten(1)
    start = unit.recurrence.start(unit._params("_l0"))
    assert start is not None
    held = (columns * start.view(H, R, K)).double().sum((2, 3))
    held[:, numbers] = 0
    bias = weights["blocks.0.project.bias"]
    weights["blocks.0.project.bias"] = (bias.double() + held.sum(1)).to(bias.dtype)
    return weights
