"""How the CPU cuts a scan into tasks for its threads, and joins what pieces of time do to a state."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from remanent.ops.arguments import SPAN

SMALL = 1 << 15
"""Elements of a scan below which a second thread costs more than it saves."""
WIDEST, NARROWEST = 256, 128
"""Channels of a block: the cache holds a span of the widest, and the prefetcher needs rows of the narrowest."""
SHORTEST = 1024
"""The fewest steps of a piece of time."""


@dataclass(frozen=True)
class Cut:
    """How a scan is cut into tasks: `block` channels and `piece` steps each, for `workers` threads."""

    B: int
    T: int
    D: int
    block: int
    piece: int
    workers: int

    @property
    def pieces(self) -> int:
        """The pieces of time, which are scanned apart."""
        return -(-self.T // self.piece)

    @property
    def blocks(self) -> int:
        """The blocks of channels."""
        return -(-self.D // self.block)

    @property
    def spans(self) -> int:
        """The spans of time, whose gradients of parameters are summed apart."""
        return -(-self.T // SPAN)

    @property
    def tasks(self) -> int:
        """The number of tasks: one per batch row, block of channels and piece of time."""
        return self.B * self.blocks * self.pieces

    def without_last(self) -> "Cut":
        """The cut of a sequence without its last piece."""
        return replace(self, T=(self.pieces - 1) * self.piece)

    def without_first(self) -> "Cut":
        """The cut of a sequence without its first piece."""
        return replace(self, T=self.T - self.piece)

    def finer(self) -> tuple["Cut", int]:
        """A cut of each piece into as many equal shares as keep all threads busy, and their number."""
        shares = max(1, self.workers // self.pieces)
        while self.piece % shares:
            shares -= 1
        return replace(self, piece=self.piece // shares), shares

    def after_first(self, value: Tensor | None) -> Tensor | None:
        """The part of an array after its first piece of time; all of one without time."""
        moves = value is not None and value.dim() > 1
        return value[:, self.piece :] if moves else value  # type: ignore[index]

    def any_reset(self, reset: Tensor | None) -> Tensor:
        """Whether each piece has a reset, bool (B, pieces, 1)."""
        if reset is None:
            return torch.zeros(self.B, self.pieces, 1, dtype=torch.bool)
        padded = torch.nn.functional.pad(reset[:, : self.T], (0, self.pieces * self.piece - self.T))
        return padded.reshape(self.B, self.pieces, self.piece).any(2, keepdim=True)


def make_cut(shape: torch.Size, pieces_a_thread: int) -> Cut:
    """Cuts a scan (B, T, D) into batch rows and blocks of channels, and where these are too few, time into pieces."""
    B, T, D = shape
    workers = torch.get_num_threads() if B * T * D >= SMALL else 1
    blocks = max(1, -(-D // WIDEST))
    if workers > 1 and B * blocks < 4 * workers:
        blocks = max(blocks, min(D // NARROWEST, 4 * workers // B))
    block = max(1, min(D, 16 * -(-D // (16 * blocks))))
    rows = max(1, B * -(-D // block))
    piece = T
    if pieces_a_thread and rows < workers:
        piece = max(SHORTEST, -(-T // (pieces_a_thread * -(-workers // rows))))
        piece = min(T, SPAN * -(-piece // SPAN))
    return Cut(B, T, D, block, piece, workers)


def chain(first: Tensor, own: Tensor, passes: Tensor, *, add: bool = False) -> Tensor:
    """What each piece starts from, (B, K, D), where the one before it makes its own or lets pass what it was given.

    Args:
        first: what the first piece starts from, (B, 1, D).
        own: what each piece makes, (B, K - 1, D).
        passes: where it lets pass what it was given, bool (B, K - 1, D).
        add: whether its own is added to what passes.
    """
    carried = [first[:, 0]]
    for k in range(own.shape[1]):
        before = carried[-1]
        let_through = own[:, k] + before if add else before
        carried.append(torch.where(passes[:, k], let_through, own[:, k]))
    return torch.stack(carried, dim=1)


def decayed_chain(first: Tensor, own: Tensor, factor: Tensor, cut: Tensor) -> Tensor:
    """What each piece starts from, (B, K, D), where the one before it decays what it was given and adds its own.

    Args:
        first: what the first piece starts from, (B, 1, D).
        own: what each piece makes, (B, K - 1, D).
        factor: of what it was given, (B, K - 1, D).
        cut: where nothing passes, bool (B, K - 1, 1).
    """
    carried = [first[:, 0]]
    for k in range(own.shape[1]):
        carried.append(torch.where(cut[:, k], own[:, k], factor[:, k] * carried[-1] + own[:, k]))
    return torch.stack(carried, dim=1)
