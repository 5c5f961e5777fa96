"""The interface of `torch.nn.GRU`: its documentation's example, its errors in its words, its attributes, a swap."""

import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from remanent import BMRU, CELLS, CMRU, FQBMRU, LRU, UNITS
from unit_cases import (
    CASES,
    WITH_EPSILON,
    D,
    M,
    case_id,
    each,
    equations,
    fitting,
    kind,
    make,
    parts,
    random_like,
    random_state,
    sized,
)


@pytest.mark.parametrize("name", UNITS)
def test_the_example_of_torch_runs(name):
    """`rnn = nn.GRU(10, 20, 2)` and what follows, as torch's documentation has it."""
    rnn = sized(UNITS, name, 10, 20, 2)
    input = torch.randn(5, 3, 10)
    h0 = each(lambda v: random_like(rnn, v), rnn(input)[1])
    output, hn = rnn(input, h0)
    assert output.shape == (5, 3, 20)
    assert all(v.shape == (2, 3, 20) for v in parts(hn))
    assert output.dtype == torch.float32
    by_name = UNITS[name](input_size=10, hidden_size=20, num_layers=2, batch_first=True, **fitting(name, 20))
    again, _ = by_name(input.transpose(0, 1))
    assert again.shape == (3, 5, 20)


@pytest.mark.parametrize("name", UNITS)
def test_the_example_of_torchs_cell_runs(name):
    """`rnn = nn.GRUCell(10, 20)` and the loop over time after it."""
    rnn = sized(CELLS, name, 10, 20)
    input = torch.randn(6, 3, 10)
    hx = each(lambda v: random_like(rnn, v), rnn(input[0]))
    output = []
    for i in range(6):
        hx = rnn(input[i], hx)
        output.append(hx)
    assert all(v.shape == (3, 20) for h in output for v in parts(h))


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (3, False), (1, True), (3, True)])
def test_shapes_are_those_of_torch(name, num_layers, bidirectional):
    theirs = nn.GRU(M, D, num_layers, True, True, 0.0, bidirectional, device=None, dtype=torch.float64)
    mine = sized(UNITS, name, M, D, num_layers, True, True, 0.0, bidirectional, None, torch.float64)
    for x in (torch.randn(3, 7, M, dtype=torch.float64), torch.randn(7, M, dtype=torch.float64)):
        (y, h), (expected, h_expected) = mine(x), theirs(x)
        assert y.shape == expected.shape
        assert all(v.shape == h_expected.shape for v in parts(h))
    for attribute in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"):
        assert getattr(mine, attribute) == getattr(theirs, attribute)
    suffixes = [{re.search(r"_l\d(_reverse)?$", key)[0] for key in unit.state_dict()} for unit in (mine, theirs)]
    assert suffixes[0] == suffixes[1]
    assert len(mine.all_weights) == len(theirs.all_weights)
    mine.flatten_parameters()


@pytest.mark.parametrize("name", UNITS)
def test_the_last_states_lie_as_in_torch(name):
    """Layer by layer, in each the forward direction first; the last of the outputs are the last layer's."""
    unit = make(name, num_layers=2, bidirectional=True)
    x = torch.randn(3, 7, M, dtype=torch.float64)
    y, h_n = unit(x)
    if unit.state_dtype.is_complex:  # its output is not its state
        return
    last = parts(h_n)[0].view(2, 2, 3, D)
    assert torch.equal(y[:, -1, :D], last[1, 0])
    assert torch.equal(y[:, 0, D:], last[1, 1])


@pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
def test_a_cell_is_a_layer_for_one_step_by_the_same_names(name, options):
    own = {k: v for k, v in options.items() if k not in ("num_layers", "dropout", "bidirectional")}
    unit = make(name, **own)
    cell = sized(CELLS, name, M, D, dtype=torch.float64, **own)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in unit.state_dict().items()})
    x = torch.randn(3, 9, M, dtype=torch.float64)
    h, outputs = None, []
    for x_t in x.unbind(1):
        h = cell(x_t, h)
        outputs.append(cell.readout(h, x_t))
    y, h_n = unit(x)
    torch.testing.assert_close(torch.stack(outputs, 1), y, rtol=0, atol=1e-12)
    for mine, theirs in zip(parts(h), parts(h_n), strict=True):
        torch.testing.assert_close(mine, theirs[0], rtol=0, atol=1e-12)
    alone = cell(x[0, 0], each(lambda v: v[0], h))
    torch.testing.assert_close(parts(alone)[0], parts(cell(x[:, 0], h))[0][0], rtol=0, atol=1e-12)
    assert cell.state_dtype == unit.state_dtype


