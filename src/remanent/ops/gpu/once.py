"""Launches the kernels that read memory once: real tensors computed in float32, where a write keeps nothing.

All other scans, and short ones, take the kernels that `scans.py` launches itself.
"""

from contextlib import nullcontext
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from remanent.ops.arguments import SPAN, Gates, InitialStates, LatchGradients, LinearGradients, compute_dtype
from remanent.ops.gpu.launch import give, interpreted, rows_like, strides, sums, sums_or_rows


class Tiling(NamedTuple):
    """What a program works on.

    Attributes:
        block: channels, as many as a warp has threads: then all tensors of a kernel have one layout.
        parts: stretches of time, each held by its own threads.
        steps: time steps of each part, all loaded at once.
        warps: of a program.
        group: pieces of a group, and groups of a block: how far one looks back at once.
    """

    block: int = 32
    parts: int = 4
    steps: int = 16
    warps: int = 4
    group: int = 32


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
    B, T, D = states.shape
    out, words = rows_like(states), _words(states, tiling, 1)
    _launch(
        _kernels()[0].latch_forward_once,
        states,
        tiling,
        *(*gates, *initial_states, out, *words[:3]),
        *(strides(v) for v in (*gates, out)),
        *(B, T, D, B * D),
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
    B, T, D = grad.shape
    pieces, words, reset = _pieces(grad, tiling), _words(grad, tiling, 1), resets.reset
    wanted = (*gradients.gates, gradients.h0, gradients.reset_state)
    outs = [sums_or_rows(g, grad, pieces) for g in gradients.gates]
    grad_h0, reset_sums = rows_like(gradients.h0), None if reset is None else sums(grad, pieces)
    _launch(
        _kernels()[0].latch_backward_once,
        grad,
        tiling,
        *(grad, starts, *gates, reset, resets.reset_state, *words[:3], *outs, grad_h0, reset_sums),
        *(strides(v) for v in (grad, starts, *gates, *outs)),
        *(width, B, T, D, pieces, B * D),
        options=_moving(gates) | {"RESET": reset is not None, "SPAN": SPAN},
    )
    for out, place in zip((*outs, grad_h0, reset_sums), wanted, strict=True):
        give(out, place)


def linear_forward(decay: Tensor, value: Tensor, initial_states: InitialStates, states: Tensor, tiling: Tiling) -> None:
    """Fills the states of the linear recurrence, (B, T, D)."""
    B, T, D = states.shape
    out, words = rows_like(states), _words(states, tiling, 2)
    _launch(
        _kernels()[1].linear_forward_once,
        states,
        tiling,
        *(decay, value, *initial_states, out, *words[:3]),
        *(strides(v) for v in (decay, value, out)),
        *(B, T, D, B * D, *words.sizes),
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
    B, T, D = grad.shape
    pieces, words, reset = _pieces(grad, tiling), _words(grad, tiling, 2), initial_states.reset
    outs = [sums_or_rows(g, grad, pieces) for g in gradients[:2]]
    grad_h0, reset_sums = rows_like(gradients[2]), None if reset is None else sums(grad, pieces)
    _launch(
        _kernels()[1].linear_backward_once,
        grad,
        tiling,
        *(grad, states, decay, *initial_states, *words[:3], *outs, grad_h0, reset_sums),
        *(strides(v) for v in (grad, states, decay, *outs)),
        *(B, T, D, pieces, B * D, *words.sizes),
        options={"DECAY_MOVES": decay.dim() == 3, "RESET": reset is not None},
    )
    for out, wanted in zip((*outs, grad_h0, reset_sums), gradients, strict=True):
        give(out, wanted)


def _launch(kernel: Any, like: Tensor, tiling: Tiling, *args: Any, options: dict[str, Any]) -> None:
    """Runs a kernel with one program for each piece, row and block; those of the first piece come first."""
    B, _, D = like.shape
    programs = _pieces(like, tiling) * B * -(-D // tiling.block)
    sizes = {"PARTS": tiling.parts, "STEPS": tiling.steps, "GROUP": tiling.group, "BLOCK": tiling.block}
    with torch.cuda.device(like.device) if like.is_cuda else nullcontext():
        kernel[(programs,)](*args, **options, **sizes, num_warps=tiling.warps, enable_fp_fusion=False)


def _pieces(like: Tensor, tiling: Tiling) -> int:
    return -(-like.shape[1] // (tiling.parts * tiling.steps))


class _Words(NamedTuple):
    """Room for what is published, nothing yet: `kinds` words a piece and a group, one a block of groups."""

    pieces: Tensor
    groups: Tensor
    blocks: Tensor
    sizes: tuple[int, int]


def _words(like: Tensor, tiling: Tiling, kinds: int) -> _Words:
    B, _, D = like.shape
    pieces = _pieces(like, tiling)
    groups = -(-pieces // tiling.group)
    blocks = -(-groups // tiling.group)
    ends = [B * D * kinds * pieces, B * D * kinds * (pieces + groups)]
    # from the second word on: at an address of 16 bytes, a thread would take two, and all else another layout
    words = torch.zeros(1 + ends[1] + B * D * blocks, dtype=torch.int64, device=like.device)[1:]
    return _Words(words[: ends[0]], words[ends[0] : ends[1]], words[ends[1] :], (B * D * pieces, B * D * groups))


def _moving(gates: Gates) -> dict[str, bool]:
    return {"THRESHOLD_MOVES": gates.threshold.dim() == 3, "ALPHA_MOVES": gates.alpha.dim() == 3}


def _compiled_kernels() -> tuple[ModuleType, ModuleType]:
    """The kernels of the latch and of the linear scan; importing them imports Triton."""
    from remanent.ops.gpu import latch_once, linear_once

    return latch_once, linear_once


_kernels = _compiled_kernels
