"""The learned machine: hand-built models give back their automaton, the smallest one, whatever else they hold."""

import pytest
import torch

from automata_models import exact_mru
from remanent import ModelConfig, SequenceModel
from remanent.analysis import extract_automaton
from remanent.tasks import IGNORED, Automaton, AutomatonWord, Dyck, GroupWord, Parity, Tomita

TASKS = [Parity(), GroupWord(group="S3"), Dyck(depth=2), AutomatonWord(pattern="(ab|ba)*", letters="ab")]
TASKS += [Tomita(language=language) for language in range(1, 8)]


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_a_model_with_the_tables_of_the_automaton_gives_it_back(task):
    automaton = task.automaton.minimised()
    assert extract_automaton(exact_mru(automaton)) == automaton


def test_states_that_answer_alike_are_one():
    twice = Automaton([[2, 1], [3, 0], [0, 3], [1, 2], [0, 0]], [0, 1, 0, 1, 1])
    assert extract_automaton(exact_mru(twice)) == twice.minimised() == Parity.automaton


def test_a_head_that_the_answers_do_not_need_is_not_seen():
    parity, counter = Parity.automaton, Automaton([[1, 2], [2, 0], [0, 1]], [0, 0, 0])
    sizes = {"num_states": 3, "num_tracers": 1, "state_size": 6, "hidden_size": 6, "num_layers": 1}
    plain = {"unit": "mru", "encoder": "table", "norm": "none", "mlp": "none", "head": "every"}
    model = SequenceModel(ModelConfig(2, 2, **sizes, **plain)).eval()
    with torch.no_grad():
        table = torch.zeros(2, 3, 3, 2)
        for head, machine in enumerate((parity, counter)):
            for state, row in enumerate(machine.transitions):
                for letter, after in enumerate(row):
                    table[head, state, after, letter] = 1
        model.blocks[0].layer.units[0].weight_ih_l0.copy_(table.flatten(0, 2))
        model.blocks[0].project.weight.copy_(torch.eye(6))
        model.head.weight.zero_()
        model.head.bias.zero_()
        model.head.weight[0, 0] = model.head.weight[1, 1] = 1
    found = extract_automaton(model)
    assert found.minimised() == found
    assert found.answers == (0, 1)


def test_latches_are_a_flip_flop():
    plain = {"encoder": "table", "norm": "none", "mlp": "none", "head": "every", "initial_state": "low"}
    model = SequenceModel(ModelConfig(3, 2, unit="bmru", num_layers=1, hidden_size=1, **plain)).eval()
    with torch.no_grad():
        unit = model.blocks[0].layer.units[0]
        unit.weight_ih_l0.copy_(torch.tensor([[-2.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
        unit.bias_ih_l0.copy_(torch.tensor([0.0, 1.0]))
        unit.alpha_l0.fill_(1)
        model.blocks[0].project.weight.fill_(1)
        model.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        model.head.bias.zero_()
    assert extract_automaton(model) == Automaton([[0, 1, 0], [0, 1, 1]], [0, 1])


def test_a_tie_is_no_answer_and_the_start_takes_the_smallest_one():
    last_letter = Automaton([[0, 1], [0, 1]], [1, IGNORED])  # nothing is asked: all logits are 0
    assert extract_automaton(exact_mru(last_letter)) == last_letter


def test_too_many_states_are_named_with_how_far_the_walk_got():
    count = exact_mru(Automaton([[(state + 1) % 50] for state in range(50)], [0] * 50))
    assert extract_automaton(count, most_states=50).num_states == 1
    with pytest.raises(ValueError, match=r"at most `most_states` = 10 states, got 11 and more, .* up to 10 letters"):
        extract_automaton(count, most_states=10)
    with pytest.raises(ValueError, match="`most_states` must be at least 1, got 0"):
        extract_automaton(count, most_states=0)


def test_a_model_that_is_no_automaton_is_rejected_by_its_parts():
    with pytest.raises(ValueError, match=r"must be a finite automaton .* got blocks.0: lru"):
        extract_automaton(SequenceModel(ModelConfig(2, 2, unit="lru", encoder="embedding", num_layers=1)).eval())