@pytest.mark.parametrize("name", UNITS)
def test_real_zeros_begin_any_unit(name):
    """Code written for other units begins with real zeros, for an LRU's complex state too."""
    unit, x = sized(UNITS, name, M, D, num_layers=2), torch.randn(5, 3, M)
    zeros = torch.zeros(2, 3, D)
    hx = (zeros,) * kind(name).state_parts if kind(name).state_parts > 1 else zeros
    assert torch.equal(unit(x, hx)[0], unit(x)[0])
    cell = sized(CELLS, name, M, D)
    assert torch.equal(parts(cell(x[0], each(lambda v: v[0], hx)))[0], parts(cell(x[0]))[0])


@pytest.mark.parametrize("name", UNITS)
def test_lengths_may_be_a_list(name):
    unit, x = make(name), torch.randn(3, 9, M, dtype=torch.float64)
    for lengths in ([9, 0, 4], (9, 0, 4), torch.tensor([9, 0, 4], dtype=torch.int32)):
        assert torch.equal(unit(x, lengths=lengths)[0], unit(x, lengths=torch.tensor([9, 0, 4]))[0])


@pytest.mark.parametrize("name", UNITS)
def test_results_may_be_viewed_and_states_edited_as_those_of_torch(name):
    unit, x = sized(UNITS, name, M, D, num_layers=2), torch.randn(5, 3, M)
    y, h_n = unit(x)
    assert y.view(-1, D).shape == (15, D)
    for h in parts(h_n):
        h.view(-1)
        h[:, torch.tensor([True, False, True])] = 0
    again, _ = unit(x, h_n)
    (y.sum() + again.sum()).backward()
    if name not in ("lstm", "fq_bmru", "mru", "min_gru", "min_lstm"):  # documented; torch refuses its LSTM's too
        y, _ = unit(x)
        y += 1
        y.sum().backward()


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("cell", [False, True])
def test_reset_parameters_draws_what_the_constructor_draws(name, cell):
    torch.manual_seed(0)
    unit = sized(CELLS if cell else UNITS, name, M, D)
    before = {key: value.clone() for key, value in unit.state_dict().items()}
    with torch.no_grad():
        for parameter in unit.parameters():
            parameter.fill_(torch.nan)
    torch.manual_seed(0)
    unit.reset_parameters()
    assert all(torch.equal(before[key], value) for key, value in unit.state_dict().items())


class Tagger(nn.Module):
    """A small model as people write it against `nn.GRU`."""

    def __init__(self, rnn):
        super().__init__()
        self.embedding = nn.Embedding(12, 16, padding_idx=0)
        self.rnn = rnn(16, 24, num_layers=2, batch_first=True, dropout=0.2, bidirectional=True)
        self.head = nn.Linear(48, 3)

    def forward(self, tokens, lengths):
        self.rnn.flatten_parameters()
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        output, _ = self.rnn(packed)
        padded, _ = pad_packed_sequence(output, batch_first=True)
        return self.head(padded)


@pytest.mark.parametrize("rnn", [nn.GRU, BMRU], ids=["GRU", "BMRU"])
def test_a_model_written_against_gru_trains_unchanged(rnn):
    """Tags each token by the one that a sequence began with, which takes memory."""
    torch.manual_seed(0)
    model = Tagger(rnn)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(150):
        lengths = torch.randint(3, 12, (32,))
        tokens = torch.randint(1, 12, (32, int(lengths.max())))
        real = torch.arange(tokens.shape[1]) < lengths[:, None]
        target = (tokens[:, :1] % 3).expand_as(tokens)
        scores = model(tokens.masked_fill(~real, 0), lengths)
        loss = nn.functional.cross_entropy(scores[real], target[real])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    accuracy = (model(tokens.masked_fill(~real, 0), lengths).argmax(-1) == target)[real].float().mean()
    assert accuracy > 0.9  # chance is a third


X = torch.zeros(5, 2, M)  # time first, as is torch's default
LONG = pack_padded_sequence(torch.zeros(5, 2, M + 1), [5, 3])
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that torch may change them
    NESTED, JAGGED = (
        torch.nested.nested_tensor([torch.zeros(5, M), torch.zeros(3, M)], layout=layout)
        for layout in (torch.strided, torch.jagged)
    )
