"""Models that are finite automata by construction, without any training."""

import torch

from remanent import ModelConfig, SequenceModel
from remanent.tasks.metrics import IGNORED


def exact_mru(automaton, **options):
    """One head with one tracer, whose table by letter is that of the automaton."""
    S, V, C = automaton.num_states, automaton.num_letters, automaton.num_answers
    assert automaton.start == 0
    sizes = {"num_states": S, "num_tracers": 1, "state_size": S, "hidden_size": S}
    choices = {"unit": "mru", "encoder": "table", "num_layers": 1, "norm": "none", "mlp": "none", "head": "every"}
    model = SequenceModel(ModelConfig(V, C, **(sizes | choices | options))).eval()
    block = model.blocks[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for state, row in enumerate(automaton.transitions):
            for letter, after in enumerate(row):
                block.layer.units[0].weight_ih_l0[state * S + after, letter] = 4
            if automaton.answers[state] != IGNORED:
                model.head.weight[automaton.answers[state], state] = 4
        block.project.weight.copy_(torch.eye(S))
    return model
