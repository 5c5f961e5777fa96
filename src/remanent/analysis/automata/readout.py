"""What a model of one block answers in given states of its heads, and how this readout is trained alone."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanent.analysis.automata.joint import Examples
from remanent.models import SequenceModel
from remanent.models.blocks import Block
from remanent.ops.heads.one_hot import one_hot

LEARNING_RATE = 1e-2
"""The first learning rate; it falls linearly to 0."""
MARGIN = 4.0
"""Training ends early where every right answer has a logit that is larger by this than every other."""


class _Seen(NamedTuple):
    """What the readout reads of examples: the block's input, the same normed, and what its unit gives."""

    x: Tensor
    normed: Tensor
    states: Tensor


def sees_letters(model: SequenceModel) -> bool:
    """Whether the answers of a model of one block depend on the last letter beside the states: by a path around."""
    block = _block(model)
    return block.is_residual or block.gate is not None


@torch.no_grad()
def smallest_margin(model: SequenceModel, examples: Examples) -> float:
    """By how much the logit of the right answer is larger than every other, in the worst example; wrong is below 0."""
    return _margin(_read(model, _seen(model, examples)), examples.answers).item()


def train_readout(model: SequenceModel, examples: Examples, steps: int) -> int:
    """Trains everything after the unit, in place, on all examples at once; there is no randomness.

    Args:
        model: a model of one block, in evaluation mode.
        examples: all that the readout may be asked.
        steps: the most steps of AdamW, without weight decay.

    Returns:
        How many steps were done.
    """
    block = _block(model)
    parts = [block.project, block.gate, block.mlp_norm, block.mlp, model.norm, model.head]
    parameters = [p for part in parts if part is not None for p in part.parameters()]
    with torch.no_grad():
        seen = _seen(model, examples)
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=0.0)
    for step in range(steps):
        logits = _read(model, seen)
        if _margin(logits, examples.answers) >= MARGIN:
            return step
        grads = torch.autograd.grad(F.cross_entropy(logits, examples.answers), parameters)
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
        optimizer.step()
    optimizer.zero_grad()
    return steps


def _seen(model: SequenceModel, examples: Examples) -> _Seen:
    block = _block(model)
    unit = block.layer.units[0]
    K, R = unit.recurrence.sizes  # type: ignore[union-attr, misc]
    x = model.encoder(examples.letters)
    return _Seen(x, block.norm(x), one_hot(examples.places.unflatten(1, (-1, R)), K, x.dtype))


def _read(model: SequenceModel, seen: _Seen) -> Tensor:
    return model.head(model.norm(_block(model)._add(seen.x, seen.normed, seen.states)))  # type: ignore[no-any-return]


def _margin(logits: Tensor, answers: Tensor) -> Tensor:
    right = logits.gather(1, answers[:, None])
    others = logits.scatter(1, answers[:, None], -torch.inf)
    return (right - others.amax(1, keepdim=True)).amin().detach()


def _block(model: SequenceModel) -> Block:
    block: nn.Module = model.blocks[0]
    assert isinstance(block, Block)
    return block
