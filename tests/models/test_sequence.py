"""The sequence model: chunks and steps equal the whole, files come back, bad input is refused."""

import dataclasses
import gc
import itertools
import json
import warnings
from pathlib import Path

import pytest
import torch

from cases import rarely
from helpers import compiles
from model_cases import CONFIG, RECURRENT, VARIANTS, inputs, make
from remanent import Attention, Hybrid, SequenceModel
from remanent.models import ModelState
from remanent.units import BMRU, CMRU, LRU, UNITS


def nested():
    """Two sequences of 5 steps, in torch's own form for sequences of any lengths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it may change
        return torch.nested.nested_tensor([torch.zeros(5, 3), torch.zeros(5, 3)])


@pytest.mark.parametrize("options", VARIANTS)
def test_steps_and_chunks_equal_the_whole(options):
    model = make(**options)
    x = inputs(model)
    whole, _ = model(x)
    state = None
    outputs = []
    for x_t in x.unbind(1):
        y, state = model.step(x_t, state)
        outputs.append(y)
    stepped = torch.stack(outputs, 1) if model.config.head == "every" else outputs[-1]
    torch.testing.assert_close(stepped, whole, rtol=1e-10, atol=1e-12)
    first, state = model(x[:, :7])
    second, _ = model(x[:, 7:], state)
    chunked = torch.cat([first, second], 1) if model.config.head == "every" else second
    torch.testing.assert_close(chunked, whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_a_bmru_model_gives_the_same_bits_at_any_cut(dtype, size):
    model = make(dtype, hidden_size=64, head="every")
    x = inputs(model, 2, 2003)
    with torch.inference_mode():
        whole, _ = model(x)
        state, parts = None, []
        for chunk in x.split(size, dim=1):
            y, state = model(chunk, state) if size > 1 else model.step(chunk[:, 0], state)
            parts.append(y if size > 1 else y[:, None])
    assert torch.equal(torch.cat(parts, 1), whole)


@pytest.mark.parametrize(
    "options",
    [{}, {"unit": "bmru+lru", "gate": True, "conv_size": 3}, {"mlp": "none"}, {"dropout": 0.3, "num_layers": 1}],
    ids=str,
)
def test_a_head_that_reads_the_last_step_gives_what_it_would_give_at_every_step(options):
    model = make(torch.float32, hidden_size=16, **options).train()
    twin = make(torch.float32, hidden_size=16, head="every", **options).train()
    twin.load_state_dict(model.state_dict())
    x = inputs(model, 5, 33).requires_grad_()
    torch.manual_seed(0)
    y, state = model(x)
    torch.manual_seed(0)  # a dropout draws for the steps that are not read, too
    every, after = twin(x)
    assert torch.equal(y, every[:, -1])
    for units, expected in zip(state.layers, after.layers, strict=True):
        assert all(map(torch.equal, units, expected))
    grads = torch.autograd.grad(y.square().sum(), [x, *model.parameters()])
    expected = torch.autograd.grad(every[:, -1].square().sum(), [x, *twin.parameters()])
    for actual, right in zip(grads, expected, strict=True):
        torch.testing.assert_close(actual, right, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", VARIANTS)
def test_reset_starts_a_new_sequence(options):
    model = make(**options)
    x = inputs(model)
    reset = torch.zeros(3, 20, dtype=torch.bool)
    reset[1, 6] = reset[1, 9] = True
    _, carried = model(inputs(model))
    y, _ = model(x, carried, reset=reset)
    fresh, _ = model(x[:, 9:])
    y = y[1, 9:] if model.config.head == "every" else y[1]
    torch.testing.assert_close(y, fresh[1], rtol=1e-10, atol=1e-12)
    state = carried
    for t, x_t in enumerate(x.unbind(1)):
        y, state = model.step(x_t, state, reset=reset[:, t])
    last = fresh[1, -1] if model.config.head == "every" else fresh[1]
    torch.testing.assert_close(y[1], last, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", VARIANTS)
def test_every_parameter_gets_a_gradient(options):
    model = make(**options).train()
    model.set_epsilon(0.5)
    x, reset = inputs(model, 8), torch.rand(8, 20) < 0.1
    model(x, reset=reset)[0].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if "project_in.bias" not in name:  # that of the keys is without effect
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("options", VARIANTS)
def test_save_and_load(tmp_path, options):
    model = make(torch.float32, **options)
    model.save(tmp_path / "model")
    twin = SequenceModel.load(tmp_path / "model")
    x = inputs(model)
    assert twin.config == model.config
    assert torch.equal(twin(x)[0], model(x)[0])
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]


def test_save_overwrites_nothing(tmp_path):
    model = make(torch.float32)
    model.save(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="`folder` must not hold a model yet"):
        make(torch.float32, hidden_size=4).save(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b"", lambda b: b"\xff" * 40])
def test_corrupt_weights_are_refused(tmp_path, damage):
    make(torch.float32).save(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"model.safetensors must hold safetensors weights, got a corrupt file"):
        SequenceModel.load(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path):
    make(torch.float32).save(tmp_path / "a")
    make(torch.float32, hidden_size=4).save(tmp_path / "b")
    (tmp_path / "a" / "model.safetensors").replace(tmp_path / "b" / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors must fit model.json"):
        SequenceModel.load(tmp_path / "b")


def test_a_config_with_an_unknown_missing_or_bad_key_is_refused(tmp_path):
    make(torch.float32).save(tmp_path)
    path = tmp_path / "model.json"
    good = json.loads(path.read_text())
    for bad, message in (
        (good | {"hiden_size": 3}, "has the unknown key 'hiden_size'; the keys are input_size"),
        ({k: v for k, v in good.items() if k != "input_size"}, "must have the key 'input_size'"),
        (good | {"unit": "rnn"}, "`unit` must be made of bmru, alpha_bmru, cmru"),
        (good | {"epsilon": "1"}, "`epsilon` must be of type float, got '1'"),
        ([1], "must hold a JSON object, got list"),
    ):
        path.write_text(json.dumps(bad))
        with pytest.raises(ValueError, match=message):
            SequenceModel.load(tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"model.json must hold JSON"):
        SequenceModel.load(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"`model.json` must be a file in"):
        SequenceModel.load(tmp_path)


def test_an_unwritable_place_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match="file"):
        make(torch.float32).save(tmp_path / "file" / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hidden_size": 0}, ValueError, "`hidden_size` must be at least 1, got 0"),
        ({"num_layers": 1.5}, TypeError, "`num_layers` must be an int, got 1.5"),
        (
            {"unit": "bmru+"},
            ValueError,
            r"`unit` must be made of .*lstm, attention, joined by '\+' and ',', got 'bmru\+'",
        ),
        ({"unit": "bmru,"}, ValueError, "got 'bmru,'"),
        ({"unit": "bmru,lru,gru"}, ValueError, "`num_layers` must be a multiple of the 3 kinds of layer, got 2"),
        ({"unit": "attention", "num_heads": 3}, ValueError, "attention a multiple of twice the 3 heads, got 8 of 8"),
        ({"num_heads": 0}, ValueError, "`num_heads` must be at least 1, got 0"),
        ({"join": "mean"}, ValueError, "`join` must be one of concatenate, sum, got 'mean'"),
        ({"unit": "bmru+lru", "hidden_size": 7}, ValueError, "`hidden_size` must be a multiple of the 2 units, got 7"),
        ({"num_states": 256}, ValueError, r"`num_states` must be in \[2, 255\], got 256"),
        ({"num_tracers": 0}, ValueError, "`num_tracers` must be at least 1, got 0"),
        ({"state_size": 0}, ValueError, "`state_size` must be at least 1, got 0"),
        ({"unit": "mru", "state_size": 24}, ValueError, r"`state_size` must .* `num_states`, 4 \* 4, for mru, got 24"),
        (
            {"unit": "bmru+mru", "state_size": 10, "num_tracers": 3, "num_states": 2},
            ValueError,
            r"^`state_size` must be a multiple of `num_tracers` times `num_states`, 3 \* 2, for mru, got 10$",
        ),
        ({"unit": "lru+mru", "join": "sum"}, ValueError, r"`hidden_size` must be .*, 4 \* 4, for mru, got 8"),
        ({"norm": "batch"}, ValueError, "`norm` must be one of rms, layer, none, got 'batch'"),
        ({"dropout": 1.0}, ValueError, r"`dropout` must be in \[0, 1\), got 1.0"),
        ({"epsilon": 2}, ValueError, r"`epsilon` must be in \[0, 1\], got 2"),
        ({"gate": "false"}, TypeError, "`gate` must be a bool, got 'false'"),
        ({"gate": 1}, TypeError, "`gate` must be a bool, got 1"),
        *(
            ({name: value}, TypeError, f"`{name}` must be a str, got ")
            for name in ("unit", "join", "encoder", "norm", "mlp", "head", "initial_state", "clock")
            for value in (None, ["bmru"], 3)
        ),
        *(
            ({name: "1"}, TypeError, f"`{name}` must be a")
            for name in ("hidden_size", "mlp_ratio", "dropout", "epsilon", "surrogate_width", "r_min", "clock_span")
        ),
    ],
)
def test_bad_configurations_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(CONFIG, **options)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(2, 5), ValueError, r"`x` must have shape \(B, T, M=3\), got \(2, 5\)"),
        (torch.zeros(2, 5, 4), ValueError, r"`x` must have shape \(B, T, M=3\), got \(2, 5, 4\)"),
        (torch.zeros(2, 0, 3), ValueError, "`x` must have at least one time step, got T=0"),
        (torch.zeros(2, 5, 3).double(), TypeError, "`x` must have dtype torch.float32, got torch.float64"),
        (torch.zeros(2, 5, 3, device="meta"), ValueError, "`x` must be on device cpu, got meta"),
        ("text", TypeError, "`x` must be a torch.Tensor, got str"),
        (
            torch.zeros(2, 5, 3).to_sparse(),
            TypeError,
            "`x` must be a dense tensor, got one of layout torch.sparse_coo",
        ),
        (nested(), TypeError, "`x` must be a dense tensor, got a nested tensor"),
    ],
)
def test_bad_input_is_refused_by_name(x, error, message):
    for unit in ("bmru", "attention"):
        with pytest.raises(error, match=message):
            make(torch.float32, unit=unit)(x)


@pytest.mark.parametrize(("tokens", "found"), [([0, 11], 11), ([3, -1], -1), ([2**40, 0], 2**40)])
def test_tokens_beyond_the_vocabulary_are_refused_by_name(tokens, found):
    model = make(torch.float32, encoder="embedding", input_size=11)
    rule = rf"must hold tokens in \[0, input_size=11\), got {found}"
    with pytest.raises(ValueError, match=f"`x` {rule}"):
        model(torch.tensor([tokens]))
    with pytest.raises(ValueError, match=f"`x_t` {rule}"):
        model.step(torch.tensor(tokens))
    with pytest.raises(ValueError, match=f"`x` {rule}"):
        model.stream().push(torch.tensor([tokens]))


@pytest.mark.parametrize("options", [{}, {"clock": "decay"}, {"head": "mean"}, {"unit": "attention", "num_heads": 2}])
def test_bad_resets_are_refused_by_name(options):
    model = make(torch.float32, **options)
    x = inputs(model)
    for reset, error, message in (
        ([True, False, True], TypeError, "`reset` must be a torch.Tensor, got list"),
        (torch.ones(3), TypeError, "`reset` must have dtype bool, got float32"),
        (torch.ones(2, dtype=torch.bool), ValueError, r"`reset` must have shape \(B=3,\), got \(2,\)"),
        (torch.ones(3, dtype=torch.bool, device="meta"), ValueError, "`reset` must be on device cpu, got meta"),
    ):
        with pytest.raises(error, match=message):
            model.step(x[:, 0], reset=reset)
    with pytest.raises(TypeError, match=r"`reset` must be a torch\.Tensor, got list"):
        model(x, reset=[[True] * 20] * 3)
    with pytest.raises(ValueError, match=r"`reset` must have shape \(B=3, T=20\), got \(3, 19\)"):
        model(x, reset=torch.ones(3, 19, dtype=torch.bool))


@pytest.mark.parametrize("options", VARIANTS)
def test_an_empty_batch_has_gradients_of_zero(options):
    model = make(**options)
    x = inputs(model, 0)
    y, _ = model(x, reset=torch.zeros(0, 20, dtype=torch.bool))
    grads = torch.autograd.grad(y.sum() + model.step(x[:, 0])[0].sum(), list(model.parameters()))
    assert not any(g.any() for g in grads)


def test_a_state_that_does_not_fit_is_refused_by_name():
    model = make(torch.float32)
    with pytest.raises(TypeError, match="`state` must be a ModelState, got Tensor"):
        model(inputs(model), torch.zeros(1, 3, 8))
    _, state = make(torch.float32, num_layers=3)(inputs(model))
    with pytest.raises(ValueError, match=r"a state for each unit, \[1, 1\] in the blocks, got \[1, 1, 1\]"):
        model.step(inputs(model)[:, 0], state)


def test_a_state_of_another_head_batch_or_attention_is_refused_by_name():
    last, mean = make(torch.float32), make(torch.float32, head="mean")
    x = inputs(last)
    for model, other, message in (
        (mean, last, "which has a mean over the steps, got `total` None"),
        (last, mean, "which has no mean over the steps, got `total` one"),
    ):
        _, state = other(x)
        for run, given in ((model, x), (model.step, x[:, 0])):
            with pytest.raises(ValueError, match=f"`state` must be that of this model, {message}"):
                run(given, state)
    _, state = mean(x)
    with pytest.raises(ValueError, match=r"`state.total` must have shape \(2, 8\), got \(3, 8\)"):
        mean(x[:2], state)
    with pytest.raises(TypeError, match=r"`state.steps` must have dtype torch.float64, got torch.int64"):
        mean(x, state._replace(steps=state.steps.long()))
    with pytest.raises(ValueError, match=r"`state.total` must be on the device of the input, cpu, got meta"):
        mean(x, state._replace(total=state.total.to("meta")))
    with pytest.raises(ValueError, match=r"`hx` must have shape \(1, B=2, D=8\), got \(1, 3, 8\)"):
        last(x[:2], last(x)[1])
    with pytest.raises(ValueError, match="`state` must be a tuple of 1 states, one for each unit, got 2"):
        last.blocks[0].layer(x.new_zeros(3, 20, 8), (None, None))


def test_epsilon_reaches_every_bistable_unit_and_no_file(tmp_path):
    model = make(torch.float32, unit="bmru+lru")
    model.set_epsilon(0.25)
    assert [m.epsilon for m in model.modules() if isinstance(m, BMRU)] == [0.25, 0.25]
    assert not any("epsilon" in name for name in model.state_dict())
    with pytest.raises(ValueError, match=r"`epsilon` must be in \[0, 1\], got 3"):
        model.set_epsilon(3)


def test_a_hybrid_is_its_units_side_by_side():
    torch.manual_seed(0)
    units = [BMRU(4, 3, batch_first=True), LRU(4, 5, batch_first=True)]
    x = torch.randn(2, 9, 4)
    y, states = Hybrid(units)(x)
    assert torch.equal(y, torch.cat([unit(x)[0] for unit in units], -1))
    assert [s.shape for s in states] == [(1, 2, 3), (1, 2, 5)]
    units = [BMRU(4, 6, batch_first=True), Attention(4, 6)]
    y, _ = Hybrid(units, join="sum")(x)
    assert torch.equal(y, units[0](x)[0] + units[1](x)[0])


@pytest.mark.parametrize(
    ("units", "join", "message"),
    [
        ([BMRU(4, 3)], "concatenate", "`units` must be batch-first, got BMRU"),
        ([BMRU(4, 3, batch_first=True, bidirectional=True)], "sum", "`units` must have one direction, got BMRU"),
        ([LRU(4, 3, batch_first=True), LRU(5, 3, batch_first=True)], "sum", r"one input size, got \[4, 5\]"),
        ([LRU(4, 3, batch_first=True), Attention(4, 4)], "sum", r"one size to be summed, got \[3, 4\]"),
        ([Attention(4, 4)], "product", "`join` must be one of concatenate, sum, got 'product'"),
    ],
)
def test_units_that_do_not_fit_side_by_side_are_refused(units, join, message):
    with pytest.raises(ValueError, match=message):
        Hybrid(units, join=join)


def test_blocks_go_through_the_kinds_of_layer_in_turn():
    model = make(unit="lru,bmru+min_gru", num_layers=4)
    kinds = [[type(unit).__name__ for unit in block.layer.units] for block in model.blocks]
    assert kinds == [["LRU"], ["BMRU", "MinGRU"]] * 2
    assert [unit.hidden_size for unit in model.blocks[1].layer.units] == [4, 4]
    assert [unit.hidden_size for unit in make(unit="bmru+lru", join="sum").blocks[0].layer.units] == [8, 8]


def test_epsilon_is_that_of_the_bmrus_and_is_saved_as_it_is(tmp_path):
    model = make(torch.float32, unit="bmru+cmru")
    assert [unit.epsilon for unit in model.blocks[0].layer.units] == [0, 1]
    model.set_epsilon(0.5)
    assert [unit.epsilon for unit in model.blocks[0].layer.units] == [0.5, 1]
    assert model.epsilon == 0.5
    model.save(tmp_path)
    twin, x = SequenceModel.load(tmp_path), inputs(model)
    assert [unit.epsilon for unit in twin.blocks[0].layer.units] == [0.5, 1]
    assert torch.equal(twin(x)[0], model(x)[0])
    cumulative = make(unit="cmru", epsilon=0.25).blocks[0].layer.units[0]
    assert isinstance(cumulative, CMRU)
    assert cumulative.epsilon == 1
    assert make(unit="lru").epsilon is None


@pytest.mark.parametrize("options", VARIANTS)
def test_truncated_back_propagation(options):
    """Chunks with the state as it is give the gradient of the whole; a detached one gives none to the past."""
    model = make(**options)
    x = inputs(model, 2, 12)
    names, parameters = zip(*model.named_parameters(), strict=True)
    y, _ = model(x)
    first, state = model(x[:, :5])
    second, _ = model(x[:, 5:], state)
    every = model.config.head == "every"
    whole = y.square().sum()
    split = second.square().sum() + (first.square().sum() if every else 0)
    results = [torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (whole, split)]
    for name, a, b in zip(names, *results, strict=True):
        if a is not None:
            torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-10, msg=name)
    _, state = model(x[:, :5])
    assert isinstance(state.detach(), ModelState)
    leaves = torch.utils._pytree.tree_leaves(state.detach())
    assert not any(leaf.requires_grad for leaf in leaves if isinstance(leaf, torch.Tensor))
    cut, _ = model(x[:, 5:], state.detach())
    torch.testing.assert_close(cut, second)


@pytest.mark.parametrize(
    "looks",
    [(100, 1_000, 1_500, 2_000, 2_500, 3_000), rarely((1_000, 10_000, 15_000, 20_000, 25_000, 30_000))],
    ids=str,
)
def test_memory_does_not_grow_over_thousands_of_steps(looks):
    """All recurrent units side by side; bytes of the states, tensors alive, and the process's own memory.

    What a step leaks, every step leaks, so that the process grows from each look to the next; what the rest of the
    process takes meanwhile, it takes once. A leak of 131 bytes a step, or of 13 in the longer test, fails.
    """
    model = make(torch.float32, unit=RECURRENT, hidden_size=len(UNITS), num_layers=1)
    x, state, seen, resident = torch.randn(100, 1, 3), None, [], []
    with torch.inference_mode():
        for step in range(looks[-1] + 1):
            _, state = model.step(x[step % 100], state)
            if step in looks:
                leaves = [leaf for leaf in torch.utils._pytree.tree_leaves(state) if leaf is not None]
                alive = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
                size = sum(leaf.numel() * leaf.element_size() for leaf in leaves)
                storage = sum(leaf.untyped_storage().nbytes() for leaf in leaves)
                seen.append((size, storage, alive))
                pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc").exists() else 0
                resident.append(pages * 4096)
    assert all(look == seen[0] for look in seen)
    assert min(later - earlier for earlier, later in itertools.pairwise(resident[1:])) < 2**16


@pytest.mark.parametrize("options", [{}, {"unit": "lru,bmru"}, {"head": "mean", "unit": "bmru+gru"}], ids=str)
def test_autocast_runs_a_model(options):
    model = make(torch.float32, **options)
    x = inputs(model, 4, 300)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = model(x)
        loss = y.float().square().sum()
        model.step(x[:, 0], state)
    loss.backward()
    assert y.dtype == torch.float32  # the products alone are in the half type
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    if state.steps is not None:
        assert state.steps.unique().tolist() == [300]


def test_autocast_rounds_neither_what_latches_decide_by_nor_an_answer():
    model = make(torch.float32, mlp="none", num_layers=2)
    x = inputs(model, 4, 300)
    expected, _ = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(x)[0], expected)


@compiles
@pytest.mark.parametrize(
    ("unit", "backend"),
    [
        rarely("lru+bmru", "aot_eager"),
        ("attention", "aot_eager"),
        rarely("lru+bmru", "inductor"),
        rarely("bmru", "inductor"),
        rarely("attention", "inductor"),
    ],
)
def test_a_model_compiles_and_exports(unit, backend):
    torch.compiler.reset()
    model = make(unit=unit, head="every", conv_size=3)
    x = inputs(model, 3, 12)
    y, _ = torch.compile(model, fullgraph=True, backend=backend)(x)
    torch.testing.assert_close(y, model(x)[0], rtol=1e-8, atol=1e-10)
    shapes = {"x": {0: torch.export.Dim("B"), 1: torch.export.Dim("T")}}
    program = torch.export.export(model, (x,), dynamic_shapes=shapes)
    longer = inputs(model, 5, 33)
    torch.testing.assert_close(program.module()(longer)[0], model(longer)[0], rtol=1e-8, atol=1e-10)
