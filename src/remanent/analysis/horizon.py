"""The memory horizon: for how long a written bit can be read."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from remanent._options import check_at_least, check_choice, check_range
from remanent.analysis._called import answer, unit_outputs
from remanent.analysis._probe import Probed, check_probed, check_sequences, evaluating, pieces, run
from remanent.analysis.trajectory import answering, every_output
from remanent.latches.layer_runs import check_module
from remanent.models import SequenceModel
from remanent.units._checks import check_flag

STEPS = 1024
"""The number of steps that are drawn and read at a time."""
Noise = Callable[[int, int, torch.Generator], Tensor]
"""A function from a batch size B, a number of steps T and a generator to inputs (B, T, M), or tokens (B, T)."""
Inputs = Callable[[int, int], Tensor]
"""A function from a step and one after it to the inputs between them."""


@torch.no_grad()
def memory_horizon(
    module: nn.Module,
    write: Tensor,
    noise: Noise | Tensor | float = 1.0,
    *,
    read: str = "units",
    sequences: int = 32,
    cap: int = 2**20,
    seed: int = 0,
    batch_first: bool = True,
) -> Tensor:
    r"""The longest T at which a bit written at the first step is still read correctly, under random or given inputs.

    Each sequence runs twice, with one of two inputs at its first step and the same inputs after it. Let $y^\pm_t$
    be the outputs of all units, or the answers of the module. The reader is fixed at the write: it takes
    $d = y^+_1 - y^-_1$ and the middle $m$ between the two, and reads the sign of $d \cdot (y_t - m)$. The horizon is
    the last step before either bit is first read wrong; a perfect latch, which the inputs cannot write,
    reaches the cap. A state that rotates, as that of an LRU does, is read wrong once it has rotated, even if it has
    not faded.

    Args:
        module: a unit of one direction or a model, which run step after step; or any other module of one direction,
            which is called once on the whole of `noise`.
        write: the inputs at the first step, (2, M), a row for each bit; tokens (2,) where inputs are tokens.
        noise: the inputs after it: a batch of the data's own, (n, T, M) or tokens (n, T), the first step of which is
            replaced by the write, and which another module needs; the finite standard deviation of normal inputs; or a
            function that gives up to 1,024 steps at a time. Tokens need a batch or a function.
        read: "units" for the outputs of all units and cells; or "answer" for the output of a model's head or of another
            module at every step, which training has made independent of whatever else its units do.
        sequences: n, the number of sequences, at least 1; a batch has its own.
        cap: the longest T that is tried, at least 1; memory does not grow with it where inputs are drawn.
        seed: the seed of the noise.
        batch_first: whether a batch begins with the sequences, or with the time, (T, n, M); the same holds for what
            another module reads and gives.

    Returns:
        The horizon of each sequence, int64 (n,), in [0, cap], or in [0, T] for a batch of fewer steps; 0 where both
        writes have the same output.

    Raises:
        ValueError: an argument is out of its range or does not fit, or a module does not give an output at every step.
        TypeError: `module` is not a module, or `noise` is not a batch where it must be one.

    The definition is that of this library: the failing length of a task with one bit, without a task.

    >>> from remanent import BMRU
    >>> unit = BMRU(1, 1, write_span=None)
    >>> unit.weight_ih_l0.data[:, 0] = torch.tensor([1.0, 0.0])  # the candidate is the input, the threshold 1
    >>> bit = torch.tensor([[2.0], [-2.0]])
    >>> memory_horizon(unit, bit, 0.1, cap=5000, sequences=2).tolist()
    [5000, 5000]
    >>> memory_horizon(unit, bit, torch.tensor([0, 0.5, 0.2, -1.5, 0]).reshape(1, 5, 1)).tolist()
    [3]
    """
    check_module(module)
    check_flag("batch_first", batch_first)
    for name, value in (("sequences", sequences), ("cap", cap)):
        check_at_least(name, value, 1)
    if not isinstance(write, Tensor) or write.dim() == 0 or len(write) != 2:
        given = f"shape {tuple(write.shape)}" if isinstance(write, Tensor) else type(write).__name__
        raise ValueError(f"`write` must be a tensor of two rows, one for each bit, got {given}")
    check_choice("read", read, ("units", "answer"))
    if isinstance(module, Probed):
        _check_read(module, write, read)
    if isinstance(noise, Tensor):
        batch = _checked_batch(noise, write, batch_first)
        sequences, cap = batch.shape[0], min(cap, batch.shape[1])
        draw = _slices(batch)
    elif not isinstance(module, Probed):
        rule = "`noise` must be a batch, a tensor (n, T, M), for a module that is neither a unit nor a model"
        raise TypeError(f"{rule}, got {type(noise).__name__} for {type(module).__name__}")
    else:
        draw = _draw(noise, write, sequences, seed)
    with evaluating(module):
        if isinstance(module, Probed):
            outputs = _step_by_step(module, write.repeat_interleave(sequences, dim=0), draw, read, cap)
        else:
            outputs = _at_once(module, write.repeat_interleave(sequences, dim=0), draw(0, cap), read, batch_first)
        return _first_wrong(outputs, sequences)


def _first_wrong(outputs: Iterator[Tensor], sequences: int) -> Tensor:
    """The last step before either bit is read wrong, from the outputs of both, (2 n, T, W), the first step apart."""
    written = next(outputs)[:, 0].double()
    plus, minus = written.split(sequences)
    direction, middle = (plus - minus)[:, None], ((plus + minus) / 2)[:, None]
    horizon = torch.where((direction != 0).any(2).flatten(), 1, 0)
    alive = horizon > 0
    while alive.any() and (y := next(outputs, None)) is not None:
        high, low = ((part - middle) * direction for part in y.double().split(sequences))
        right_now = (high.sum(2) > 0) & (low.sum(2) < 0)
        more = right_now.long().cumprod(dim=1).sum(dim=1)
        horizon = torch.where(alive, horizon + more, horizon)
        alive &= more == y.shape[1]
    return horizon


def _step_by_step(module: Probed, written: Tensor, draw: Inputs, read: str, cap: int) -> Iterator[Tensor]:
    """The outputs of a unit or a model, whose state goes from piece to piece."""
    look = every_output
    if isinstance(module, SequenceModel) and read == "answer":
        module, look = answering(module), run
    y, state = look(module, written[:, None])
    yield y
    for left, right in pieces(1, cap, STEPS):
        x = draw(left, right)
        y, state = look(module, torch.cat([x, x]).to(written.device), state)
        yield y


def _at_once(module: nn.Module, written: Tensor, batch: Tensor, read: str, batch_first: bool) -> Iterator[Tensor]:
    """The outputs of any module, which keeps its state to itself."""
    if any(getattr(part, "bidirectional", False) for part in module.modules()):
        raise ValueError(f"`module` must have one direction, got a bidirectional part in {type(module).__name__}")
    x = torch.cat([written[:, None], torch.cat([batch, batch])[:, 1:].to(written.device)], dim=1)
    x = x if batch_first else x.transpose(0, 1)
    y = (unit_outputs if read == "units" else answer)(module, x, batch_first=batch_first)
    if y.dim() != 3 or y.shape[1] != batch.shape[1]:
        rule = f"`module` must give an output at every step, (B={len(written)}, T={batch.shape[1]}, W), to be read"
        raise ValueError(f"{rule}, got {tuple(y.shape)}")
    yield y[:, :1]
    yield y[:, 1:]


def _check_read(module: Probed, write: Tensor, read: str) -> None:
    check_probed(module)
    check_sequences(module, "write", write[:, None])
    if read == "answer" and not isinstance(module, SequenceModel):
        raise ValueError(
            f"`read` must be 'units' for a unit, which has no head, got 'answer' for {type(module).__name__}"
        )


def _checked_batch(noise: Tensor, write: Tensor, batch_first: bool) -> Tensor:
    """The data's own inputs, (n, T, M) or (n, T)."""
    shape = tuple(write.shape[1:])
    if noise.dim() != 2 + len(shape) or tuple(noise.shape[2:]) != shape or noise.numel() == 0:
        axes = ", ".join(["n, T" if batch_first else "T, n", *map(str, shape)])
        raise ValueError(f"`noise` must have shape ({axes}) and be not empty, as `write`, got {tuple(noise.shape)}")
    if noise.dtype != write.dtype:
        raise TypeError(f"`noise` must have the dtype of `write`, {write.dtype}, got {noise.dtype}")
    return noise if batch_first else noise.transpose(0, 1)


def _slices(batch: Tensor) -> Inputs:
    return lambda left, right: batch[:, left:right]


def _draw(noise: Noise | float, write: Tensor, sequences: int, seed: int) -> Inputs:
    """Draws the inputs of the steps from one to another, in their order."""
    drawn = noise if callable(noise) else _normal(noise, write)
    generator = torch.Generator().manual_seed(seed)

    def draw(left: int, right: int) -> Tensor:
        x = drawn(sequences, right - left, generator)
        shape = (sequences, right - left, *write.shape[1:])
        given = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        if given != shape:
            raise ValueError(f"`noise` must give inputs of shape {shape}, got {given}")
        return x

    return draw


def _normal(scale: Any, write: Tensor) -> Noise:
    if not write.is_floating_point():
        raise ValueError(f"`noise` must be a function where inputs are tokens, got {scale!r}")
    if not isinstance(scale, int | float):
        raise TypeError(f"`noise` must be a number or a function, got {type(scale).__name__}")
    check_range("noise", scale, 0, float("inf"), open_high=True)
    return lambda B, T, generator: scale * torch.randn(B, T, *write.shape[1:], generator=generator, dtype=write.dtype)