CALLS = {
    "rank": ([torch.zeros(2, 5, 4, 4)], {}, ValueError, r"`input` must have 2 or 3 axes, got \(2, 5, 4, 4\)"),
    "rank one": ([torch.zeros(4)], {}, ValueError, r"`input` must have 2 or 3 axes, got \(4,\)"),
    "width": ([X[..., :3]], {}, RuntimeError, r"`input` must have shape \(T, B, M=4\), got \(5, 2, 3\)"),
    "width of one": ([X[0, :, :3]], {}, RuntimeError, r"`input` must have shape \(T, M=4\), got \(2, 3\)"),
    "width packed": ([LONG], {}, RuntimeError, r"`input` must have shape \(N, M=4\), got \(8, 5\)"),
    "no steps": ([X[:0]], {}, RuntimeError, "`input` must have at least one time step, got T=0"),
    "dtype": ([X.double()], {}, ValueError, "`input` must have the dtype of the weights, torch.float32, got torch.flo"),
    "state": ([X, torch.zeros(1, 3, D)], {}, RuntimeError, r"`hx` must have shape \(1, B=2, D=6\), got \(1, 3, 6\)"),
    "flat state": ([X, torch.zeros(2, D)], {}, RuntimeError, r"`hx` must have shape \(1, B=2, D=6\), got \(2, 6\)"),
    "deep state": ([X[0], torch.zeros(1, 2, D)], {}, RuntimeError, r"`hx` must have shape \(1, D=6\), got \(1, 2, 6\)"),
    "packed state": (
        [pack_padded_sequence(X, [5, 3]), torch.zeros(1, 3, D)],
        {},
        RuntimeError,
        r"`hx` must have shape \(1, B=2, D=6\), got \(1, 3, 6\)",
    ),
}
ONE_STATE = [  # the others' are complex, or two
    name
    for name in UNITS
    if kind(name).state_parts == 1 and not equations(name, {}).state_dtype(torch.float32).is_complex
]


WORDS = {
    "rank": "GRU: Expected input to be 2D or 3D, got 4D instead",
    "rank one": "GRU: Expected input to be 2D or 3D, got 1D instead",
    "width": "input.size(-1) must be equal to input_size. Expected 4, got 3",
    "width of one": "input.size(-1) must be equal to input_size. Expected 4, got 3",
    "width packed": "input.size(-1) must be equal to input_size. Expected 4, got 5",
    "no steps": "Expected sequence length to be larger than 0 in RNN",
    "dtype": "RNN input dtype (torch.float64) does not match weight dtype (torch.float32). Convert input: "
    "input.to(torch.float32), or convert model: model.to(torch.float64)",
    "state": "Expected hidden size (1, 2, 6), got [1, 3, 6]",
    "flat state": "For batched 3-D input, hx should also be 3-D but got 2-D tensor",
    "deep state": "For unbatched 2-D input, hx should also be 2-D but got 3-D tensor",
    "packed state": "Expected hidden size (1, 2, 6), got [1, 3, 6]",
}
"""How torch 2.13 says it; other versions have words of their own for some."""


def torchs_error(call, words):
    """What torch raises, in these words where they are those of its version; None where a version accepts the call."""
    pinned = torch.__version__.startswith("2.13.")
    error = None
    try:
        call()
    except Exception as raised:
        error = raised
    assert not pinned or words in str(error)
    return error


@pytest.mark.parametrize("name", ONE_STATE)
@pytest.mark.parametrize("call", CALLS)
def test_torchs_errors_in_its_words_and_ours(name, call):
    args, options, error, message = CALLS[call]
    theirs = torchs_error(lambda: nn.GRU(M, D)(*args, **options), WORDS[call])
    with pytest.raises(error, match=message) as mine:
        sized(UNITS, name, M, D)(*args, **options)
    assert theirs is None or isinstance(mine.value, type(theirs))
    assert WORDS[call].replace("GRU:", f"{UNITS[name].__name__}:") in str(mine.value)


