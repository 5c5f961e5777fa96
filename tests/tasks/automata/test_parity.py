"""Parity: the states are those of a count by hand, the letters are fair."""

import torch

from remanent.tasks.automata.parity import Parity
from remanent.tasks.base import read_whole


def test_the_target_is_the_parity_of_the_ones_so_far():
    task = Parity()
    for x, y in (task.batch(4, torch.Generator().manual_seed(0)), read_whole(task, "test", 0, 3, 2345)):
        for letters, parities in zip(x.tolist(), y.tolist(), strict=True):
            odd = False
            for letter, parity in zip(letters, parities, strict=True):
                odd = odd != (letter == 1)
                assert parity == int(odd)


def test_both_letters_are_alike_at_every_step():
    x, y = Parity().batch(10_000, torch.Generator().manual_seed(0))
    for drawn in (x, y):
        assert (drawn.double().mean(0) - 0.5).abs().max() < 0.02
