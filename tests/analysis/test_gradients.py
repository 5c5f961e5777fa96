"""The gradient against the lag: autograd's own, by brute force; and what epsilon does to it."""

import pytest
import torch
from torch import nn

from remanent import BMRU, CMRU, GRU, LRU, UNITS, BMRUCell, ModelConfig, SequenceModel
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


class Own(nn.Module):
    """A module of a user's own: an embedding or a map, a unit or cells in a loop, and a head at every step or none."""

    def __init__(self, unit, *, tokens=False, every=False):
        super().__init__()
        self.first = nn.Embedding(5, 3) if tokens else nn.Linear(3, 3)
        self.unit, self.head, self.every = unit, nn.Linear(4, 2), every
        self.double()

    def forward(self, x, scale=1.0):
        x = scale * self.first(x)
        if isinstance(self.unit, nn.RNNCellBase | BMRUCell):
            h, outputs = None, []
            for x_t in x.unbind(1):
                h = self.unit(x_t, h)
                outputs.append(h)
            y = torch.stack(outputs, dim=1)
        else:
            y = self.unit(x)[0]
        return (self.head(y), h) if self.every else self.head(y[:, -1])


def by_autograd(module, x, lags, loss=torch.sum, time=1):
    """Each sequence by itself, from the definition."""
    norms = []
    for i in range(x.shape[1 - time]):
        one = x.narrow(1 - time, i, 1).detach().requires_grad_()
        y = module(one)
        y = y[0] if isinstance(y, tuple) else y
        y = y.select(time, -1) if y.dim() > 2 else y
        (gradient,) = torch.autograd.grad(loss(y), one)
        norms.append(gradient.select(1 - time, 0).norm(dim=-1))
    return torch.stack(norms).mean(0)[-1 - torch.as_tensor(lags)]


@pytest.mark.parametrize(
    "module",
    [
        Own(BMRU(3, 4, num_layers=2, batch_first=True)),
        Own(GRU(3, 4, batch_first=True)),
        Own(nn.GRU(3, 4, batch_first=True)),
        nn.GRU(3, 4, batch_first=True, dropout=0.5, num_layers=2).double(),
        Own(BMRUCell(3, 4), every=False),
    ],
    ids=["bmru", "gru", "torch's gru", "torch's gru alone", "cell"],
)
def test_of_any_module_it_is_the_gradient_at_the_inputs(module):
    torch.manual_seed(0)
    x = torch.randn(3, 20, 3, dtype=torch.float64)
    lags, norms = gradient_by_lag(module, x, [1, 5, 19])
    assert lags.tolist() == [1, 5, 19]
    assert module.training
    module.eval()
    torch.testing.assert_close(norms, by_autograd(module, x, [1, 5, 19]))
    assert norms[0] > 0
    assert all(p.grad is None for p in module.parameters())
    module.train()


def test_several_arguments_a_loss_and_time_first():
    torch.manual_seed(0)
    module, x = Own(nn.GRU(3, 4), every=False), torch.randn(20, 3, 3, dtype=torch.float64)
    alone = module.unit
    lags, norms = gradient_by_lag(alone, x, batch_first=False, loss=lambda y: y.square().sum(1))
    torch.testing.assert_close(norms, by_autograd(alone, x, lags, lambda y: y.square().sum(), time=0))
    unit = BMRU(3, 4).double()
    for name in ("lags", "norms"):
        same = gradient_by_lag(unit, x.transpose(0, 1)), gradient_by_lag(unit, x, batch_first=False)
        assert torch.equal(*(getattr(found, name) for found in same))
    scaled = Own(nn.GRU(3, 4, batch_first=True))
    _, once = gradient_by_lag(scaled, x)
    torch.testing.assert_close(gradient_by_lag(scaled, (x, 1.0)).norms, once)


def test_of_tokens_it_is_the_gradient_at_their_embeddings():
    torch.manual_seed(0)
    module, x = Own(BMRU(3, 4, batch_first=True), tokens=True), torch.randint(5, (2, 12))
    lags, norms = gradient_by_lag(module, x)
    embedded = module.first(x)
    after = nn.Sequential(module.unit)
    expected = by_autograd(lambda e: module.head(after(e)[0][:, -1]), embedded, lags)
    torch.testing.assert_close(norms, expected)
    with pytest.raises(
        ValueError, match=r"`module` must embed whole tokens by an nn.Embedding, got none that does in C"
    ):
        gradient_by_lag(Chosen(), x)


class Chosen(nn.Module):
    """Gives what it is told to."""

    def __init__(self, give=lambda x: x):
        super().__init__()
        self.give = give

    def forward(self, x):
        return self.give(x)


@pytest.mark.parametrize(
    ("module", "x", "error", "message"),
    [
        (3, torch.zeros(2, 9, 1), TypeError, r"`module` must be a torch.nn.Module, got int"),
        (Chosen(), [], TypeError, r"`x` must be a torch.Tensor, or begin with one, got list"),
        (Chosen(), torch.zeros(9), ValueError, r"`x` must have the axes B and T and be not empty, got shape \(9,\)"),
        (Chosen(), torch.zeros(2, 1, 3), ValueError, "`x` must have at least two steps, got T=1"),
        (
            Chosen(lambda x: None),
            torch.zeros(2, 9, 3),
            TypeError,
            "`module` must give a torch.Tensor, .*, got NoneType",
        ),
        (
            Chosen(lambda x: x.transpose(0, 1)),
            torch.zeros(2, 9, 3),
            ValueError,
            r"`module` must give \(B, T, W\), or \(B, W\) .*, where B=2 with batch_first=True, got \(9, 2, 3\)",
        ),
        (Chosen(lambda x: x.sum()), torch.zeros(2, 9, 3), ValueError, r"`module` must give .*, got \(\)"),
    ],
)
def test_what_any_module_is_given_or_gives_is_refused_by_name(module, x, error, message):
    with pytest.raises(error, match=message):
        gradient_by_lag(module, x)
