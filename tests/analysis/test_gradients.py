"""The gradient against the lag: autograd's own, by brute force; and what epsilon does to it."""

import pytest
import torch

from remanent import BMRU, CMRU, LRU, UNITS, ModelConfig, SequenceModel
from remanent.analysis import gradient_by_lag
from unit_cases import sized


def brute_force(unit, x, loss):
    """Step by step, every state on one graph."""
    states, h = [], None
    for x_t in x.unbind(1):
        y, h = unit.step(x_t, h)
        parts = h if isinstance(h, tuple) else (h,)
        for part in parts:
            part.retain_grad()
        states.append(parts)
    loss(y).sum().backward()
    norms = []
    for parts in states:
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parts]
        norms.append(sum(g.abs().square().sum((0, 2)) for g in gradients).sqrt().mean())
    return torch.stack(norms)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", list(UNITS))
def test_it_equals_autograd_by_brute_force(name, layers):
    torch.manual_seed(1)
    unit = sized(UNITS, name, 3, 5, num_layers=layers, batch_first=layers == 1, dtype=torch.float64)
    x = torch.randn(2, 50, 3, dtype=torch.float64)

    def loss(y):
        return (y - 0.3).square().sum(1)

    lags, norms = gradient_by_lag(unit, x, range(1, 50), loss=loss)
    expected = brute_force(unit, x, loss)
    assert lags.tolist() == list(range(1, 50))
    torch.testing.assert_close(norms, expected[[49 - k for k in lags.tolist()]], rtol=1e-9, atol=1e-14)
    _, some = gradient_by_lag(unit, x, [4, 31], loss=loss)
    torch.testing.assert_close(some, norms[[3, 30]], rtol=1e-9, atol=1e-14)


def test_a_finite_difference_agrees():
    torch.manual_seed(0)
    unit = LRU(2, 3, batch_first=True, dtype=torch.float64)
    x = torch.randn(1, 20, 2, dtype=torch.float64)
    _, norms = gradient_by_lag(unit, x, [7])
    _, h = unit(x[:, :13])
    slopes = []
    for i in range(3):
        for direction in (1, 1j):
            moved = h.clone()
            moved[0, 0, i] += 1e-6 * direction
            slopes.append((unit(x[:, 13:], moved)[0][:, -1].sum() - unit(x[:, 13:], h)[0][:, -1].sum()) / 1e-6)
    assert norms.item() == pytest.approx(torch.stack(slopes).norm().item(), rel=1e-5)


def test_epsilon_opens_the_way_back():
    torch.manual_seed(0)
    x = torch.randn(4, 400, 3)
    cumulative, latch = CMRU(3, 16, batch_first=True), BMRU(3, 16, batch_first=True, width=0.01)
    with pytest.warns(UserWarning, match="saved at an epsilon of 1 were loaded into BMRU, whose epsilon is 0"):
        latch.load_state_dict(cumulative.state_dict())
    _, open_way = gradient_by_lag(cumulative, x)
    assert torch.allclose(open_way, torch.tensor(4.0))  # the sum of 16 outputs: sqrt(16) at any lag
    _, closed = gradient_by_lag(latch, x)
    assert closed[-1] == 0


def test_a_model_and_its_chunks(monkeypatch):
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(2, 3, hidden_size=8, unit="cmru+lru"))
    x = torch.randn(2, 30, 2)
    lags, norms = gradient_by_lag(model, x)
    monkeypatch.setattr("remanent.analysis.gradients.CHUNK", 4)
    _, cut = gradient_by_lag(model, x)
    torch.testing.assert_close(cut, norms, rtol=1e-4, atol=1e-7)
    assert lags.tolist() == [1, 2, 4, 8, 16, 29]
    assert (norms > 0).all()
    assert all(p.grad is None for p in model.parameters())
    mean = SequenceModel(ModelConfig(2, 3, hidden_size=8, unit="cmru", head="mean"))
    assert (gradient_by_lag(mean, x)[1] > 0).all()


def test_bad_arguments_are_refused_by_name():
    unit, x = BMRU(1, 2, batch_first=True), torch.zeros(3, 9, 1)
    for lags in ([], [0], [9], [3, 3], [4, 2]):
        with pytest.raises(ValueError, match=r"`lags` must rise within \[1, T - 1=8\], got"):
            gradient_by_lag(unit, x, lags)
    with pytest.raises(ValueError, match="`x` must have at least two steps, got T=1"):
        gradient_by_lag(unit, x[:, :1])
    with pytest.raises(ValueError, match=r"`loss` must give a number for each sequence, \(3,\), got \(\)"):
        gradient_by_lag(unit, x, loss=torch.sum)
    with pytest.raises(TypeError, match=r"`lags` must be a list of ints, got \[1.5\]"):
        gradient_by_lag(unit, x, [1.5])
    with pytest.raises(TypeError, match="`loss` must be a function, got int"):
        gradient_by_lag(unit, x, loss=3)
    with pytest.raises(TypeError, match=r"`x` must be a torch\.Tensor, got list"):
        gradient_by_lag(unit, [1.0])
    with pytest.raises(ValueError, match=r"`x` must have shape \(B, T, M=1\), got \(9, 1\)"):
        gradient_by_lag(unit, x[0])
