"""Launches the kernels that read memory once: real tensors computed in float32, where a write keeps nothing.

All other scans, and short ones, take the kernels that `scans.py` launches itself.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from remanent.ops.arguments import SPAN, Gates, InitialStates, LatchGradients, LinearGradients, compute_dtype
from remanent.ops.gpu.launch import give, interpreted, on, rows_like, strides, sums, sums_or_rows


class Tiling(NamedTuple):
    """What a program works on.

    Attributes:
        block: channels, `pair` times as many as a warp has threads: then all tensors of a kernel have one layout.
        parts: stretches of time, each held by its own threads.
        steps: time steps of each part, all loaded at once.
        warps: of a program.
        group: pieces of a group, and groups of a block: how far one looks back at once.
        pair: channels side by side that a thread loads at once, where D and all strides are multiples of it.
    """

    block: int = 32
    parts: int = 4
    steps: int = 16
    warps: int = 4
    group: int = 32
    pair: int = 1


TILINGS: dict[str, Tiling | None] = {
    "latch forward": Tiling(parts=4, steps=32, warps=4),
    "latch backward": Tiling(parts=8, steps=8, warps=8),
    "linear forward": Tiling(parts=4, steps=8, warps=1, group=8),
    "linear backward": None,
    "latch forward, half": None,
    "latch backward, half": None,
    "linear forward, half": None,
    "linear backward, half": None,
}
"""Those found fastest on an H100, for float32 and for half types; None where the kernels of `scans.py` are faster."""


def tiling_for(name: str, like: Tensor, reset_state: Tensor | None = None) -> Tiling | None:
    """How a scan of tensors (B, T, D) like this one is read once; None if it is not, as with states for every step."""
    if reset_state is not None and reset_state.dim() == 3:
        return None
    here = like.device.type == "cuda" or interpreted() or _kernels is not _compiled_kernels
    if not here or compute_dtype(like.dtype) != torch.float32 or like.shape[1] <= SPAN:
        return None
    return TILINGS[name if like.element_size() == 4 else f"{name}, half"]


def latch_forward(gates: Gates, initial_states: InitialStates, states: Tensor, tiling: Tiling) -> None:
    """Fills the states of the latch, (B, T, D)."""
    out = rows_like(states)
    work = _Work.of(states, tiling, (*gates, out), kinds=1)
    work.launch(
        _kernels()[0].latch_forward_once,
        *(*gates, *initial_states, out, *work.words, *work.strides, *work.sizes[:3], work.row),
        options=_moving(gates) | {"RESET": initial_states.reset is not None},
    )
    give(out, states)


def latch_backward(
    grad: Tensor,
    starts: Tensor,
    gates: Gates,
    resets: InitialStates,
    width: float,
    gradients: LatchGradients,
    tiling: Tiling,
) -> None:
    """Fills the gradients of the latch from that of its states."""
    pieces, reset = _pieces(grad, tiling), resets.reset
    wanted = (*gradients.gates, gradients.h0, gradients.reset_state)
    outs = [sums_or_rows(g, grad, pieces) for g in gradients.gates]
    grad_h0, reset_sums = rows_like(gradients.h0), None if reset is None else sums(grad, pieces)
    work = _Work.of(grad, tiling, (grad, starts, *gates, *outs), kinds=1)
    work.launch(
        _kernels()[0].latch_backward_once,
        *(grad, starts, *gates, reset, resets.reset_state, *work.words, *outs, grad_h0, reset_sums),
        *(*work.strides, width, *work.sizes[:3], pieces, work.row),
        options=_moving(gates) | {"RESET": reset is not None, "SPAN": SPAN},
    )
    for out, place in zip((*outs, grad_h0, reset_sums), wanted, strict=True):
        give(out, place)


def linear_forward(decay: Tensor, value: Tensor, initial_states: InitialStates, states: Tensor, tiling: Tiling) -> None:
    """Fills the states of the linear recurrence, (B, T, D)."""
    out = rows_like(states)
    work = _Work.of(states, tiling, (decay, value, out), kinds=2)
    work.launch(
        _kernels()[1].linear_forward_once,
        *(decay, value, *initial_states, out, *work.words, *work.strides, *work.sizes[:3], work.row, *work.sizes[3:]),
        options={"DECAY_MOVES": decay.dim() == 3, "RESET": initial_states.reset is not None},
    )
    give(out, states)


def linear_backward(
    grad: Tensor,
    states: Tensor,
    decay: Tensor,
    initial_states: InitialStates,
    gradients: LinearGradients,
    tiling: Tiling,
) -> None:
    """Fills the gradients of the linear recurrence from its states and their gradient."""
    pieces, reset = _pieces(grad, tiling), initial_states.reset
    outs = [sums_or_rows(g, grad, pieces) for g in gradients[:2]]
    grad_h0, reset_sums = rows_like(gradients[2]), None if reset is None else sums(grad, pieces)
    work = _Work.of(grad, tiling, (grad, states, decay, *outs), kinds=2)
    work.launch(
        _kernels()[1].linear_backward_once,
        *(grad, states, decay, *initial_states, *work.words, *outs, grad_h0, reset_sums),
        *(*work.strides, *work.sizes[:3], pieces, work.row, *work.sizes[3:]),
        options={"DECAY_MOVES": decay.dim() == 3, "RESET": reset is not None},
    )
    for out, wanted in zip((*outs, grad_h0, reset_sums), gradients, strict=True):
        give(out, wanted)


class _Work(NamedTuple):
    """How a scan is cut into programs, and what is handed over between them.

    Attributes:
        tiling: of the programs; its pair is 1 where a row would cut pairs.
        device: of the tensors.
        programs: one for each piece, row and block; those of the first piece come first.
        words: room for what is published, nothing yet: `kinds` words a piece, `kinds` a group, one a block of groups.
        strides: of batch and time, of each tensor, in pairs.
        sizes: B, T, and in pairs D and where the second words of pieces and of groups begin.
        row: B D, the words of a piece, in pairs.
    """

    tiling: Tiling
    device: torch.device
    programs: int
    words: tuple[Tensor, Tensor, Tensor]
    strides: list[tuple[int, int]]
    sizes: tuple[int, int, int, int, int]
    row: int

    @classmethod
    def of(cls, like: Tensor, tiling: Tiling, tensors: Sequence[Tensor], kinds: int) -> "_Work":
        """The work on tensors as long and wide as `like`."""
        (B, T, D), pair = like.shape, tiling.pair
        apart = [strides(v) for v in tensors]
        if pair > 1 and (D % pair or any(stride % pair for both in apart for stride in both)):
            tiling, pair = tiling._replace(pair=1), 1
        pieces = _pieces(like, tiling)
        groups = -(-pieces // tiling.group)
        words = _words(like, pair, kinds * pieces, kinds * groups, -(-groups // tiling.group))
        apart = apart if pair == 1 else [(row // pair, step // pair) for row, step in apart]
        row = B * D // pair
        programs = pieces * B * -(-D // tiling.block)
        return cls(tiling, like.device, programs, words, apart, (B, T, D // pair, row * pieces, row * groups), row)

    def launch(self, kernel: Any, *args: Any, options: dict[str, Any]) -> None:
        """Runs a kernel."""
        block, parts, steps, warps, group, pair = self.tiling
        sizes = {"PARTS": parts, "STEPS": steps, "GROUP": group, "BLOCK": block, "PAIR": pair}
        with on(self.device):
            kernel[(self.programs,)](*args, **options, **sizes, num_warps=warps, enable_fp_fusion=False)


def _words(like: Tensor, pair: int, *counts: int) -> tuple[Tensor, Tensor, Tensor]:
    """As many words for each row and channel as each count says, all 0."""
    B, _, D = like.shape
    # At an address of 16 bytes a thread takes two words; without pairs, all else would need another layout then.
    skip = 1 if pair == 1 else 0
    words = torch.zeros(skip + B * D * sum(counts), dtype=torch.int64, device=like.device)[skip:]
    pieces, groups, blocks = words.split([B * D * count for count in counts])
    return pieces, groups, blocks


def _pieces(like: Tensor, tiling: Tiling) -> int:
    return -(-like.shape[1] // (tiling.parts * tiling.steps))


def _moving(gates: Gates) -> dict[str, bool]:
    return {"THRESHOLD_MOVES": gates.threshold.dim() == 3, "ALPHA_MOVES": gates.alpha.dim() == 3}


def _compiled_kernels() -> tuple[ModuleType, ModuleType]:
    """The kernels of the latch and of the linear scan; importing them imports Triton."""
    from remanent.ops.gpu import latch_once, linear_once

    return latch_once, linear_once


_kernels = _compiled_kernels
