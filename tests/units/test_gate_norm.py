"""Normalised gates: against plain formulas, with the statistics of real steps alone, folded, saved and shared."""

import pytest
import torch

from remanent import BMRU, CELLS, UNITS, ModelConfig, SequenceModel, fold_gate_norm, set_write_rates
from unit_cases import D, M, kind, make, stepped

LATCHES = [name for name in UNITS if kind(name).latches]
B, T = 5, 12


def random(name, gate_norm, **options):
    """A unit whose gains and statistics are no first values."""
    unit = make(name, gate_norm=gate_norm, **options)
    with torch.no_grad():
        for key, value in unit.state_dict().items():
            if key.startswith("gate"):
                value.copy_(0.5 + torch.rand_like(value))
    return unit


def normed(name, unit, x, mean=None, variance=None):
    """The gates of one layer by plain formulas: each part over its channels, or by given statistics."""
    raw = x @ unit.weight_ih_l0.T
    size = unit.gate_gain_l0.shape[0]
    first, rest = raw[..., :size], raw[..., size:]
    if mean is None:
        parts = first.unflatten(-1, (-1, D))
        centred = parts - parts.mean(-1, keepdim=True)
        first = (centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()).flatten(-2)
    else:
        first = (first - mean) / (variance + 1e-5).sqrt()
    return torch.cat([first * unit.gate_gain_l0 + unit.bias_ih_l0[:size], rest + unit.bias_ih_l0[size:]], dim=-1)


def gates_of(unit, x, p=None):
    """What the unit computes of its inputs before it writes."""
    p = p or unit._params("_l0")
    if unit.recurrence.latch_gates(p, x) is None:
        return unit.recurrence._candidate(p, x)
    return unit.recurrence.gates(p, x)[0]


def first_gain(name):
    return [1.0] * D if name == "fq_bmru" else [1.0] * D + [0.5] * D


@pytest.mark.parametrize("name", LATCHES)
def test_first_values_are_those_of_the_field(name):
    layer, batch = UNITS[name](M, D, gate_norm="layer"), UNITS[name](M, D, gate_norm="batch")
    assert layer.gate_gain_l0.tolist() == batch.gate_gain_l0.tolist() == first_gain(name)
    assert batch.gate_mean_l0.tolist() == [0.0] * len(first_gain(name))
    torch.testing.assert_close(batch.gate_variance_l0, batch.weight_ih_l0[: len(first_gain(name))].square().sum(1))
    assert UNITS[name](M, D, gate_norm="batch", write_span=None).gate_variance_l0.eq(1).all()
    assert "gate_gain_l0" not in UNITS[name](M, D).state_dict()
    assert "gate_mean_l0" not in dict(batch.named_parameters())
    before = batch.gate_mean_l0.clone()
    batch(3 + torch.randn(T, B, M))
    assert not torch.equal(batch.gate_mean_l0, before)
    batch.reset_parameters()
    assert torch.equal(batch.gate_mean_l0, before)