PROBABILITY = "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
CONSTRUCTIONS = {
    "input type": (
        {"input_size": 2.0},
        TypeError,
        "must be an int, got float: input_size should be of type int, got: float",
    ),
    "input size": ({"input_size": 0}, ValueError, "must be at least 1, got 0: input_size must be greater than zero"),
    "hidden type": (
        {"hidden_size": "8"},
        TypeError,
        "must be an int, got str: hidden_size should be of type int, got: str",
    ),
    "hidden size": (
        {"hidden_size": -1},
        ValueError,
        "must be at least 1, got -1: hidden_size must be greater than zero",
    ),
    "layers": ({"num_layers": 0}, ValueError, "must be at least 1, got 0: num_layers must be greater than zero"),
    "bias": ({"bias": 1}, TypeError, "must be a bool, got int: bias should be of type bool, got: int"),
    "batch_first": (
        {"batch_first": None},
        TypeError,
        "must be a bool, got NoneType: batch_first should be of type bool, got: NoneType",
    ),
    "dropout": ({"dropout": 1.5}, ValueError, f"must be in [0, 1], got 1.5: {PROBABILITY}"),
    "dropout bool": ({"dropout": True}, ValueError, f"must be in [0, 1], got True: {PROBABILITY}"),
}


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("case", CONSTRUCTIONS)
def test_bad_sizes_are_refused_as_torch_does(name, case):
    options, error, message = CONSTRUCTIONS[case]
    (option,) = options
    options = {"input_size": M, "hidden_size": D} | options
    theirs = torchs_error(lambda: nn.GRU(**options), message.partition(": ")[2])
    with pytest.raises(error) as mine:
        UNITS[name](**options)
    assert str(mine.value) == f"`{option}` {message}"
    assert theirs is None or isinstance(theirs, error)


@pytest.mark.parametrize("name", UNITS)
def test_dropout_of_one_layer_warns_as_torch_does(name):
    with pytest.warns(UserWarning, match="dropout option adds dropout") as theirs:
        nn.GRU(M, D, dropout=0.5)
    with pytest.warns(UserWarning, match="dropout option adds dropout") as mine:
        UNITS[name](M, D, dropout=0.5, **fitting(name, D))
    assert str(mine[0].message) == str(theirs[0].message)
    assert mine[0].filename == __file__


