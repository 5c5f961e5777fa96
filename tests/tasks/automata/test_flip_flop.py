"""Flip-flop: the states are those of a memory by hand, letters as often as their options say."""

import pytest
import torch

from remanent.tasks.automata.flip_flop import FlipFlop
from remanent.tasks.base import read_whole
from remanent.tasks.metrics import IGNORED


@pytest.mark.parametrize("task", [FlipFlop(), FlipFlop(values=5), FlipFlop(write_probability=0.001)], ids=repr)
def test_the_target_is_the_value_set_last(task):
    for x, y in (task.batch(4, torch.Generator().manual_seed(0)), read_whole(task, "test", 0, 3, 2345)):
        for letters, values in zip(x.tolist(), y.tolist(), strict=True):
            kept = None
            for letter, value in zip(letters, values, strict=True):
                if letter != task.values:
                    kept = letter
                assert value == kept


@pytest.mark.parametrize(("values", "cells"), [(2, 4), (3, 2)])
def test_the_target_of_several_cells_is_what_all_of_them_hold(values, cells):
    task = FlipFlop(values=values, cells=cells, write_probability=0.5)
    assert (task.input_size, task.output_size) == (values * cells + 1, values**cells)
    for x, y in (task.batch(4, torch.Generator().manual_seed(0)), read_whole(task, "test", 0, 3, 2345)):
        for letters, answers in zip(x.tolist(), y.tolist(), strict=True):
            held = [0] * cells
            for letter, answer in zip(letters, answers, strict=True):
                if letter < values * cells:
                    held[letter // values] = letter % values
                assert answer == sum(value * values**cell for cell, value in enumerate(held))


def test_nothing_is_asked_before_a_cell_is_set():
    hold = torch.tensor([[2, 2, 1, 2]])
    assert FlipFlop().automaton.run(hold).tolist() == [[IGNORED, IGNORED, 1, 1]]


def test_letters_are_as_often_as_their_probabilities():
    x, _ = FlipFlop(values=3, write_probability=0.3).batch(30_000, torch.Generator().manual_seed(0))
    first, later = (part.flatten().bincount(minlength=4).double() / part.numel() for part in (x[:, 0], x[:, 1:]))
    assert (first - torch.tensor([1, 1, 1, 0]) / 3).abs().max() < 0.01
    assert (later - torch.tensor([0.1, 0.1, 0.1, 0.7])).abs().max() < 0.002


def test_a_stream_sets_for_sure_at_its_very_first_letter_only():
    x, y = read_whole(FlipFlop(write_probability=0.0), "validation", 0, 5, 2500)
    assert torch.equal(x[:, 0], y[:, 0])
    assert torch.equal(x[:, 1:], torch.full((5, 2499), 2))
    assert torch.equal(y, y[:, :1].expand(5, 2500))
    x, y = read_whole(FlipFlop(write_probability=1.0), "validation", 0, 5, 2500)
    assert torch.equal(x, y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"values": 1}, ValueError, "`values` must be at least 2, got 1"),
        ({"values": 2.0}, TypeError, r"`values` must be an int, got 2\.0"),
        ({"cells": 0}, ValueError, "`cells` must be at least 1, got 0"),
        ({"cells": 14}, ValueError, "an automaton of at most 262144 transitions, got 2 and 14"),
        ({"values": 512}, ValueError, "`values` and `cells` must give an automaton of at most"),
        ({"values": 10**9, "cells": 10**9}, ValueError, "`values` and `cells` must give an automaton of at most"),
        ({"write_probability": -0.1}, ValueError, r"`write_probability` must be in \[0, 1\], got -0\.1"),
        ({"write_probability": 1.5}, ValueError, r"`write_probability` must be in \[0, 1\], got 1\.5"),
        ({"write_probability": "often"}, TypeError, "`write_probability` must be a number, got str"),
    ],
)
def test_bad_options_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        FlipFlop(**options)
