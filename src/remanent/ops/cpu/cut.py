"""How the CPU cuts a scan into tasks for its threads."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from remanent.ops.reference import SPAN

SMALL = 1 << 15  # elements; fewer are not worth a second thread
WIDEST, NARROWEST = 256, 128  # channels of a block: a span of it fits the cache, its rows suit the prefetcher
SHORTEST = 1024  # steps of a piece


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
        """Of time, that are scanned apart."""
        return -(-self.T // self.piece)

    @property
    def blocks(self) -> int:
        """Of channels."""
        return -(-self.D // self.block)

    @property
    def spans(self) -> int:
        """Of time, whose gradients of parameters are summed apart."""
        return -(-self.T // SPAN)

    @property
    def tasks(self) -> int:
        """All in all."""
        return self.B * self.blocks * self.pieces

    def without_last(self) -> "Cut":
        """The same for a sequence without its last piece."""
        return replace(self, T=(self.pieces - 1) * self.piece)

    def without_first(self) -> "Cut":
        """The same for a sequence without its first piece."""
        return replace(self, T=self.T - self.piece)

    def finer(self) -> tuple["Cut", int]:
        """A cut of pieces into as many equal shares as keep all threads busy, and how many these are."""
        shares = max(1, self.workers // self.pieces)
        while self.piece % shares:
            shares -= 1
        return replace(self, piece=self.piece // shares), shares

    def after_first(self, value: Tensor | None) -> Tensor | None:
        """The part of a sequence after its first piece."""
        moves = value is not None and value.dim() > 1
        return value[:, self.piece :] if moves else value  # type: ignore[index]

    def any_reset(self, reset: Tensor | None) -> Tensor:
        """Which pieces have a reset, bool (B, pieces, 1)."""
        if reset is None:
            return torch.zeros(self.B, self.pieces, 1, dtype=torch.bool)
        padded = torch.nn.functional.pad(reset[:, : self.T], (0, self.pieces * self.piece - self.T))
        return padded.reshape(self.B, self.pieces, self.piece).any(2, keepdim=True)


def make_cut(shape: torch.Size, pieces_a_thread: int) -> Cut:
    """Cuts batch rows and blocks of channels, and time, into some pieces a thread, where these are too few."""
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
