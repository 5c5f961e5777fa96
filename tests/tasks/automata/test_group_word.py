"""Group words: the products are those of permutations and sums by hand, the tables those of groups."""

import pytest
import torch

from remanent.tasks import Parity
from remanent.tasks.automata.group_word import GroupWord, multiplication_table
from remanent.tasks.base import read_whole

SIZES = {"S3": (3, 6), "S4": (4, 24), "S5": (5, 120), "A5": (5, 60)}
GROUPS = (*(f"Z{n}" for n in range(2, 61)), *SIZES)


def transpositions(order):
    """How many swaps sort a permutation, found by sorting it."""
    order, swaps = list(order), 0
    for place in range(len(order)):
        while order[place] != place:
            other = order[place]
            order[place], order[other] = order[other], order[place]
            swaps += 1
    return swaps


def tuples(letters, below):
    """All tuples of different numbers, counted up in lexicographic order."""
    if letters == 0:
        return [()]
    return sorted((*rest, n) for n in range(below) for rest in tuples(letters - 1, below) if n not in rest)


def element_list(group):
    letters, _ = SIZES[group]
    return [p for p in tuples(letters, letters) if group[0] == "S" or transpositions(p) % 2 == 0]


@pytest.mark.parametrize("group", SIZES)
def test_the_target_is_the_permutation_that_the_letters_so_far_lead_to(group):
    elements, task = element_list(group), GroupWord(group=group)
    for x, y in (task.batch(4, torch.Generator().manual_seed(0)), read_whole(task, "test", 0, 3, 2345)):
        for letters, products in zip(x.tolist(), y.tolist(), strict=True):
            # Follow each point through the letters one by one, the first letter first.
            points = list(range(SIZES[group][0]))
            for letter, product in zip(letters, products, strict=True):
                points = [elements[letter][point] for point in points]
                assert elements[product] == tuple(points)


@pytest.mark.parametrize("size", [2, 7, 60, 100])
def test_the_target_of_a_cyclic_group_is_the_sum_so_far(size):
    task = GroupWord(group=f"Z{size}")
    for x, y in (task.batch(4, torch.Generator().manual_seed(0)), read_whole(task, "test", 0, 3, 2345)):
        for letters, sums in zip(x.tolist(), y.tolist(), strict=True):
            total = 0
            for letter, answer in zip(letters, sums, strict=True):
                total += letter
                assert answer == total % size


@pytest.mark.parametrize("group", GROUPS)
def test_tables_are_those_of_groups(group):
    table = multiplication_table(group)
    size = SIZES[group][1] if group in SIZES else int(group[1:])
    everyone = torch.arange(size)
    assert table.shape == (size, size)
    assert torch.equal(table[0], everyone)
    assert torch.equal(table[:, 0], everyone)
    assert torch.equal(table.sort(0).values, everyone[:, None].expand(size, size))
    assert torch.equal(table.sort(1).values, everyone.expand(size, size))
    assert torch.equal(table[table], table[:, table])
    assert torch.equal(table, table.T) == (group[0] == "Z")


@pytest.mark.parametrize("steps", [1, 2, 3, 63, 64, 65])
def test_awkward_lengths_are_those_of_a_fold(steps):
    x, y = GroupWord(steps, "A5").batch(3, torch.Generator().manual_seed(steps))
    table = multiplication_table("A5").tolist()
    for letters, products in zip(x.tolist(), y.tolist(), strict=True):
        product = 0
        for letter, answer in zip(letters, products, strict=True):
            product = table[letter][product]
            assert answer == product


def test_letters_are_alike():
    x, y = GroupWord(group="A5").batch(5000, torch.Generator().manual_seed(0))
    for drawn in (x, y):
        assert (60 * drawn.flatten().bincount() / drawn.numel() - 1).abs().max() < 0.06


@pytest.mark.parametrize("group", ["Z1", "Z513", "Z9999", "Z02", "Z", "S6", "A4", "z3", ""])
def test_other_groups_are_refused(group):
    with pytest.raises(ValueError, match=f"`group` must be one of Z2 to Z512, S3, S4, S5, A5, got '{group}'"):
        GroupWord(group=group)


@pytest.mark.parametrize("group", ["Z2", "Z60", "S3", "S4", "S5", "A5"])
def test_the_first_letters_of_the_alphabet_generate_the_group(group):
    task = GroupWord(steps=400, group=group, letters=2)
    assert sorted(task.alphabet) == list(range(task.input_size))
    x, y = task.batch(64, torch.Generator().manual_seed(0))
    assert set(x.unique().tolist()) == set(task.alphabet[:2])
    assert len(y.unique()) == task.output_size
    assert torch.equal(y, task.automaton.run(x))
    assert task.at_letters(task.input_size).letters == task.input_size


@pytest.mark.parametrize("letters", [1, 7, 2.5])
def test_letters_that_a_group_has_not_are_rejected(letters):
    with pytest.raises((ValueError, TypeError), match="`letters` must be"):
        GroupWord(group="S3", letters=letters)
    with pytest.raises(ValueError, match="the task parity must have letters that can be fewer, got one of fixed"):
        Parity().at_letters(2)
