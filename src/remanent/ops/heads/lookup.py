"""The scan that looks up a table for each token: its public function and its operator, on whole numbers alone."""

from typing import Any

import torch
from torch import Tensor

from remanent.ops import operators, reference
from remanent.ops.checks import check_backend, check_tensor, fastest
from remanent.ops.cpu import transition as cpu
from remanent.ops.heads.one_hot import MOST_STATES
from remanent.ops.heads.portable_tables import composed

TOKEN_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""The dtypes of tokens."""


def lookup_scan(
    tables: Tensor, tokens: Tensor, start: Tensor | None = None, *, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    r"""Lookup scan: $s_t[k, r] = \tau_{x_t}[k, s_{t-1}[k, r]]$, the states of K-state heads under tokens $x_t$.

    This is `transition_scan` with `epsilon` 0 where the logits depend on the token alone, so that there is one table
    for each letter: no logits, no products, no gradient; a byte of state for each tracer.

    Args:
        tables: uint8 (V, H, K), for each letter and head from each state to the next; K from 2 to 255.
        tokens: whole numbers from 0 to V - 1, (B, T).
        start: the states before the first token, uint8 (B, H, R); if None, R is K and tracer r starts in state r.
        backend: "reference" (time loop), "portable" (plain PyTorch, any device), "cpu" (Numba), or "auto" for
            the fastest that runs on the device.

    Returns:
        The states after every token, uint8 (B, T, H R), and those after the last, uint8 (B, H, R).

    Raises:
        ValueError: a shape, a device or the backend does not fit, a token has no table, or an entry is no state; the
            message names the argument.
        TypeError: a dtype or type does not fit.

    >>> flip_or_hold = torch.tensor([[[0, 1]], [[1, 0]]], dtype=torch.uint8)
    >>> lookup_scan(flip_or_hold, torch.tensor([[1, 0, 1]]), torch.zeros(1, 1, 1, dtype=torch.uint8))[0].tolist()
    [[[1], [1], [0]]]
    """
    _check_bytes("tables", tables, "V, H, K", tables)
    V, H, K = tables.shape
    if not 2 <= K <= MOST_STATES:
        raise ValueError(f"`tables` must have K from 2 to {MOST_STATES} states, got {K} in shape {tuple(tables.shape)}")
    if V == 0 or H == 0:
        raise ValueError(f"`tables` must have at least one letter and one head, got shape {tuple(tables.shape)}")
    B, _ = _check_tokens(tokens, tables)
    if start is None:
        start = torch.arange(K, dtype=torch.uint8, device=tables.device).expand(B, H, K)
    else:
        _check_bytes("start", start, "B, H, R", tables)
        if start.shape[:2] != (B, H) or start.shape[2] == 0:
            raise ValueError(f"`start` must have shape (B={B}, H={H}, R), got {tuple(start.shape)}")
    check_backend(backend, BACKENDS, tables)
    return _operator(tables, tokens.long(), start, backend)  # type: ignore[no-any-return]


def _check_bytes(name: str, value: Tensor, axes: str, like: Tensor) -> None:
    check_tensor(name, value)
    if value.dim() != 3:
        raise ValueError(f"`{name}` must have shape ({axes}), got {tuple(value.shape)}")
    if value.dtype != torch.uint8:
        raise TypeError(f"`{name}` must have dtype uint8, got {str(value.dtype).removeprefix('torch.')}")
    _check_device(name, value, like)


def _check_tokens(tokens: Tensor, tables: Tensor) -> tuple[int, int]:
    check_tensor("tokens", tokens)
    if tokens.dim() != 2:
        raise ValueError(f"`tokens` must have shape (B, T), got {tuple(tokens.shape)}")
    if tokens.dtype not in TOKEN_DTYPES:
        known = ", ".join(str(d).removeprefix("torch.") for d in TOKEN_DTYPES)
        raise TypeError(f"`tokens` must have one of the dtypes {known}, got {str(tokens.dtype).removeprefix('torch.')}")
    _check_device("tokens", tokens, tables)
    B, T = tokens.shape
    if T == 0:
        raise ValueError(f"`tokens` must have at least one time step, got T=0 in shape {tuple(tokens.shape)}")
    return B, T


def _check_device(name: str, value: Tensor, like: Tensor) -> None:
    if value.device != like.device:
        raise ValueError(f"`{name}` must be on device {like.device}, got {value.device}")


def _lookup_scan(tables: Tensor, tokens: Tensor, start: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    _check_values(tables, tokens, start)
    states, final = _room(tables, tokens, start, backend)
    if tokens.shape[0] > 0:
        name = fastest(backend, tables)
        fill = BACKENDS["portable" if name == "gpu" else name]  # a GPU has no kernel of its own
        fill(tables, tokens, start, states)
    final.copy_(states[:, -1].view(final.shape))
    return states, final


def _room(tables: Tensor, tokens: Tensor, start: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    """Allocates the states of all steps, and those after the last."""
    (B, T), (_, H, R) = tokens.shape, start.shape
    return tables.new_empty(B, T, H * R), tables.new_empty(B, H, R)


def _check_values(tables: Tensor, tokens: Tensor, start: Tensor) -> None:
    """Raises where a value would be looked up that is not there; the operator does it, in a graph too."""
    V, _, K = tables.shape
    for name, value in (("tables", tables), ("start", start)):
        if value.numel() > 0 and int(value.max()) >= K:
            raise ValueError(f"`{name}` must have entries below K={K}, got {int(value.max())}")
    if tokens.numel() > 0:
        low, high = (int(v) for v in tokens.aminmax())
        if low < 0 or high >= V:
            raise ValueError(f"`tokens` must be from 0 to {V - 1}, one for each table, got {low if low < 0 else high}")


def _reference(tables: Tensor, tokens: Tensor, start: Tensor, states: Tensor) -> None:
    states.copy_(reference.lookup_scan(tables, tokens, start)[0])


def _portable(tables: Tensor, tokens: Tensor, start: Tensor, states: Tensor) -> None:
    maps = composed(tables.long()[tokens], None)
    places = start.long()[:, None].expand(*maps.shape[:3], start.shape[2])
    states.copy_(maps.gather(-1, places).flatten(2))


BACKENDS: dict[str, Any] = {
    "reference": _reference,
    "portable": _portable,
    "cpu": cpu.lookup_forward,
}
"""Name to the function that fills the states."""
_operator = operators.define(
    "remanent::lookup_scan",
    "(Tensor tables, Tensor tokens, Tensor start, str backend) -> (Tensor, Tensor)",
    _lookup_scan,
    _room,
)