BAD = {
    "type": ([[1.0]], {}, TypeError, "`input` must be a torch.Tensor, got list"),
    "integers": ([X.long()], {}, TypeError, "`input` must have the dtype of the weights, torch.float32, got torch.int"),
    "device": ([X.to("meta")], {}, ValueError, "`input` must be on the device of the weights, cpu, got meta"),
    "reset dtype": (
        [X],
        {"reset": torch.full((2, 5), torch.nan)},
        TypeError,
        "`reset` must have dtype bool, got float32 with NaN",
    ),
    "reset shape": (
        [X],
        {"reset": torch.zeros(5, 2, dtype=torch.bool)},
        ValueError,
        r"`reset` must have shape \(B=2, T=5\), got \(5, 2\)",
    ),
    "reset type": ([X], {"reset": [True]}, TypeError, "`reset` must be a torch.Tensor, got list"),
    "reset of one": (
        [X[0]],
        {"reset": torch.zeros(1, 2, dtype=torch.bool)},
        ValueError,
        r"`reset` must have shape \(T=2,\), got \(1, 2\)",
    ),
    "reset packed": (
        [pack_padded_sequence(X, [4, 3])],
        {"reset": torch.zeros(2, 5, dtype=torch.bool)},
        ValueError,
        r"`reset` must have shape \(B=2, T=4\), got \(2, 5\)",
    ),
    "reset state alone": (
        [X],
        {"reset_state": torch.zeros(1, 2, 5, D)},
        ValueError,
        "`reset_state` must come with `reset`, got `reset_state` alone",
    ),
    "reset state shape": (
        [X],
        {"reset": torch.zeros(2, 5, dtype=torch.bool), "reset_state": torch.zeros(1, 5, 2, D)},
        ValueError,
        r"`reset_state` must have shape \(1, B=2, T=5, D=6\), got \(1, 5, 2, 6\)",
    ),
    "reset device": (
        [X],
        {"reset": torch.zeros(2, 5, dtype=torch.bool, device="meta")},
        ValueError,
        "`reset` must be on device cpu, got meta",
    ),
    "lengths type": (
        [X],
        {"lengths": [5, 3.0]},
        TypeError,
        r"`lengths` must be a torch.Tensor or a list of ints, got \[5",
    ),
    "lengths dtype": (
        [X],
        {"lengths": torch.ones(2)},
        TypeError,
        "`lengths` must have dtype int64 or int32, got torch",
    ),
    "lengths shape": (
        [X],
        {"lengths": torch.ones(3, dtype=torch.int64)},
        ValueError,
        r"`lengths` must have shape \(B=2,\), got \(3,\)",
    ),
    "lengths low": ([X], {"lengths": torch.tensor([-1, 9])}, ValueError, r"`lengths` must be in \[0, T=5\], got -1"),
    "lengths high": ([X], {"lengths": torch.tensor([5, 6])}, ValueError, r"`lengths` must be in \[0, T=5\], got 6"),
    "lengths of one": (
        [X[0]],
        {"lengths": torch.tensor([2])},
        ValueError,
        r"`lengths` must come with a batch of sequences, got one of shape \(2, 4\)",
    ),
    "lengths packed": (
        [pack_padded_sequence(X, [5, 3])],
        {"lengths": torch.tensor([5, 3])},
        ValueError,
        "`lengths` must be None for a PackedSequence",
    ),
    "packed rank": (
        [pack_padded_sequence(torch.zeros(5, 2, M, 1), [5, 3])],
        {},
        ValueError,
        r"`input` must hold steps \(N, M\), got \(8, 4, 1\)",
    ),
    "sparse": ([X.to_sparse()], {}, TypeError, "`input` must be a dense tensor, got one of layout torch.sparse_coo"),
    "nested": ([NESTED], {}, TypeError, "`input` must be a dense tensor, got a nested tensor"),
    "jagged": ([JAGGED], {}, TypeError, "`input` must be a dense tensor, got a nested tensor"),
    "sparse reset": (
        [X],
        {"reset": torch.ones(2, 5, dtype=torch.bool).to_sparse()},
        TypeError,
        "`reset` must be a dense tensor, got one of layout torch.sparse_coo",
    ),
    "sparse lengths": (
        [X],
        {"lengths": torch.tensor([5, 3]).to_sparse()},
        TypeError,
        "`lengths` must be a dense tensor, got one of layout torch.sparse_coo",
    ),
    "sparse state": ([X, "sparse"], {}, TypeError, "must be a dense tensor, got one of layout torch.sparse_coo"),
    "state type": ([X, 0.0], {}, TypeError, "`hx` must be a"),
    "state dtype": ([X, "int"], {}, TypeError, "must have dtype torch"),
    "state device": ([X, "meta"], {}, ValueError, "must be on the device of the input, cpu, got meta"),
}


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(name, case):
    (input, *state), options, error, message = BAD[case]
    unit = sized(UNITS, name, M, D)
    if state and isinstance(state[0], str):
        kind, (_, h) = state[0], unit(X)
        change = {"int": lambda v: v.abs().int(), "sparse": lambda v: v.detach().to_sparse()}
        state = [each(change.get(kind, lambda v: v.detach().to(kind)), h)]
    before = {key: value.clone() for key, value in unit.state_dict().items()}
    with pytest.raises(error, match=message):
        unit(input, *state, **options)
    assert all(torch.equal(before[key], value) for key, value in unit.state_dict().items())


@pytest.mark.parametrize("name", UNITS)
def test_bad_steps_are_refused_by_name(name):
    unit = sized(UNITS, name, M, D)
    with pytest.raises(ValueError, match=r"`x_t` must have 1 or 2 axes, got \(5, 2, 4\)"):
        unit.step(X)
    with pytest.raises(ValueError, match=r"`x_t` must have shape \(B, M=4\), got \(2, 3\)"):
        unit.step(X[0, :, :3])
    _, h = unit(X)
    with pytest.raises(ValueError, match=r"must have shape \(1, B=2, D=6\), got \(2, 6\)"):
        unit.step(X[0], each(lambda v: v[0], h))
    with pytest.raises(ValueError, match=r"`reset` must have shape \(B=2,\), got \(3,\)"):
        unit.step(X[0], h, reset=torch.zeros(3, dtype=torch.bool))
    with pytest.raises(TypeError, match="`reset` must have dtype bool, got float32"):
        unit.step(X[0], h, reset=torch.zeros(2))
    with pytest.raises(ValueError, match="`step` must be called on a unit of one direction, got bidirectional=True"):
        sized(UNITS, name, M, D, bidirectional=True).step(X[0])