@pytest.mark.parametrize("name", LATCHES)
def test_over_the_channels_of_a_step(name):
    unit, x = random(name, "layer"), torch.randn(B, T, M, dtype=torch.float64)
    torch.testing.assert_close(gates_of(unit, x), normed(name, unit, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LATCHES)
def test_by_running_statistics_in_evaluation(name):
    unit, x = random(name, "batch"), torch.randn(B, T, M, dtype=torch.float64)
    expected = normed(name, unit, x, unit.gate_mean_l0, unit.gate_variance_l0)
    torch.testing.assert_close(gates_of(unit, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LATCHES)
def test_by_the_real_steps_of_a_batch_in_training(name):
    """Outputs and gradients are those of the plain formula, and running statistics take a tenth of the batch's in."""
    unit = random(name, "batch")
    twin = UNITS[name](M, D, batch_first=True, dtype=torch.float64, gate_norm="batch").eval()
    twin.load_state_dict(unit.state_dict())
    x, lengths = torch.randn(B, T, M, dtype=torch.float64), torch.tensor([T, 3, 7, 1, 0])
    real = torch.arange(T) < lengths[:, None]
    size = unit.gate_gain_l0.shape[0]
    raw = (x @ twin.weight_ih_l0.T)[real][:, :size]
    mean, variance = raw.mean(0), raw.var(0, correction=0)
    y, _ = unit.train()(x, lengths=lengths)
    p = twin._params("_l0") | {"gate_mean": mean, "gate_variance": variance}
    h = torch.zeros(B, D, dtype=torch.float64)
    expected, _ = twin.recurrence.run(p, torch.where(real[..., None], x, 0), h, None, lengths)
    expected = torch.where(real[..., None], expected, 0)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    weight = torch.randn_like(y)
    wanted = torch.autograd.grad((expected * weight).sum(), list(twin.parameters()), allow_unused=True)
    found = torch.autograd.grad((y * weight).sum(), list(unit.parameters()), allow_unused=True)
    for a, b in zip(found, wanted, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    torch.testing.assert_close(unit.gate_mean_l0, 0.9 * twin.gate_mean_l0 + 0.1 * mean)
    torch.testing.assert_close(unit.gate_variance_l0, 0.9 * twin.gate_variance_l0 + 0.1 * variance)


@pytest.mark.parametrize("name", LATCHES)
def test_folded_it_gives_the_same_without_normalising(name):
    unit, x = random(name, "batch", num_layers=2, bidirectional=True), torch.randn(B, T, M, dtype=torch.float64)
    y, h = unit(x)
    assert fold_gate_norm(unit) == [""]
    assert unit.recurrence.gate_norm == "none"
    plain = UNITS[name](M, D, num_layers=2, bidirectional=True, batch_first=True, dtype=torch.float64)
    plain.load_state_dict(unit.state_dict())
    for after in (unit(x), plain(x)):
        torch.testing.assert_close(after[0], y, rtol=0, atol=1e-10)
        torch.testing.assert_close(after[1], h, rtol=0, atol=1e-10)


@pytest.mark.parametrize("gate_norm", ["layer", "batch"])
@pytest.mark.parametrize("name", LATCHES)
def test_a_cell_takes_the_parameters_of_a_unit(name, gate_norm):
    unit, x = random(name, gate_norm), torch.randn(B, T, M, dtype=torch.float64)
    cell = CELLS[name](M, D, dtype=torch.float64, gate_norm=gate_norm)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in unit.state_dict().items()})
    h, states = None, []
    for x_t in x.unbind(1):
        h = cell(x_t, h)
        states.append(h)
    torch.testing.assert_close(torch.stack(states, 1), unit(x)[0], rtol=0, atol=1e-12)
    if gate_norm == "batch":
        assert fold_gate_norm(cell) == [""]
        torch.testing.assert_close(cell(x[:, 0]), states[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("gate_norm", ["layer", "batch"])
@pytest.mark.parametrize("name", LATCHES)
def test_write_rates_can_be_set(name, gate_norm):
    torch.manual_seed(0)
    unit = UNITS[name](M, 16, num_layers=2, gate_norm=gate_norm)
    x = 10 + torch.rand(60, 20, M)
    for layer in set_write_rates(unit, x):
        assert ((layer.after > 0) & (layer.after < 1)).all()
        assert (layer.after / layer.wanted).log().abs().median() < 0.1


def test_a_training_step_by_step_uses_running_statistics():
    unit, x = random("bmru", "batch").train(), torch.randn(B, T, M, dtype=torch.float64)
    before = unit.gate_mean_l0.clone()
    y, _ = stepped(unit, x)
    assert torch.equal(unit.gate_mean_l0, before)
    assert torch.equal(y, unit.eval()(x)[0])


def test_a_model_is_folded_saved_and_loaded(tmp_path):
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(M, 2, hidden_size=8, unit="bmru+lru,fq_bmru", gate_norm="batch"))
    x = torch.randn(B, T, M)
    model.train()(x)
    model.eval().save(tmp_path / "first")
    y, _ = model(x)
    torch.testing.assert_close(SequenceModel.load(tmp_path / "first")(x)[0], y)
    assert fold_gate_norm(model) == ["blocks.0.layer.units.0", "blocks.1.layer.units.0"]
    model.save(tmp_path / "folded")
    again = SequenceModel.load(tmp_path / "folded")
    assert again.config.gate_norm == "none"
    torch.testing.assert_close(again(x)[0], y)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="`gate_norm` must be one of none, layer, batch, got 'group'"):
        BMRU(3, 4, gate_norm="group")
    with pytest.raises(ValueError, match="`module` must hold a latch with gate_norm='batch', got none in BMRU"):
        fold_gate_norm(BMRU(3, 4, gate_norm="layer"))
    with pytest.raises(ValueError, match="`module` must have biases in its latches, got none in BMRU"):
        fold_gate_norm(BMRU(3, 4, gate_norm="batch", bias=False))
    with pytest.raises(TypeError, match=r"`module` must be a torch.nn.Module, got int"):
        fold_gate_norm(3)
