"""What makes a model a finite automaton: what its parts declare, and the error that names those that are none."""

from dataclasses import dataclass

import pytest
import torch

from automata_models import PLAIN, empty_model
from remanent import ModelConfig, SequenceModel
from remanent.analysis import Machine, check_finite, walk
from remanent.models.attention import Attention
from remanent.models.clock import Clock
from remanent.tasks.automata.automaton import Automaton
from remanent.units import UNITS, Recurrence, RecurrentUnit, StateIsOutput

FINITE = {"bmru", "alpha_bmru", "fq_bmru", "mru"}
"""The units that are finite automata on tokens, at epsilon 0."""


@pytest.mark.parametrize("name", UNITS)
def test_every_unit_says_whether_it_is_a_finite_automaton_and_if_not_why(name):
    unit = UNITS[name](3, 16)
    assert (unit.recurrence.why_endless is None) == (name in FINITE)
    option = unit.recurrence.annealed_option
    if option is not None:
        unit.recurrence.set_option(option, 0.3)
        assert "epsilon 0.3" in unit.recurrence.why_endless


def test_one_error_names_every_part_that_has_endlessly_many_states():
    options = {"unit": "bmru+lru,cmru+gru+attention", "num_layers": 2, "hidden_size": 24, "clock": "decay"}
    model = SequenceModel(ModelConfig(3, 2, head="mean", num_heads=2, **options))
    with pytest.raises(ValueError, match="`model` must be a finite automaton") as error:
        Machine(model)
    named = str(error.value).partition("got ")[2].split("; ")
    parts = ["encoder: linear", "clock: decay", "blocks.0: lru", "blocks.1: cmru", "blocks.1: gru"]
    parts += ["blocks.1: attention", "head: mean"]
    assert [part.partition(", ")[0] for part in named] == parts
    reasons = [Clock.why_endless, "whose state is a sum that fades", Attention.why_endless]
    assert all(reason in str(error.value) for reason in reasons)
    model.set_epsilon(0.5)
    with pytest.raises(ValueError, match=r"blocks.0: bmru, whose writes add .* \(epsilon 0.5\); blocks.0: lru"):
        check_finite(model)


def test_norms_mlps_gates_convolutions_and_statistics_are_finite():
    options = {"unit": "mru,bmru+fq_bmru+alpha_bmru", "num_layers": 2, "gate_norm": "batch", "clock": "none"}
    more = {"norm": "layer", "mlp": "glu", "gate": True, "conv_size": 3, "dropout": 0.2, "hidden_size": 24}
    model = SequenceModel(ModelConfig(3, 2, encoder="table", head="last", num_states=2, **options, **more))
    assert check_finite(model) is None
    with pytest.raises(ValueError, match=r"`model` must be in evaluation mode \(`model.eval\(\)`\)"):
        Machine(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    machine = Machine(model.eval())
    machine.step(machine.start[None])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@dataclass(eq=False)
class CountRecurrence(StateIsOutput):
    """A counter modulo 3 in each channel."""

    finite = True

    @property
    def finite_states(self):
        return self.finite

    def shapes(self, M, D, bias):
        return {"weight_ih": (D, M)}

    def initialise(self, p):
        p["weight_ih"].fill_(1)

    def run(self, p, x, h, reset, lengths, *, reset_state=None):
        states = (h[:, None] + (x @ p["weight_ih"].T).cumsum(1)) % 3
        return states, states[:, -1]

    def advance(self, p, x, h):
        return (h + x @ p["weight_ih"].T) % 3


class Count(RecurrentUnit):
    """A counter modulo 3."""

    recurrence_type = CountRecurrence

    def __init__(self, input_size, hidden_size, *, batch_first=False, bias=True):
        super().__init__(CountRecurrence(), input_size, hidden_size, batch_first=batch_first)


def test_a_unit_of_ones_own_is_walked_where_it_says_that_it_is_finite(monkeypatch):
    monkeypatch.setitem(UNITS, "count", Count)
    model = empty_model(2, 3, **(PLAIN | {"unit": "count", "hidden_size": 1}))
    with torch.no_grad():
        model.blocks[0].layer.units[0].weight_ih_l0[0, 1] = 1
        model.blocks[0].project.weight.fill_(1)
        model.head.weight.copy_(torch.tensor([[0.0], [2.0], [4.0]]))
        model.head.bias.copy_(torch.tensor([0.0, -1.0, -4.0]))
    ones = Automaton([[0, 1], [1, 2], [2, 0]], answers=[0, 1, 2])
    assert walk(Machine(model), ones).outcome == "right"
    monkeypatch.setattr(CountRecurrence, "finite", False)
    with pytest.raises(ValueError, match=r"blocks\.0: count, which does not declare that its states are finitely many"):
        check_finite(model)


def test_a_recurrence_is_endless_unless_it_says_otherwise():
    assert Recurrence.finite_states.fget(None) is False