@pytest.mark.parametrize("name", CELLS)
def test_bad_cells_are_refused_by_name(name):
    cell = sized(CELLS, name, M, D)
    with pytest.raises(ValueError, match=r"`input` must have 1 or 2 axes, got \(5, 2, 4\)") as mine:
        cell(X)
    words = "Expected input to be 1D or 2D, got 3D instead"
    assert isinstance(torchs_error(lambda: nn.GRUCell(M, D)(X), words), ValueError)
    assert f"{type(cell).__name__}: {words}" in str(mine.value)
    with pytest.raises(RuntimeError, match=r"`input` must have shape \(B, M=4\), got \(2, 3\)"):
        cell(X[0, :, :3])
    with pytest.raises(TypeError, match="`hx` must be a"):
        cell(X[0], 1.0)
    h = cell(X[0])
    with pytest.raises(ValueError, match=r"must have shape \(B=2, D=6\), got \(1, 6\)"):
        cell(X[0], each(lambda v: v[:1], h))
    with pytest.raises(ValueError, match=r"must have shape \(D=6,\), got \(2, 6\)$"):
        cell(X[0, 0], h)
    with pytest.raises(ValueError, match=r"must have shape \(B=2, D=6\), got \(6,\)$"):
        cell(X[0], each(lambda v: v[0], h))
    with pytest.raises(TypeError, match="`bias` must be a bool, got int"):
        CELLS[name](M, D, 1)
    with pytest.raises(ValueError, match="`hidden_size` must be at least 1, got 0"):
        CELLS[name](M, 0)


CELL_CALLS = {
    "width": ([torch.zeros(3, M + 1)], "`input` must have shape (B, M=4), got (3, 5)"),
    "width of one": ([torch.zeros(M + 1)], "`input` must have shape (M=4,), got (5,)"),
    "rank": ([torch.zeros(2, 3, M)], "`input` must have 1 or 2 axes, got (2, 3, 4)"),
    "state width": ([X[0], torch.zeros(2, D + 1)], "must have shape (B=2, D=6), got (2, 7)"),
    "state batch": ([X[0], torch.zeros(3, D)], "must have shape (B=2, D=6), got (3, 6)"),
    "state rank": ([X[0], torch.zeros(1, 1, 2, D)], "must have shape (B=2, D=6), got (1, 1, 2, 6)"),
    "state width of one": ([X[0, 0], torch.zeros(D + 1)], "must have shape (D=6,), got (7,)"),
}
CELL_WORDS = {
    "width": "input has inconsistent input_size: got 5 expected 4",
    "width of one": "input has inconsistent input_size: got 5 expected 4",
    "rank": "Cell: Expected input to be 1D or 2D, got 3D instead",
    "state width": "hidden0 has inconsistent hidden_size: got 7, expected 6",
    "state batch": "Input batch size 2 doesn't match hidden0 batch size 3",
    "state rank": "to be 1D or 2D, got 4D instead",
    "state width of one": "hidden0 has inconsistent hidden_size: got 7, expected 6",
}


@pytest.mark.parametrize("name", [*ONE_STATE, "lstm"])
@pytest.mark.parametrize("call", CELL_CALLS)
def test_torchs_errors_of_cells_in_its_words_and_ours(name, call):
    (input, *state), message = CELL_CALLS[call]
    state = [(h, h) if name == "lstm" else h for h in state]
    cell = (nn.LSTMCell if name == "lstm" else nn.GRUCell)(M, D)
    theirs = torchs_error(lambda: cell(input, *state), CELL_WORDS[call])
    with pytest.raises(type(theirs)) as mine:
        sized(CELLS, name, M, D)(input, *state)
    assert message in str(mine.value)
    assert CELL_WORDS[call] in str(mine.value)
    if call == "state rank":
        part = "hx[0]" if name == "lstm" else "hidden"
        assert f": {CELLS[name].__name__}: Expected {part} to be 1D or 2D" in str(mine.value)


STATES = {name: ", ".join(kind(name).initial_states) for name in UNITS if kind(name).initial_states}


