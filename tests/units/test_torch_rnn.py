"""GRU and LSTM against torch's own: weights, values, states, gradients, packed sequences, both ways of running."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from helpers import assert_close
from remanent import GRU, LSTM, GRUCell, LSTMCell
from unit_cases import each, parts

PAIRS = {"gru": (GRU, nn.GRU), "lstm": (LSTM, nn.LSTM)}
CELLS = {"gru": (GRUCell, nn.GRUCell), "lstm": (LSTMCell, nn.LSTMCell)}
OPTIONS = [
    {},
    {"bias": False},
    {"num_layers": 3, "bidirectional": True, "batch_first": True},
    {"num_layers": 2, "dropout": 0.4},
]


def twins(name, **options):
    made = []
    for kind in PAIRS[name]:
        torch.manual_seed(0)
        made.append(kind(4, 6, dtype=torch.float64, **options))
    return made


def same(actual, expected):
    for a, b in zip(parts(actual), parts(expected), strict=True):
        assert_close(a.detach(), b.detach(), 1e-12, "state")


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_same_seed_gives_the_same_weights_by_the_same_names(name, options):
    mine, theirs = twins(name, **options)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(mine.state_dict()[key], value)
    assert [[w.shape for w in layer] for layer in mine.all_weights] == [
        [w.shape for w in layer] for layer in theirs.all_weights
    ]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("looped", [False, True], ids=["fused", "looped"])
def test_values_states_and_gradients_are_those_of_torch(name, options, given, looped):
    mine, theirs = (unit.eval() for unit in twins(name, **options))
    x = torch.randn(9, 3, 4, dtype=torch.float64, requires_grad=True)
    _, h = theirs(x)
    hx = each(lambda v: torch.randn_like(v), h) if given else None
    reset = None
    if looped:
        reset = torch.zeros(x.shape[1], x.shape[0], dtype=torch.bool)
        reset = reset.T if options.get("batch_first") else reset
    results = [mine(x, hx, reset=reset), theirs(x, hx)]
    same(results[0][0], results[1][0])
    same(results[0][1], results[1][1])
    grads = []
    for unit, (y, h_n) in zip((mine, theirs), results, strict=True):
        loss = y.square().sum() + sum(v.sin().sum() for v in parts(h_n))
        grads.append(torch.autograd.grad(loss, [x, *unit.parameters()]))
    for a, b in zip(*grads, strict=True):
        assert_close(a, b, 1e-12, "gradient")


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences_are_those_of_torch(name, options, enforce_sorted):
    mine, theirs = (unit.eval() for unit in twins(name, **options))
    lengths = [9, 4, 4, 1] if enforce_sorted else [4, 9, 1, 4]
    x = torch.randn(9, 4, 4, dtype=torch.float64)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
    _, h = theirs(packed)
    for hx in (None, each(torch.randn_like, h)):
        y, h_n = mine(packed, hx)
        expected, h_expected = theirs(packed, hx)
        assert_close(y.data, expected.data, 1e-12, "packed")
        assert torch.equal(pad_packed_sequence(y)[1], torch.tensor(lengths))
        same(h_n, h_expected)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_cells_are_those_of_torch(name, bias):
    made = []
    for kind in CELLS[name]:
        torch.manual_seed(0)
        made.append(kind(4, 6, bias, dtype=torch.float64))
    mine, theirs = made
    assert {k: v.tolist() for k, v in mine.state_dict().items()} == {
        k: v.tolist() for k, v in theirs.state_dict().items()
    }
    x = torch.randn(3, 4, dtype=torch.float64)
    h = theirs(x)
    same(mine(x), h)
    same(mine(x, h), theirs(x, h))
    same(mine(x[0], each(lambda v: v[0], h)), theirs(x[0], each(lambda v: v[0], h)))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit.*` is:DeprecationWarning")
def test_a_trace_does_not_depend_on_whether_gradients_were_on(name):
    unit, x = PAIRS[name][0](4, 6), torch.randn(5, 2, 4)
    traces, calls = [], []
    for on in (True, False):
        with torch.set_grad_enabled(on):
            traces.append(torch.jit.trace(unit, (x,), check_trace=False))
        values = [node for node in traces[-1].inlined_graph.nodes() if node.kind() == f"aten::{name}"]
        calls.append([[value.toIValue() for value in node.inputs()] for node in values])
    assert len(calls[0]) == 1
    assert calls[0] == calls[1]
    longer = torch.randn(9, 3, 4, requires_grad=True)
    expected = torch.autograd.grad(unit(longer)[0].square().sum(), longer)[0]
    torch.testing.assert_close(torch.autograd.grad(traces[1](longer)[0].square().sum(), longer)[0], expected)


def test_lstm_takes_no_projection():
    assert LSTM(4, 6, proj_size=0)(torch.zeros(5, 2, 4))[0].shape == (5, 2, 6)
    for size in (3, False, None):
        with pytest.raises(ValueError, match="`proj_size` must be 0, since this LSTM projects no states, got"):
            LSTM(4, 6, proj_size=size)


def test_weights_load_from_torch_and_back():
    theirs = nn.GRU(4, 6, num_layers=2, bidirectional=True)
    mine = GRU(4, 6, num_layers=2, bidirectional=True)
    mine.load_state_dict(theirs.state_dict())
    nn.GRU(4, 6, num_layers=2, bidirectional=True).load_state_dict(mine.state_dict())
    x = torch.randn(5, 2, 4)
    torch.testing.assert_close(mine(x)[0], theirs(x)[0])


def test_lstm_wants_both_states():
    with pytest.raises(TypeError, match="`hx` must be a tuple of 2 tensors, got Tensor"):
        LSTM(4, 6)(torch.zeros(5, 2, 4), torch.zeros(1, 2, 6))
    with pytest.raises(ValueError, match=r"`hx\[1\]` must have shape \(1, B=2, D=6\), got \(1, 2, 5\)"):
        LSTM(4, 6)(torch.zeros(5, 2, 4), (torch.zeros(1, 2, 6), torch.zeros(1, 2, 5)))
    with pytest.raises(TypeError, match="`hx` must be a tuple of 2 tensors, got Tensor"):
        LSTMCell(4, 6)(torch.zeros(2, 4), torch.zeros(2, 6))
