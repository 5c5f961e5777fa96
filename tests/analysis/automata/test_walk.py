"""The walk through all pairs of states: models built by hand, and what is found where they are changed."""

from itertools import product

import pytest
import torch

from automata_models import (
    ENDS_IN_ONES,
    alpha_flip_flop,
    convolution_and_latch,
    empty_model,
    exact_mru,
    latch_flip_flop,
    parity_in_two_blocks,
    set_transitions,
)
from remanent import ModelConfig, SequenceModel
from remanent.analysis import Machine, walk
from remanent.tasks import FlipFlop, GroupWord, Parity
from remanent.tasks.automata.automaton import Automaton

RIGHT = {
    "parity": (exact_mru(Parity.automaton), Parity.automaton, 2),
    "S3": (exact_mru(GroupWord().automaton), GroupWord().automaton, 6),
    "flip-flop of a head": (exact_mru(FlipFlop().automaton), FlipFlop().automaton, 3),
    "flip-flop of a latch": (latch_flip_flop(), FlipFlop().automaton, 3),
    "flip-flop of sizes": (alpha_flip_flop(), FlipFlop(values=3).automaton, 4),
    "convolution and latch": (convolution_and_latch(), ENDS_IN_ONES, 4),
    "two blocks": (parity_in_two_blocks(), Parity.automaton, 3),
    "last step": (exact_mru(Parity.automaton, head="last"), Parity.automaton, 2),
}
"""Models that are right at every length, with their automaton and the pairs of states that both reach."""


@pytest.mark.parametrize(("model", "automaton", "states"), RIGHT.values(), ids=RIGHT)
def test_a_model_that_is_right_is_proved_to_be(model, automaton, states):
    verdict = walk(Machine(model), automaton)
    assert (verdict.outcome, verdict.word, verdict.length, verdict.replay) == ("right", None, None, None)
    assert verdict.states == states == len(verdict.walked.pairs)
    assert verdict.margin >= 1


def test_a_wrong_entry_gives_a_shortest_word_that_the_model_fails_on():
    automaton = GroupWord(group="Z5").automaton
    model = exact_mru(automaton)
    set_transitions(model, 3, [3, 2, 0, 1, 2])  # the letter 3 leads to this state, and then 1 to the wrong one
    verdict = walk(Machine(model), automaton)
    assert (verdict.outcome, verdict.word, verdict.length) == ("wrong", (3, 1), 1)
    assert verdict.replay == (4, 2, 2)
    assert model(torch.tensor([[3, 1]]))[0][0, -1].argmax() == 2


@pytest.mark.parametrize("seed", range(4))
def test_no_shorter_word_fails(seed):
    """Models that were never trained, against all words by forward calls."""
    torch.manual_seed(seed)
    options = {"unit": "mru,bmru", "num_layers": 2, "encoder": "table", "head": "every", "hidden_size": 16}
    model = SequenceModel(ModelConfig(2, 2, **options)).eval()
    automaton = Automaton([[1, 1], [2, 3], [2, 3], [3, 3]], answers=[-100, -100, 0, 1])
    verdict = walk(Machine(model), automaton)
    assert verdict.outcome == "wrong"
    for length in range(1, len(verdict.word) + 1):
        words = torch.tensor(list(product(range(2), repeat=length)))
        targets = automaton.run(words)
        failed = ((model(words)[0].argmax(-1) != targets) & (targets != -100))[:, -1]
        assert failed.any() == (length == len(verdict.word))
    assert verdict.word in [tuple(word) for word in words[failed].tolist()]


def test_a_tie_is_wrong_since_rounding_may_tip_it():
    model = exact_mru(Parity.automaton)
    with torch.no_grad():
        model.head.weight[0, 1] = 4  # after an odd number of ones, both answers have the same logit
    verdict = walk(Machine(model), Parity.automaton)
    assert (verdict.outcome, verdict.word, verdict.replay) == ("wrong", (1,), (1, -1, -1))


def test_a_logit_that_is_nan_is_no_answer():
    model = exact_mru(Parity.automaton)
    with torch.no_grad():
        model.head.bias[0] = torch.nan
    verdict = walk(Machine(model), Parity.automaton)
    assert (verdict.outcome, verdict.word, verdict.replay) == ("wrong", (0,), (0, -1, -1))


def test_the_smallest_margin_is_that_of_the_answers_that_are_asked_for():
    automaton = FlipFlop().automaton
    model = exact_mru(automaton)
    with torch.no_grad():
        model.head.weight[:, 0] = torch.tensor([1.0, 1.001])  # before the first cell is set, nothing is asked
        model.head.weight[0, 2] = 3.75
    assert walk(Machine(model), automaton).margin == 0.25


def test_one_answer_alone_is_always_right():
    verdict = walk(Machine(empty_model(2, 1, unit="bmru", hidden_size=1)), Automaton([[0, 0]], answers=[0]))
    assert (verdict.outcome, verdict.margin) == ("right", float("inf"))


def test_a_walk_that_is_given_up_says_up_to_which_length_the_model_is_right():
    automaton = Automaton([[(state + 1) % 50] for state in range(50)], [int(state == 49) for state in range(50)])
    machine = Machine(exact_mru(automaton))
    verdict = walk(machine, automaton, most_states=10)
    assert (verdict.outcome, verdict.states, verdict.length, verdict.word) == ("too many states", 11, 10, None)
    assert walk(machine, automaton, most_states=50).outcome == "right"


def test_what_does_not_fit_is_rejected():
    machine = Machine(exact_mru(Parity.automaton))
    with pytest.raises(ValueError, match="`machine` must read the automaton's 3 letters, got 2"):
        walk(machine, FlipFlop().automaton)
    with pytest.raises(ValueError, match="`machine` must have a logit for each of 6 answers, got 2"):
        walk(machine, Automaton([[0, 0]], answers=[5]))
    with pytest.raises(ValueError, match="`most_states` must be at least 1, got 0"):
        walk(machine, Parity.automaton, most_states=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda machine: (machine, Parity()), "`automaton` must be an Automaton, such as task.automaton, got Parity"),
        (
            lambda machine: (machine.model, Parity.automaton),
            "`machine` must be a Machine, .* got SequenceModel",
        ),
    ],
)
def test_other_things_than_a_machine_and_an_automaton_are_rejected(make, message):
    machine = Machine(exact_mru(Parity.automaton))
    with pytest.raises(TypeError, match=message):
        walk(*make(machine))