@pytest.mark.parametrize("kinds", [UNITS, CELLS], ids=["unit", "cell"])
@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("mru", {"epsilon": 1.5}, ValueError, r"`epsilon` must be in \[0, 1\], got 1.5"),
        ("mru", {"num_states": 1}, ValueError, "`num_states` must be at least 2, got 1"),
        ("mru", {"num_states": 256}, ValueError, r"`num_states` must be in \[2, 255\], got 256"),
        ("mru", {"num_states": 2.0}, TypeError, "`num_states` must be an int, got 2.0"),
        ("mru", {"num_tracers": 0}, ValueError, "`num_tracers` must be at least 1, got 0"),
        (
            "mru",
            {"num_states": 2},
            ValueError,
            "`hidden_size` must be a multiple of 2 tracers times 2 .*, got 6",
        ),
        ("bmru", {"epsilon": -0.1}, ValueError, r"`epsilon` must be in \[0, 1\], got -0.1"),
        ("cmru", {"epsilon": "1"}, TypeError, "`epsilon` must be a number, got str"),
        ("alpha_cmru", {"epsilon": 2}, ValueError, r"`epsilon` must be in \[0, 1\], got 2"),
        ("lru", {"r_min": "a"}, TypeError, "`r_min` must be a number, got str"),
        ("lru", {"r_min": 0.999}, ValueError, r"`r_min` must be in \[0, 0.999\), got 0.999"),
        ("bmru", {"width": 0.0}, ValueError, r"`width` must be in \(0, inf\), got 0.0"),
        ("fq_bmru", {"width": -1.0}, ValueError, r"`width` must be in \(0, inf\), got -1.0"),
        ("lru", {"r_max": 1.0}, ValueError, r"`r_max` must be in \(0, 1\), got 1.0"),
        *(
            (name, {"initial_state": "ones"}, ValueError, f"`initial_state` must be one of {choices}, got 'ones'")
            for name, choices in STATES.items()
        ),
    ],
)
def test_bad_options_are_refused_by_name(kinds, name, options, error, message):
    with pytest.raises(error, match=message):
        kinds[name](M, D, **options)


@pytest.mark.parametrize("name", UNITS)
def test_an_empty_batch_has_gradients_of_zero(name):
    """As `torch.nn.GRU` gives them; none is left out."""
    unit = sized(UNITS, name, M, D, num_layers=2, bidirectional=True)
    x = torch.zeros(5, 0, M, requires_grad=True)
    for options in ({}, {"reset": torch.zeros(0, 5, dtype=torch.bool)}, {"lengths": []}):
        y, h_n = unit(x, **options)
        assert y.shape == (5, 0, 2 * D)
        grads = torch.autograd.grad(y.sum() + sum(h.abs().sum() for h in parts(h_n)), [x, *unit.parameters()])
        assert all(not g.any() for g in grads)
    y, _ = sized(UNITS, name, M, D).step(x[0])
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape


@pytest.mark.parametrize("name", WITH_EPSILON)
def test_epsilon_changes_between_steps_and_is_no_part_of_the_state_dict(name):
    unit, x = make(name, epsilon=1.0), torch.randn(2, 40, M, dtype=torch.float64)
    for epsilon in (1.0, 0.5, 0.0):
        unit.epsilon = epsilon
        fresh = make(name, epsilon=epsilon)
        assert torch.equal(unit(x)[0], fresh(x)[0])
        assert unit.epsilon == epsilon
    cell = sized(CELLS, name, M, D, dtype=torch.float64)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in unit.state_dict().items()})
    for epsilon in (0.5, 0.0):
        cell.epsilon = unit.epsilon = epsilon
        h = random_state(unit, 2)
        assert torch.equal(cell(x[:, 0], h[0]), unit.step(x[:, 0], h)[0])
    assert not any("epsilon" in key for key in unit.state_dict())
    with pytest.raises(ValueError, match=r"`epsilon` must be in \[0, 1\], got 1.1"):
        unit.epsilon = 1.1
    assert unit.epsilon == 0


def test_a_cumulative_unit_annealed_to_zero_loads_as_a_plain_bmru():
    trained, x = make("cmru"), torch.randn(2, 40, M, dtype=torch.float64)
    trained.epsilon = 0.0
    plain = BMRU(M, D, batch_first=True, dtype=torch.float64)
    plain.load_state_dict(trained.state_dict())
    assert torch.equal(plain(x)[0], trained(x)[0])


def test_states_of_a_cumulative_unit_are_multiples_of_alpha():
    unit = CMRU(M, D)
    with torch.no_grad():
        unit.alpha_l0.fill_(0.25)
    y, _ = unit(2 * torch.randn(500, 3, M))
    assert torch.equal(y / 0.25, (y / 0.25).round())
    assert y.abs().max() > 1


