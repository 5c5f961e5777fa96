"""The unit of the example on automata obeys the laws of a unit and can count modulo two for as long as a word is."""

import importlib.util
from pathlib import Path

import pytest
import torch

from remanent import ModelConfig, SequenceModel
from remanent.tasks import Parity
from remanent.training import Experiment, TrainingConfig, load_run, start_run
from remanent.units import UNITS

EXAMPLE = Path(__file__).parents[2] / "examples" / "automata"


def load(name):
    spec = importlib.util.spec_from_file_location(f"automata_{name}", EXAMPLE / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def unit():
    """The unit's class, which has its name while these tests run."""
    yield load("negative").NegativeLinear
    del UNITS["negative_linear"]


def test_a_sequence_is_its_steps_and_agrees_with_the_equation(unit):
    torch.manual_seed(0)
    rnn = unit(3, 5, batch_first=True).double()
    x, h = torch.randn(2, 70, 3, dtype=torch.float64), torch.randn(1, 2, 5, dtype=torch.float64)
    y, last = rnn(x, h)
    by_step, state, by_hand = h, h[0], []
    for t in range(70):
        out, by_step = rnn.step(x[:, t], by_step)
        factor, candidate = (x[:, t] @ rnn.weight_ih_l0.T + rnn.bias_ih_l0).chunk(2, dim=-1)
        state = torch.tanh(factor) * state + (1 - torch.tanh(factor)) * candidate
        by_hand.append(state)
        torch.testing.assert_close(out, y[:, t], rtol=0, atol=1e-12)
    torch.testing.assert_close(by_step, last, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.stack(by_hand, dim=1), y, rtol=0, atol=1e-12)
    assert (rnn.recurrence.gates(rnn._params("_l0"), x)[0] < 0).any()


def test_its_gradients_are_those_of_the_equation(unit):
    rnn = unit(2, 3, bias=False, batch_first=True).double()
    x = torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True)
    h = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, h, weight: rnn(x, h)[0], (x, h, rnn.weight_ih_l0))


def test_it_has_weights_that_are_right_at_every_length_in_floating_point(unit):
    """In float32 the factor rounds to 1 and -1, so that the state is exactly the parity."""
    sizes = {"hidden_size": 1, "num_layers": 1, "mlp": "none", "norm": "none", "head": "every"}
    model = SequenceModel(ModelConfig(2, 2, unit="negative_linear", encoder="table", **sizes)).eval()
    weights = {"layer.units.0.weight_ih_l0": [[20.0, -20.0], [0.0, 0.5]], "layer.units.0.bias_ih_l0": [0.0, 0.0]}
    weights |= {"project.weight": [[1.0]], "project.bias": [0.0]}
    model.blocks[0].load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    model.head.load_state_dict({"weight": torch.tensor([[-1.0], [1.0]]), "bias": torch.tensor([0.5, -0.5])})
    letters, parity = Parity(steps=20_000).batch(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores, _ = model(letters)
    assert torch.equal(scores[..., 1] - scores[..., 0], (2 * parity - 1).float())


def test_it_is_trained_and_read_again_like_the_others(unit, tmp_path):
    model = ModelConfig(2, 2, hidden_size=8, unit="negative_linear", encoder="embedding", head="every")
    training = TrainingConfig(steps=4, batch_size=4, checkpoint_every=2, threads=1)
    start_run(Experiment(Parity(steps=8), model, training), tmp_path / "run", progress=False)
    _, trained = load_run(tmp_path / "run")
    x = torch.randint(2, (2, 40))
    with torch.no_grad():
        whole, _ = trained(x)
    session = trained.stream(2)
    parts = torch.cat([session.push(part) for part in x.split(7, dim=1)], 1)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
