"""For how long one written bit is read right."""

from collections.abc import Callable

import torch
from torch import Tensor

from remanent._options import check_at_least, check_choice
from remanent.analysis._probe import Probed, check_probed, pieces, run
from remanent.analysis.trajectory import answering, every_output
from remanent.models import SequenceModel

Noise = Callable[[int, int, torch.Generator], Tensor]
"""From a batch size, a number of steps and a generator to inputs (B, T, M), or tokens (B, T)."""


@torch.no_grad()
def memory_horizon(
    module: Probed,
    write: Tensor,
    noise: Noise | float = 1.0,
    *,
    read: str = "units",
    sequences: int = 32,
    cap: int = 2**20,
    chunk: int = 1024,
    seed: int = 0,
) -> Tensor:
    r"""The longest T at which a bit written at the first step is still read right, under random inputs.

    Each of the sequences is run twice, with either input at its first step and the same noise after it. Let $y^\pm_t$
    be what all units put out, or what a model answers. The reader is fixed at the write: it takes
    $d = y^+_1 - y^-_1$ and the middle $m$ between the two, and reads the sign of $d \cdot (y_t - m)$. The horizon is
    the last step before the first at which either bit is read wrong; a perfect latch, which the noise cannot write,
    has the cap.

    Args:
        module: a unit of one direction, or a model.
        write: the input at the first step, (2, M), one row for either bit; tokens (2,) for a model of tokens.
        noise: the inputs afterwards: the standard deviation of normal ones, or a function. A number is no noise for
            tokens.
        read: "units", the outputs of all of them; or "answer", what the model's head says, which a trained model
            has learned to keep clear of all else that its units do.
        sequences: n, at least 1.
        cap: the longest T tried, at least 1; memory does not grow with it.
        chunk: steps at a time, at least 1; the noise that a function draws may depend on it.
        seed: of the noise.

    Returns:
        The horizon of each sequence, int64 (n,), in [0, cap]; 0 where the two writes put out the same.

    Raises:
        ValueError: an argument is out of its range or does not fit.
        TypeError: `module` is neither a unit nor a model.

    The definition is ours: the failing length of a task with one bit, without a task.

    >>> from remanent import BMRU
    >>> unit = BMRU(1, 1)
    >>> unit.weight_ih_l0.data[:, 0] = torch.tensor([1.0, 0.0])  # the candidate is the input, the threshold 1
    >>> memory_horizon(unit, torch.tensor([[2.0], [-2.0]]), 0.1, cap=5000, sequences=2).tolist()
    [5000, 5000]
    """
    check_probed(module)
    for name, value in (("sequences", sequences), ("cap", cap), ("chunk", chunk)):
        check_at_least(name, value, 1)
    if write.dim() == 0 or len(write) != 2:
        raise ValueError(f"`write` must have two rows, one for either bit, got shape {tuple(write.shape)}")
    check_choice("read", read, ("units", "answer"))
    look = every_output
    if read == "answer":
        if not isinstance(module, SequenceModel):
            raise ValueError(
                f"`read` must be 'units' for a unit, which has no head, got 'answer' for {type(module).__name__}"
            )
        module, look = answering(module), run
    draw = noise if callable(noise) else _normal(float(noise), write)
    generator = torch.Generator().manual_seed(seed)
    first, state = look(module, write.repeat_interleave(sequences, dim=0)[:, None])
    written = first[:, 0].double()
    direction, middle = written[:sequences] - written[sequences:], (written[:sequences] + written[sequences:]) / 2
    horizon = torch.where((direction != 0).any(1), 1, 0).to(torch.int64)
    alive = horizon > 0
    for left, right in pieces(1, cap, chunk):
        if not alive.any():
            break
        x = draw(sequences, right - left, generator).to(write.device)
        y, state = look(module, torch.cat([x, x]), state)
        reads = ((y.double() - middle.repeat(2, 1)[:, None]) * direction.repeat(2, 1)[:, None]).sum(2)
        right_now = (reads[:sequences] > 0) & (reads[sequences:] < 0)
        more = right_now.long().cumprod(dim=1).sum(dim=1)
        horizon = torch.where(alive, left + more, horizon)
        alive &= more == right - left
    return horizon


def _normal(scale: float, write: Tensor) -> Noise:
    if not write.is_floating_point():
        raise ValueError("`noise` must be a function where inputs are tokens, got a number")
    if not scale >= 0:
        raise ValueError(f"`noise` must be at least 0, got {scale}")
    return lambda B, T, generator: scale * torch.randn(B, T, *write.shape[1:], generator=generator, dtype=write.dtype)
