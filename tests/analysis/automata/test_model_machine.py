"""The model as a machine: its own step, with the same bits for many states as for one, and states as bytes."""

import pytest
import torch

from remanent import ModelConfig, SequenceModel
from remanent.analysis import Machine, walk
from remanent.tasks.automata.automaton import Automaton

MODELS = {
    "mru by letter": {"unit": "mru", "encoder": "table", "hidden_size": 20},
    "mru then bmru": {"unit": "mru,bmru", "num_layers": 2, "encoder": "table", "hidden_size": 20, "gate": True},
    "hybrid": {"unit": "mru+bmru+fq_bmru", "encoder": "embedding", "join": "sum", "state_size": 16, "norm": "layer"},
    "convolution": {"unit": "bmru", "encoder": "embedding", "conv_size": 3, "mlp": "gelu", "hidden_size": 20},
    "sizes by letter": {"unit": "alpha_bmru", "encoder": "table", "head": "last", "mlp": "gelu", "hidden_size": 64},
    "normed gates": {"unit": "bmru", "encoder": "embedding", "gate_norm": "batch", "initial_state": "learned"},
}
"""Finite models of every make."""
ANY = Automaton([[0] * 5], answers=[-100])
"""Asks for nothing, so that a walk goes through the states of a model alone."""


def make(dtype=torch.float32, **options):
    torch.manual_seed(3)
    sizes = {"num_layers": 1, "head": "every", "hidden_size": 16}
    return SequenceModel(ModelConfig(5, 3, **(sizes | options))).eval().to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_many_states_step_with_the_bits_of_one(options, dtype):
    model = make(dtype, **options)
    machine = Machine(model)
    states = walk(machine, ANY, most_states=20).walked.states
    found = machine.step(states)
    for i in range(0, len(states), 5):
        alone = machine.step(states[i : i + 1])
        assert torch.equal(alone.logits[0], found.logits[i])
        assert torch.equal(alone.states[0], found.states[i])
        for letter in (0, 4):
            with torch.no_grad():
                y, after = model.step(torch.tensor([letter]), machine.unpack(states[i : i + 1]))
            assert torch.equal(y[0], found.logits[i, letter])
            assert torch.equal(machine.pack(after)[0], found.states[i, letter])


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_a_word_leads_through_the_states_of_the_model(options):
    model = make(**options)
    machine, state, row = Machine(model), None, None
    row = machine.start
    for letter in (2, 0, 4, 4, 1):
        with torch.no_grad():
            y, state = model.step(torch.tensor([letter]), state)
        logits, rows = machine.step(row[None])
        row = rows[0, letter]
        assert torch.equal(logits[0, letter], y[0])
        assert torch.equal(machine.pack(state)[0], row)


def test_a_state_holds_the_numbers_of_every_part():
    machine = Machine(make(**MODELS["convolution"]))
    assert [(part.name, part.shape) for part in machine.parts] == [("layers.0.0", (1, 20)), ("windows.0", (2, 20))]
    assert machine.width == 4 * 60
    assert all((part == 0).all() for part in machine.unpack(machine.start[None]).named().values())


def test_states_of_another_form_are_rejected():
    machine = Machine(make(**MODELS["mru by letter"]))
    with pytest.raises(ValueError, match=r"`states` must have shape \(N, W=\d+\), got \(1, 3\)"):
        machine.step(torch.zeros(1, 3, dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"`states` must have dtype torch.uint8, got torch.float32"):
        machine.step(machine.start[None].float())
