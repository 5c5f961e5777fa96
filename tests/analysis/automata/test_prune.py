"""Pruning: the heads that models built by hand need, what the smaller models answer, and what is rejected."""

import pytest
import torch

from built_models import FLIP, S3, built, wandering
from remanent import ModelConfig, SequenceModel
from remanent.analysis.automata import Head, Machine, PruningError, prune, walk
from remanent.tasks import Automaton, AutomatonWord, CopyFirst, FlipFlop, GroupWord, Parity

ALWAYS_FLIP, EVEN_FLIP, SET_OR_HOLD = torch.tensor([[[1, 0], [1, 0]], [[1, 0], [0, 1]], [[0, 0], [0, 1]]])


def heads(*tables):
    return torch.stack(tables, 1)


def cycle(length, K):
    """A head that turns through some of its K states, by as many steps as the letter of Z6 says."""
    return torch.tensor([[(j + v) % length if j < length else j for j in range(K)] for v in range(6)])


def cell(number):
    """A head that holds one of the two cells of a flip-flop."""
    sets = [[v, v] if c == number else [0, 1] for c in (0, 1) for v in (0, 1)]
    return torch.tensor([*sets, [0, 1]])


LOST = wandering(6, 2, 3).unbind(1)
LOST_CELLS = wandering(5, 2, 2).unbind(1)
CASES = {
    "parity": (Parity(), heads(ALWAYS_FLIP, SET_OR_HOLD, FLIP), [[(2, 0, answer)] for answer in (0, 1)], (2,)),
    "S3": (
        GroupWord(group="S3"),
        heads(LOST[0], S3, LOST[1]),
        [[(1, r, element[r]) for r in range(3)] for element in S3],
        (1,),
    ),
    "Z6 by Z2 and Z3": (
        GroupWord(group="Z6"),
        heads(LOST[0], cycle(3, 3), LOST[1], cycle(2, 3)),
        [[(1, 0, answer % 3), (3, 0, answer % 2)] for answer in range(6)],
        (1, 3),
    ),
    "two cells": (
        FlipFlop(cells=2),
        heads(cell(1), LOST_CELLS[0], LOST_CELLS[1], cell(0)),
        [[(0, 0, answer // 2), (3, 0, answer % 2)] for answer in range(4)],
        (0, 3),
    ),
}


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("case", CASES)
def test_the_heads_that_determine_the_answers_are_kept_with_the_readout_as_it_is(case):
    task, tables, votes, kept = CASES[case]
    model, before = built(tables, votes), built(tables, votes)
    pruned = prune(model, task)
    assert same(model, before)
    assert pruned.kept == tuple(Head(0, 0, number) for number in kept)
    assert (pruned.heads, pruned.is_smaller, pruned.readout_steps) == (tables.shape[1], True, 0)
    assert pruned.model.config.state_size == len(kept) * tables.shape[2] ** 2
    assert pruned.verdict.outcome == "right"
    assert pruned.states == walk(Machine(pruned.model), task.automaton).states
    assert pruned.margin >= 1
    x, y = task.at_length(500).batch(4, torch.Generator().manual_seed(1))
    assert torch.equal(pruned.model(x)[0].argmax(2), y)


@pytest.mark.parametrize("tracers", [None, 2])
@pytest.mark.parametrize("case", ["S3", "Z6 by Z2 and Z3"])
def test_a_readout_that_is_drawn_at_random_is_trained_until_it_is_right_everywhere(case, tracers):
    task, tables, _, kept = CASES[case]
    model = built(tables, answers=6, num_tracers=tracers, mlp="gelu", mlp_ratio=4, norm="rms")
    pruned = prune(model, task, readout_steps=300)
    assert pruned.verdict.outcome == "right"
    assert [head.number for head in pruned.kept] == list(kept)
    assert 0 < pruned.readout_steps < 300
    assert pruned.margin >= 4
    assert all(parameter.grad is None for parameter in pruned.model.parameters())
    assert same(pruned.model, prune(model, task, readout_steps=300).model)


def test_a_smaller_model_can_be_saved_and_prunes_to_itself(tmp_path):
    task, tables, votes, _ = CASES["Z6 by Z2 and Z3"]
    pruned = prune(built(tables, votes), task)
    pruned.model.save(tmp_path)
    again = prune(SequenceModel.load(tmp_path), task)
    assert again.kept == (Head(0, 0, 0), Head(0, 0, 1))
    assert (again.heads, again.is_smaller, again.maps) == (2, False, (3, 2))
    assert same(again.model, pruned.model)


def test_heads_that_tell_the_answer_only_together_are_found():
    # one knows whether the length is odd, one the number of zeros, and the answer is whether both are the same
    tables = heads(SET_OR_HOLD, ALWAYS_FLIP, EVEN_FLIP)
    pruned = prune(built(tables, answers=2, mlp="gelu", mlp_ratio=8), Parity(), readout_steps=300)
    assert [head.number for head in pruned.kept] == [1, 2]
    assert pruned.maps == (2, 2)


def test_a_path_around_the_unit_shows_the_readout_the_last_letter():
    # the answer is the last letter and the number of ones, odd or even: state 2 p + v after the letter v
    both = Automaton([[2 * (p ^ v) + v for v in (0, 1)] for p in (0, 0, 1, 1)], answers=[0, 1, 2, 3])
    task = AutomatonWord.of(both)
    votes = [[(1, 0, answer // 2)] for answer in range(4)]
    tables = heads(SET_OR_HOLD, FLIP)
    model = built(tables, votes, encoder="embedding")
    with torch.no_grad():
        model.encoder.weight.copy_(torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1]]))
        model.blocks[0].layer.units[0].weight_ih_l0[:, 2:] = 0
    pruned = prune(model, task)
    assert (pruned.kept, pruned.readout_steps) == ((Head(0, 0, 1),), 0)
    with pytest.raises(PruningError, match="`model` must have heads whose states determine the answers"):
        prune(built(heads(FLIP), answers=4), task, readout_steps=10)


def test_heads_of_several_blocks_are_frozen_in_place_as_random_words_allow():
    task, tables, votes, _ = CASES["S3"]
    model = built(tables, votes, num_layers=2)
    with torch.no_grad():
        model.blocks[1].project.weight.zero_()
        model.blocks[1].project.bias.zero_()
    pruned = prune(model, task, words=8, length=64)
    assert pruned.model.config == model.config
    assert (pruned.kept, pruned.maps, pruned.is_smaller) == ((Head(0, 0, 1),), (6,), False)
    assert (pruned.verdict.outcome, pruned.states) == ("right", 6)


def test_a_readout_that_is_not_trained_keeps_the_heads_that_it_needs():
    votes = [[(head, 0, answer) for head in range(3)] for answer in (0, 1)]
    pruned = prune(built(heads(FLIP, FLIP, FLIP), votes), Parity(), words=8, length=16)
    assert ([head.number for head in pruned.kept], pruned.is_smaller) == ([1, 2], True)
    assert (pruned.verdict.outcome, pruned.margin) == ("right", 1)


def test_a_model_that_answers_wrong_is_rejected():
    model = built(heads(ALWAYS_FLIP, FLIP), [[(0, 0, answer)] for answer in (0, 1)])
    with pytest.raises(PruningError, match="`model` must answer right, got a wrong answer to a word of 16 letters"):
        prune(model, Parity(), words=4, length=16)
    keeps_one = torch.tensor([[0, 1], [1, 1]])
    model = built(heads(keeps_one, ALWAYS_FLIP), [[(0, 0, answer)] for answer in (0, 1)])
    with pytest.raises(PruningError, match=r"got a wrong answer to a word of \[1, 1\] without pruning"):
        prune(model, Parity(), words=4, length=1)


def test_a_word_that_the_walk_finds_brings_a_head_back():
    votes = [[(head, 0, answer) for head in range(3)] for answer in (0, 1)]
    model = built(heads(SET_OR_HOLD, FLIP, FLIP), votes)
    assert [head.number for head in prune(model, Parity(), words=1, length=1).kept] == [1, 2]


def test_what_does_not_fit_is_rejected_by_name():
    task, tables, votes, _ = CASES["parity"]
    model = built(tables, votes)
    for other, error, rule in (
        (CopyFirst(), TypeError, "`task` must be a task of words"),
        (GroupWord(group="S3"), ValueError, "`model` must have the 6 letters and 6 answers of the task, got 2 and 2"),
    ):
        with pytest.raises(error, match=rule):
            prune(model, other)
    with pytest.raises(ValueError, match="`words` must be at least 1, got 0"):
        prune(model, task, words=0)
    with pytest.raises(TypeError, match="`model` must be a SequenceModel"):
        prune(torch.nn.Linear(2, 2), task)
    with pytest.raises(ValueError, match="`model` must be in evaluation mode"):
        prune(built(tables, votes).train(), task)
    with pytest.raises(ValueError, match="`model` must have K-state heads, got unit='bmru'"):
        prune(SequenceModel(ModelConfig(2, 2, unit="bmru", encoder="table", num_layers=1, head="every")).eval(), task)
