"""Which sequences, or which steps of them, train a model, choose it and test it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

PARTS = ("train", "validation", "test")
"""The parts of a data set."""
SPLITS = ("random", "order", "time")
"""How sequences are split: whole ones, drawn or in their order, or each of them in time."""


class Piece(NamedTuple):
    """Steps of a sequence that belong to one part of a set."""

    number: int
    steps: slice
    part: str


def parts_of(
    sizes: Sequence[int], given: Sequence[str | None], labels: Sequence[int] | None, per_step: bool, options: Any
) -> list[Piece]:
    """The pieces of all sequences.

    Args:
        sizes: the number of steps of each sequence.
        given: the part of each where the data say so.
        labels: the class of each, of which every part gets its share; None where there is none.
        per_step: whether each step has a target.
        options: a `SetOptions`.

    Raises:
        ValueError: a part would be empty.
    """
    whole = [slice(0, size) for size in sizes]
    if any(part is not None for part in given):
        pieces = [Piece(i, whole[i], str(part)) for i, part in enumerate(given)]
    elif options.split == "time":
        pieces = [piece for i, size in enumerate(sizes) for piece in _in_time(i, size, options)]
    else:
        order = list(range(len(sizes)))
        if options.split == "random":
            generator = torch.Generator().manual_seed(options.split_seed)
            order = torch.randperm(len(sizes), generator=generator).tolist()
        groups: dict[int, list[int]] = {}
        for i in order:
            groups.setdefault(0 if labels is None or options.split == "order" else labels[i], []).append(i)
        part = {i: name for group in groups.values() for i, name in _shared_out(group, options)}
        pieces = [Piece(i, whole[i], part[i]) for i in range(len(sizes))]
    if options.window is not None:
        pieces = [cut for piece in pieces for cut in _windows(piece, options.window)]
    for name in PARTS:
        if not any(piece.part == name for piece in pieces):
            how = (
                "more sequences, or `split` time with `window`, which cut long ones" if len(sizes) < 10 else "sequences"
            )
            raise ValueError(f"the {name} part must hold a sequence, got none of {len(sizes)}; give {how}")
    return pieces


def _shared_out(group: list[int], options: Any) -> list[tuple[int, str]]:
    """The part of each of a group's sequences, in their order: first those to train with, then the held out ones.

    A part has its share of a group, at least one sequence where the group has three.
    """
    least = 1 if len(group) >= 3 else 0
    test = max(least, round(options.test * len(group)))
    validation = max(least, round(options.validation * len(group)))
    train = len(group) - test - validation
    names = ["train"] * train + ["validation"] * validation + ["test"] * test
    return list(zip(group, names, strict=True))


def _in_time(number: int, size: int, options: Any) -> list[Piece]:
    """The beginning of a sequence to train with, what follows for validation, and its end for the test."""
    test, validation = round(size * options.test), round(size * options.validation)
    ends = [0, size - test - validation, size - test, size]
    cuts = zip(ends, ends[1:], PARTS, strict=False)
    return [Piece(number, slice(start, end), part) for start, end, part in cuts if end > start]


def _windows(piece: Piece, window: int) -> list[Piece]:
    """A piece in windows of so many steps, the last of them perhaps shorter, but no shorter than half."""
    start, end = piece.steps.start, piece.steps.stop
    begins = [begin for begin in range(start, end, window) if begin == start or 2 * (end - begin) >= window]
    return [Piece(piece.number, slice(begin, min(end, begin + window)), piece.part) for begin in begins]