def test_states_of_a_first_quadrant_unit_are_zero_and_alpha():
    unit = make("fq_bmru")
    y, _ = unit(2 * torch.randn(3, 500, M, dtype=torch.float64))
    high = y == unit.alpha_l0.abs()
    assert torch.equal(high | (y == 0), torch.ones_like(high))
    assert 0.05 < high.double().mean() < 0.95


def test_repr_shows_what_is_not_default():
    assert repr(BMRU(2, 3)) == "BMRU(2, 3)"
    assert repr(CMRU(2, 3)) == "CMRU(2, 3)"
    assert repr(LRU(2, 3, r_min=0.5)) == "LRU(2, 3, r_min=0.5)"
    shown = repr(FQBMRU(2, 3, num_layers=2, bias=False, batch_first=True, dropout=0.1, bidirectional=True))
    assert shown == "FQBMRU(2, 3, num_layers=2, bias=False, batch_first=True, dropout=0.1, bidirectional=True)"
    shown = repr(BMRU(2, 3, epsilon=0.5, width=2.0, initial_state="learned"))
    assert shown == "BMRU(2, 3, epsilon=0.5, width=2.0, initial_state='learned')"
    assert repr(CELLS["bmru"](2, 3, bias=False)) == "BMRUCell(2, 3, bias=False)"


@pytest.mark.parametrize("name", UNITS)
def test_learned_initial_states_get_gradients_and_are_used_after_a_reset(name):
    if not kind(name).initial_states:
        with pytest.raises(TypeError, match="initial_state"):
            UNITS[name](M, D, initial_state="learned")
        return
    unit = make(name, initial_state="learned", num_layers=2)
    reset = torch.zeros(2, 5, dtype=torch.bool)
    reset[:, 3] = True
    x = torch.zeros(2, 5, M, dtype=torch.float64)
    y, h_n = unit(x, torch.full((2, 2, D), torch.nan, dtype=torch.float64), reset=reset)
    assert y[:, 3:].isfinite().all()
    assert torch.equal(unit(x[:, 3:])[1], h_n)
    grads = torch.autograd.grad(h_n.sum(), [unit.h0_l0, unit.h0_l1])
    assert all(g.isfinite().all() for g in grads)
    assert any(g.any() for g in grads)


@pytest.mark.parametrize("name", ["bmru", "cmru"])
def test_a_low_start_is_what_a_negative_candidate_writes(name):
    unit = make(name, initial_state="low")
    x = torch.zeros(1, 3, M, dtype=torch.float64)
    with torch.no_grad():
        unit.bias_ih_l0.copy_(torch.cat([torch.zeros(D), torch.ones(D)]))  # a zero input is held
    y, _ = unit(x)
    assert torch.equal(y, -unit.alpha_l0.expand(1, 3, D))
    assert torch.autograd.grad(y.sum(), unit.alpha_l0)[0].tolist() == [-3.0] * D


def test_initial_parameters_are_those_of_the_specification():
    unit = BMRU(16, 32, initial_state="learned")
    assert unit.bias_ih_l0[:32].eq(0).all()
    plain = BMRU(16, 32, write_span=None)
    assert torch.equal(plain.bias_ih_l0, torch.cat([torch.zeros(32), torch.ones(32)]))
    assert torch.equal(unit.alpha_l0, torch.ones(32))
    assert torch.equal(unit.h0_l0.abs(), torch.ones(32))
    assert 0 < (unit.h0_l0 > 0).sum() < 32
    assert unit.weight_ih_l0.abs().max() <= 0.25
    radius = torch.exp(-torch.exp(LRU(4, 500).nu_log_l0))
    assert radius.min() >= 0.9
    assert radius.max() <= 0.999


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("ring", [(0.0, 0.999), (0.0, 1e-200), (0.999999, 0.99999999)], ids=str)
def test_eigenvalues_on_any_ring_have_finite_logarithms_in_any_dtype(ring, dtype):
    """A radius that is drawn or rounded to exactly 0 or 1 has none."""
    torch.manual_seed(0)
    unit = LRU(M, 2000, dtype=dtype, r_min=ring[0], r_max=ring[1])
    for name in ("nu_log_l0", "theta_log_l0", "gamma_log_l0"):
        assert getattr(unit, name).isfinite().all(), name
