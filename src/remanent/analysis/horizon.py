"""The memory horizon: for how long a written bit can be read."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from remanent._options import check_at_least, check_choice, check_range
from remanent.analysis._probe import Probed, check_probed, check_sequences, evaluating, pieces, run
from remanent.analysis.trajectory import answering, every_output
from remanent.models import SequenceModel

STEPS = 1024
"""The number of steps that are drawn and read at a time."""
Noise = Callable[[int, int, torch.Generator], Tensor]
"""A function from a batch size B, a number of steps T and a generator to inputs (B, T, M), or tokens (B, T)."""


@torch.no_grad()
def memory_horizon(
    module: Probed,
    write: Tensor,
    noise: Noise | float = 1.0,
    *,
    read: str = "units",
    sequences: int = 32,
    cap: int = 2**20,
    seed: int = 0,
) -> Tensor:
    r"""The longest T at which a bit written at the first step is still read correctly, under random inputs.

    Each sequence runs twice, with one of two inputs at its first step and the same noise after it. Let $y^\pm_t$
    be the outputs of all units, or the answers of a model. The reader is fixed at the write: it takes
    $d = y^+_1 - y^-_1$ and the middle $m$ between the two, and reads the sign of $d \cdot (y_t - m)$. The horizon is
    the last step before either bit is first read wrong; a perfect latch, which the noise cannot write,
    reaches the cap. A state that rotates, as that of an LRU does, is read wrong once it has rotated, even if it has
    not faded.

    Args:
        module: a unit of one direction, or a model.
        write: the inputs at the first step, (2, M), a row for each bit; tokens (2,) for a model of tokens.
        noise: the inputs after it: the finite standard deviation of normal inputs, or a function that gives
            up to 1,024 steps at a time. Tokens need a function.
        read: "units" for the outputs of all units; or "answer" for the output of a model's head, which training has
            made independent of whatever else its units do.
        sequences: n, the number of sequences, at least 1.
        cap: the longest T that is tried, at least 1; memory does not grow with it.
        seed: the seed of the noise.

    Returns:
        The horizon of each sequence, int64 (n,), in [0, cap]; 0 where both writes have the same output.

    Raises:
        ValueError: an argument is out of its range or does not fit.
        TypeError: `module` is neither a unit nor a model.

    The definition is that of this library: the failing length of a task with one bit, without a task.

    >>> from remanent import BMRU
    >>> unit = BMRU(1, 1, write_span=None)
    >>> unit.weight_ih_l0.data[:, 0] = torch.tensor([1.0, 0.0])  # the candidate is the input, the threshold 1
    >>> memory_horizon(unit, torch.tensor([[2.0], [-2.0]]), 0.1, cap=5000, sequences=2).tolist()
    [5000, 5000]
    """
    check_probed(module)
    for name, value in (("sequences", sequences), ("cap", cap)):
        check_at_least(name, value, 1)
    if not isinstance(write, Tensor) or write.dim() == 0 or len(write) != 2:
        given = f"shape {tuple(write.shape)}" if isinstance(write, Tensor) else type(write).__name__
        raise ValueError(f"`write` must be a tensor of two rows, one for each bit, got {given}")
    check_sequences(module, "write", write[:, None])
    check_choice("read", read, ("units", "answer"))
    look = every_output
    if read == "answer":
        if not isinstance(module, SequenceModel):
            raise ValueError(
                f"`read` must be 'units' for a unit, which has no head, got 'answer' for {type(module).__name__}"
            )
        module, look = answering(module), run
    draw = noise if callable(noise) else _normal(noise, write)
    generator = torch.Generator().manual_seed(seed)
    with evaluating(module):
        first, state = look(module, write.repeat_interleave(sequences, dim=0)[:, None])
        written = first[:, 0].double()
        plus, minus = written[:sequences], written[sequences:]
        direction, middle = (plus - minus)[:, None], ((plus + minus) / 2)[:, None]
        horizon = torch.where((direction != 0).any(2).flatten(), 1, 0)
        alive = horizon > 0
        for left, right in pieces(1, cap, STEPS):
            if not alive.any():
                break
            x = draw(sequences, right - left, generator)
            _check_noise(x, (sequences, right - left, *write.shape[1:]))
            y, state = look(module, torch.cat([x, x]).to(write.device), state)
            high, low = ((part - middle) * direction for part in y.double().split(sequences))
            right_now = (high.sum(2) > 0) & (low.sum(2) < 0)
            more = right_now.long().cumprod(dim=1).sum(dim=1)
            horizon = torch.where(alive, left + more, horizon)
            alive &= more == right - left
    return horizon


def _check_noise(x: Any, shape: tuple[int, ...]) -> None:
    given = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
    if given != shape:
        raise ValueError(f"`noise` must give inputs of shape {shape}, got {given}")


def _normal(scale: Any, write: Tensor) -> Noise:
    if not write.is_floating_point():
        raise ValueError(f"`noise` must be a function where inputs are tokens, got {scale!r}")
    if not isinstance(scale, int | float):
        raise TypeError(f"`noise` must be a number or a function, got {type(scale).__name__}")
    check_range("noise", scale, 0, float("inf"), open_high=True)
    return lambda B, T, generator: scale * torch.randn(B, T, *write.shape[1:], generator=generator, dtype=write.dtype)
