"""Models that are finite automata by construction, without any training."""

import torch

from remanent import ModelConfig, SequenceModel
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.metrics import IGNORED

PLAIN = {"encoder": "table", "num_layers": 1, "norm": "none", "mlp": "none", "head": "every"}
"""A model with as few parts as possible."""
ENDS_IN_ONES = Automaton([[0, 1], [0, 2], [0, 2]], answers=[0, 0, 1])
"""Whether the last two letters were both 1."""


def empty_model(letters, answers, **options):
    """A model whose parameters are all zero, in evaluation mode."""
    model = SequenceModel(ModelConfig(letters, answers, **(PLAIN | options))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


@torch.no_grad()
def exact_mru(automaton, *, more_states=0, **options):
    """One head with one tracer, whose table by letter is that of the automaton; more states than that are not used."""
    S, V = automaton.num_states + more_states, automaton.num_letters
    assert automaton.start == 0
    sizes = {"num_states": S, "num_tracers": 1, "state_size": S, "hidden_size": S}
    model = empty_model(V, automaton.num_answers, **({"unit": "mru"} | sizes | options))
    block = model.blocks[0]
    block.project.weight.copy_(torch.eye(S))
    for state, row in enumerate(automaton.transitions):
        set_transitions(model, state, row)
        if automaton.answers[state] != IGNORED:
            model.head.weight[automaton.answers[state], state] = 4
    return model


@torch.no_grad()
def set_transitions(model, state, row):
    """Sets where each letter leads from a state of the only head of the first block."""
    weight = model.blocks[0].layer.units[0].weight_ih_l0
    table = weight.view(model.config.num_states, model.config.num_states, -1)
    table[state] = 0
    for letter, after in enumerate(row):
        table[state, after, letter] = 4


@torch.no_grad()
def latch_flip_flop():
    """A latch that the letters 0 and 1 set low and high, and the letter 2 holds; its state is the answer."""
    model = empty_model(3, 2, unit="bmru", hidden_size=1)
    block = model.blocks[0]
    block.layer.units[0].weight_ih_l0.copy_(torch.tensor([[-1.0, 1.0, 0.0], [0.5, 0.5, 0.5]]))
    block.layer.units[0].alpha_l0.fill_(1)
    block.project.weight.fill_(1)
    model.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))
    return model


@torch.no_grad()
def alpha_flip_flop():
    """A latch that the letters 0, 1 and 2 set to 1, 2 and 3, and the letter 3 holds; a quadratic form reads it."""
    model = empty_model(4, 3, unit="alpha_bmru", hidden_size=1)
    block = model.blocks[0]
    weight = [[1.0, 1.0, 1.0, 0.0], [0.5, 0.5, 0.5, 0.5], [1.0, 2.0, 3.0, 0.0]]
    block.layer.units[0].weight_ih_l0.copy_(torch.tensor(weight))
    block.project.weight.fill_(1)
    model.head.weight.copy_(torch.tensor([[2.0], [4.0], [6.0]]))
    model.head.bias.copy_(torch.tensor([-1.0, -4.0, -9.0]))
    return model


@torch.no_grad()
def convolution_and_latch():
    """A latch that is high after two ones, which a convolution adds up, for `ENDS_IN_ONES`."""
    model = empty_model(2, 2, unit="bmru", hidden_size=2, conv_size=2, encoder="embedding")
    block = model.blocks[0]
    model.encoder.weight[1, 0] = 1
    block.conv.weight_l0.fill_(1)
    unit = block.layer.units[0]
    unit.weight_ih_l0[0, 0] = 1
    unit.bias_ih_l0[0] = -1.5
    unit.alpha_l0.fill_(1)
    block.project.weight[1, 0] = 1
    model.head.weight.copy_(torch.tensor([[0.0, -1.0], [0.0, 1.0]]))
    return model


@torch.no_grad()
def parity_in_two_blocks():
    """A head of two states for parity, and a block of latches that copies its state."""
    parity = Automaton([[0, 1], [1, 0]], answers=[0, 1])
    model = exact_mru(parity, unit="mru,bmru", num_layers=2)
    block = model.blocks[1]
    block.layer.units[0].weight_ih_l0[:2] = 2 * torch.eye(2)
    block.layer.units[0].bias_ih_l0[:2] = -1
    block.layer.units[0].alpha_l0.fill_(1)
    block.project.weight.copy_(2 * torch.eye(2))
    return model
