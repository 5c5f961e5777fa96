"""What people do with a `torch.nn.Module`: compile, export, autocast, vmap, copy, freeze, parametrize, move."""

import copy
import io
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.export import Dim
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint

from cases import rarely
from helpers import compiles
from remanent import UNITS
from unit_cases import (
    CASES,
    WITH_EPSILON,
    D,
    M,
    case_id,
    each,
    finite,
    fitting,
    make,
    own_options,
    parts,
    random_like,
    sized,
    stepped,
)

every = pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
BOTH = {"num_layers": 2, "bidirectional": True}


def batch(B=3, T=9, dtype=torch.float64):
    torch.manual_seed(1)
    return torch.randn(B, T, M, dtype=dtype), torch.rand(B, T) < 0.3


def close(actual, expected, tolerance):
    for a, b in zip(parts(actual), parts(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * (1 + b.abs().max().item()))


KINDS = ("bmru", "lru", "nbrc")
"""One unit of every kind of scan."""
COMPILED = [  # the graphs, forward and backward, run as they are, or as C++, of which each kernel takes g++ a second
    *((name, "aot_eager", BOTH if name in KINDS else {}, None) for name in UNITS),
    ("bmru", "inductor", {}, True),
    *(rarely(name, "inductor", {}, True) for name in KINDS if name != "bmru"),
    rarely("causal_conv", "aot_eager", {"taps": 4}, None),
    *(rarely(name, "aot_eager", BOTH, None) for name in UNITS if name not in KINDS),
    *(rarely(name, "inductor", BOTH if name in KINDS else {}, None) for name in UNITS),
]


@compiles
@pytest.mark.parametrize(("name", "backend", "options", "dynamic"), COMPILED, ids=case_id)
def test_compiles_whole_forward_and_backward(name, backend, options, dynamic):
    torch.compiler.reset()
    unit = make(name, dtype=torch.float32, **options)
    compiled = torch.compile(unit, fullgraph=True, backend=backend, dynamic=dynamic)
    for T in (9, 12, 15):  # the first length compiles for any if `dynamic`, else the second
        x, reset = batch(T=T, dtype=torch.float32)
        x.requires_grad_()
        results = []
        for run in (compiled, unit):
            y, h_n = run(x, reset=reset, lengths=torch.tensor([T, 4, 7]))
            loss = y.square().sum() + sum(v.abs().sum() for v in parts(h_n))
            results.append((y, h_n, torch.autograd.grad(loss, [x, *unit.parameters()])))
        (y, h_n, grads), (expected, h_expected, grads_expected) = results
        close(y, expected, 0 if finite(name, options) else 1e-5)
        close(h_n, h_expected, 0 if finite(name, options) else 1e-5)
        close(grads, grads_expected, 1e-4)


DYNAMIC = [(name, "aot_eager") if name == "fq_bmru" else rarely(name, "aot_eager") for name in UNITS]


@compiles
@pytest.mark.parametrize(("name", "backend"), DYNAMIC)
def test_compiles_for_any_sizes_at_once(name, backend):
    """Every size is a symbol from the first call on, and one function serves units of several sizes and options."""
    torch.compiler.reset()
    x, _ = batch(2, 4)
    x.requires_grad_()
    unit = make(name)
    compiled = torch.compile(unit, dynamic=True, fullgraph=True, backend=backend)
    grads = [torch.autograd.grad(run(x)[0].square().sum(), x)[0] for run in (compiled, unit)]
    close(*grads, 1e-12)
    run = torch.compile(lambda unit, x: unit(x)[0], fullgraph=True, backend=backend)
    for size in (1, 2) if not fitting(name, 2) else (2, 4):  # a head has at least two states
        options = {"width": float(size)} if "width" in own_options(name) else {}
        unit = sized(UNITS, name, size, size, dtype=torch.float64, **options)
        part = x.detach()[..., :size]
        close(run(unit, part), unit(part)[0], 1e-12)


@compiles
@pytest.mark.parametrize("name", WITH_EPSILON)
def test_epsilon_changes_without_a_new_compilation(name):
    torch.compiler.reset()
    unit = make(name, dtype=torch.float32)
    compiled = torch.compile(unit, fullgraph=True)
    x, _ = batch(dtype=torch.float32)
    with torch.compiler.set_stance("default"):
        unit.epsilon = 1.0
        compiled(x)
    with torch.compiler.set_stance("fail_on_recompile"):
        for step in range(20):
            unit.epsilon = 1 - step / 19
            assert torch.equal(compiled(x)[0], unit(x)[0])


EXPORTED = [
    *((name, True, BOTH if name in KINDS else {}) for name in UNITS),
    *((name, False, {}) for name in KINDS),
    *(rarely(name, True, BOTH) for name in UNITS if name not in KINDS),
    *(rarely(name, False, BOTH) for name in UNITS),
]


@pytest.mark.parametrize(("name", "masked", "options"), EXPORTED, ids=case_id)
def test_exports_for_any_batch_and_length(name, masked, options):
    unit = make(name, **options)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.unit = unit

        def forward(self, x, hx, reset, lengths):
            return self.unit(x, hx, reset=reset if masked else None, lengths=lengths if masked else None)

    x, reset = batch()
    hx = each(lambda v: random_like(unit, v), unit(x)[1])
    B, T = Dim("B"), Dim("T")
    shapes = {
        "x": {0: B, 1: T},
        "hx": each(lambda _: {1: B}, hx),
        "reset": {0: B, 1: T},
        "lengths": {0: B},
    }
    program = torch.export.export(Model(), (x, hx, reset, torch.tensor([9, 4, 2])), dynamic_shapes=shapes)
    for size, steps in ((3, 9), (1, 40), (17, 2), (5, 1)):
        x, reset = batch(size, steps)
        hx = each(lambda v: random_like(unit, v), unit(x)[1])
        lengths = torch.randint(1, steps + 1, (size,))
        y, h_n = program.module()(x, hx, reset, lengths)
        expected, h_expected = Model()(x, hx, reset, lengths)
        close(y, expected, 0 if finite(name, {}) else 1e-12)
        close(h_n, h_expected, 0 if finite(name, {}) else 1e-12)


@every
def test_autocast_projects_in_bfloat16_and_keeps_states_whole(name, options):
    unit, (x, reset) = make(name, dtype=torch.float32, **options), batch(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y, h_n = unit(x, reset=reset)
        again, _ = unit(x.bfloat16(), h_n)
        if not unit.bidirectional:
            y_steps, _ = stepped(unit, x, reset=reset)
            close(y_steps, y, 0 if finite(name, options) else 0.02)
    assert y.dtype == again.dtype == torch.float32
    assert all(v.dtype == unit.state_dtype for v in parts(h_n))
    y.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in unit.parameters())
    if not unit.recurrence.chooses:  # which rounding may tip
        close(y, unit(x, reset=reset)[0], 0.05)
    if unit.recurrence.finite_states and options.get("num_layers", 1) == 1 and "initial_state" not in options:
        written = y.abs().unique()
        sizes = [p.abs() for key, p in unit.named_parameters() if key.startswith("alpha")] or [torch.ones(1)]
        assert set(written.tolist()) <= {0.0, *torch.cat(sizes).tolist()}


@every
def test_an_ensemble_by_vmap_equals_its_members(name, options):
    members = [make(name, seed=seed, **options) for seed in range(3)]
    parameters, buffers = stack_module_state(members)
    x, reset = batch()
    xs = torch.stack([x, 2 * x, x.flip(1)])

    def run(parameters, buffers, x, reset):
        return functional_call(members[0], (parameters, buffers), (x,), {"reset": reset})

    def loss(parameters, buffers, x, reset):
        return run(parameters, buffers, x, reset)[0].square().sum()

    resets = torch.stack([reset, ~reset, reset.roll(1)])
    for dims, cuts in ((None, reset), (0, resets)):
        y, h_n = vmap(run, (0, 0, 0, dims))(parameters, buffers, xs, cuts)
        grads = vmap(grad(loss), (0, 0, 0, dims))(parameters, buffers, xs, cuts)
        for i, member in enumerate(members):
            own = cuts if dims is None else cuts[i]
            expected, h_expected = member(xs[i], reset=own)
            close(y[i], expected, 0 if finite(name, options) else 1e-10)
            close(each(lambda v, i=i: v[i], h_n), h_expected, 0 if finite(name, options) else 1e-10)
            named = dict(member.named_parameters())
            wanted = torch.autograd.grad(expected.square().sum(), list(named.values()), allow_unused=True)
            for key, value in zip(named, wanted, strict=True):
                close(grads[key][i], torch.zeros_like(named[key]) if value is None else value, 1e-10)


@pytest.mark.parametrize("name", UNITS)
def test_per_sample_gradients_and_steps_by_vmap(name):
    unit, (x, _) = make(name), batch()
    parameters = {key: value.detach() for key, value in unit.named_parameters()}

    def loss(parameters, x):
        return functional_call(unit, parameters, (x,))[0].square().sum()

    each_one = vmap(grad(loss), (None, 0))(parameters, x)
    whole = grad(lambda p, x: functional_call(unit, p, (x,))[0].square().sum())(parameters, x)
    for key, value in whole.items():
        close(each_one[key].sum(0), value, 1e-10)
    stepped = vmap(lambda x_t: unit.step(x_t)[0])(x[:, 0])
    close(stepped, unit.step(x[:, 0])[0], 0 if finite(name, {}) else 1e-12)


@pytest.mark.parametrize("name", UNITS)
def test_second_derivatives_are_right_or_refused(name):
    unit, (x, reset) = make(name), batch(2, 5)
    x = x.requires_grad_()
    if unit.recurrence.scan_kind == "linear" and not unit.recurrence.chooses:
        assert torch.autograd.gradgradcheck(lambda x: unit(x, reset=reset)[0], (x,))
    elif name in ("gru", "lstm"):
        assert torch.autograd.gradgradcheck(lambda x: unit(x)[0], (x,))
    else:
        first = torch.autograd.grad(unit(x, reset=reset)[0].square().sum(), x, create_graph=True)[0]
        with pytest.raises(NotImplementedError, match="can be differentiated once"):
            first.square().sum().backward()


@pytest.mark.parametrize("name", UNITS)
def test_units_that_choose_and_their_steps_refuse_a_second_derivative_everywhere(name):
    unit, (x, _) = make(name), batch(2, 3)
    if not unit.recurrence.chooses:
        return
    x = x.requires_grad_()
    first = torch.autograd.grad(unit.step(x[:, 0])[0].square().sum(), x, create_graph=True)[0]
    with pytest.raises(NotImplementedError, match="can be differentiated once"):
        first.square().sum().backward()
    with pytest.raises(NotImplementedError, match="can be differentiated once"):
        grad(lambda x: grad(lambda x: unit(x)[0].square().sum())(x).square().sum())(x)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", UNITS)
def test_forward_mode_derivatives_are_right_or_refused(name, frozen):
    """They are the sums along a direction of what reverse mode gives; none is dropped where no parameter learns."""
    unit, (x, reset) = make(name).requires_grad_(not frozen), batch(2, 5)
    direction = torch.randn_like(x)

    def step_then_run(x):
        return torch.cat([unit(x, reset=reset)[0], unit.step(x[:, 0])[0][:, None]], dim=1)

    def by_dual_numbers(run, x, direction):
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(run(forward_ad.make_dual(x, direction))).tangent

    ways = [
        by_dual_numbers,
        lambda run, x, t: jvp(run, (x,), (t,))[1],
        lambda run, x, t: jacfwd(run)(x).mul(t).sum((-3, -2, -1)),
    ]
    if unit.recurrence.chooses:
        for way in ways:
            for run in (step_then_run, lambda x: unit.step(x[:, 0])[0]):
                with pytest.raises(NotImplementedError, match="has no forward-mode derivative"), torch.no_grad():
                    way(run, x, direction)
        return
    expected = jacrev(step_then_run)(x).mul(direction).sum((-3, -2, -1))
    for way in ways:
        close(way(step_then_run, x, direction), expected, 1e-12)
    for way in ways[:2]:
        with torch.no_grad():
            close(way(step_then_run, x, direction), expected, 1e-12)


@compiles
@pytest.mark.parametrize("name", ["bmru", "min_gru", "brc", "mru"])  # one of every kind of scan
def test_a_compiled_unit_drops_no_forward_mode_derivative(name):
    torch.compiler.reset()
    unit, (x, _) = make(name).requires_grad_(False), batch(2, 5)
    compiled = torch.compile(unit, backend="eager")
    compiled(x)
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="has no forward-mode derivative"):
        compiled(forward_ad.make_dual(x, torch.ones_like(x)))
    if not unit.recurrence.chooses:
        along = torch.compile(lambda x: jvp(lambda x: unit(x)[0], (x,), (torch.ones_like(x),))[1], backend="eager")
        close(along(x), jacrev(lambda x: unit(x)[0])(x).sum((-3, -2, -1)), 1e-12)


@every
def test_copies_and_files_give_the_same(name, options):
    unit, (x, _) = make(name, **options), batch()
    expected, _ = unit(x)
    other = make(name, seed=9, **options)
    other.load_state_dict(unit.state_dict())
    file = io.BytesIO()
    torch.save(unit.state_dict(), file)
    file.seek(0)
    third = make(name, seed=8, **options)
    third.load_state_dict(torch.load(file, weights_only=True))
    for twin in (other, third, copy.deepcopy(unit), pickle.loads(pickle.dumps(unit))):
        assert torch.equal(twin(x)[0], expected)
        assert repr(twin) == repr(unit)
    twin = copy.deepcopy(unit)
    if hasattr(unit, "epsilon"):
        before = unit.epsilon
        twin.epsilon = 0.25  # a copy anneals alone
        assert unit.epsilon == before
        assert pickle.loads(pickle.dumps(twin)).epsilon == 0.25


class Halve(nn.Module):
    """A parametrization: the weight is half of what is learned."""

    def forward(self, weight):
        return weight / 2

    def right_inverse(self, weight):
        return 2 * weight


@pytest.mark.parametrize("name", UNITS)
def test_parametrized_weights_give_the_same_and_learn(name):
    plain, unit, (x, _) = make(name, **BOTH), make(name, **BOTH), batch()
    for key in ("weight_ih_l0", "weight_ih_l1_reverse"):
        nn.utils.parametrize.register_parametrization(unit, key, Halve())
    y, _ = unit(x)
    assert torch.equal(y, plain(x)[0])
    y.square().sum().backward()
    plain(x)[0].square().sum().backward()
    original = unit.parametrizations.weight_ih_l0.original
    close(original.grad, plain.weight_ih_l0.grad / 2, 1e-12)
    close(copy.deepcopy(unit)(x)[0], y, 0)


@pytest.mark.parametrize("name", UNITS)
def test_spectral_norm_of_torch_applies(name):
    unit, (x, _) = make(name), batch()
    nn.utils.parametrizations.spectral_norm(unit, "weight_ih_l0")
    unit(x)[0].square().sum().backward()
    assert torch.linalg.matrix_norm(unit.eval().weight_ih_l0, 2).item() < 1.5


@pytest.mark.parametrize("name", UNITS)
def test_any_subset_of_parameters_may_be_frozen(name):
    unit, (x, _) = make(name, **BOTH), batch()
    expected, _ = unit(x)
    weight = torch.randn_like(expected)
    whole = torch.autograd.grad((expected * weight).sum(), list(unit.parameters()), allow_unused=True)
    named = list(unit.named_parameters())
    for frozen, (key, parameter) in enumerate(named):
        parameter.requires_grad_(False)
        y, _ = unit(x)
        close(y, expected, 0 if finite(name, {}) else 1e-12)
        rest = [p for _, p in named if p.requires_grad]
        grads = torch.autograd.grad((y * weight).sum(), rest, allow_unused=True)
        for g, w in zip(grads, [w for i, w in enumerate(whole) if i != frozen], strict=True):
            assert (g is None) == (w is None), key
            if w is not None:
                close(g, w, 1e-12)
        parameter.requires_grad_(True)
    unit.requires_grad_(False)
    y, _ = unit(x.requires_grad_())
    y.square().sum().backward()
    assert x.grad.isfinite().all()
    assert not unit(x.detach())[0].requires_grad


@every
def test_anomaly_mode_finds_nothing(name, options):
    unit, (x, reset) = make(name, **options), batch()
    with torch.autograd.set_detect_anomaly(True, check_nan=True):
        y, h_n = unit(x.requires_grad_(), reset=reset, lengths=torch.tensor([9, 3, 5]))
        (y.square().sum() + sum(v.abs().sum() for v in parts(h_n))).backward()
    assert x.grad.isfinite().all()


@every
def test_dtype_and_device_move_everything(name, options):
    unit, (x, _) = make(name, dtype=torch.float32, **options), batch()
    y, h_n = unit.double()(x)
    assert y.dtype == torch.float64
    assert all(v.dtype == (torch.complex128 if v.is_complex() else torch.float64) for v in parts(h_n))
    if not unit.bidirectional:
        assert unit.step(x[:, 0], h_n)[0].dtype == torch.float64
    moved = copy.deepcopy(unit).to("meta")
    y, h_n = moved(x.to("meta"), each(lambda v: v.to("meta"), h_n))
    assert y.device.type == "meta"
    assert all(v.device.type == "meta" for v in parts(h_n))
    assert moved(x.to("meta"), reset=torch.zeros(3, 9, dtype=torch.bool, device="meta"))[0].shape == y.shape
    made = sized(UNITS, name, M, D, device="meta", **options)
    assert {p.device.type for p in made.parameters()} == {"meta"}
    filled = made.to_empty(device="cpu")
    filled.reset_parameters()
    assert all(p.isfinite().all() for p in filled.parameters())


@every
def test_units_are_made_on_a_default_device(name, options):
    with torch.device("meta"):
        unit = sized(UNITS, name, M, D, batch_first=True, dtype=torch.float64, **options)
    unit = unit.to_empty(device="cpu").eval()
    unit.reset_parameters()
    x, reset = batch()
    assert unit(x, reset=reset)[0].isfinite().all()


@every
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_gives_the_same_gradients(name, options, use_reentrant):
    unit, (x, reset) = make(name, **options), batch()
    grads = []
    x.requires_grad_()
    for again in (False, True):
        run = partial(checkpoint, use_reentrant=use_reentrant) if again else lambda function, x: function(x)
        run(lambda x: unit(x, reset=reset), x)[0].square().sum().backward()
        grads.append([None if p.grad is None else p.grad.clone() for p in unit.parameters()])
        unit.zero_grad()
    for a, b in zip(*grads, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            close(b, a, 1e-12)


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_types_run_forward_and_backward(name, dtype):
    unit, (x, reset) = make(name, dtype=dtype, **BOTH), batch(dtype=dtype)
    y, h_n = unit(x, reset=reset)
    assert y.dtype == dtype
    y.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in unit.parameters() if p.grad is not None)
    assert all(v.dtype == unit.state_dtype for v in parts(h_n))


@pytest.mark.parametrize("name", UNITS)
def test_inference_mode_and_no_grad_give_the_same(name):
    unit, (x, _) = make(name, **BOTH), batch()
    expected, _ = unit(x)
    with torch.no_grad():
        close(unit(x)[0], expected, 0 if finite(name, {}) else 1e-12)
    with torch.inference_mode():
        close(unit(x)[0], expected, 0 if finite(name, {}) else 1e-12)


@pytest.mark.parametrize("name", ["bmru", "alpha_cmru"])
def test_checkpoint_computes_again_with_the_options_of_its_forward_pass(name):
    unit = UNITS[name](M, D, num_layers=2, epsilon=0.7)
    light = UNITS[name](M, D, num_layers=2, epsilon=0.7, checkpoint=True)
    light.load_state_dict(unit.state_dict())
    x, grads = torch.randn(20, 2, M), []
    for model in (unit, light):
        y, _ = model(x)
        model.epsilon = 0.0
        grads.append(torch.autograd.grad(y.square().sum(), list(model.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("way", ["plain", "reset", "lengths"])
def test_checkpoint_changes_no_bit_and_keeps_inputs_and_outputs_alone(name, way):
    B, T, size = 2, 320, 16
    options = {"num_layers": 2, "batch_first": True, "bidirectional": way != "plain"}
    unit = sized(UNITS, name, size, size, **options)
    light = sized(UNITS, name, size, size, **options, checkpoint=True)
    light.load_state_dict(unit.state_dict())
    given = {"reset": torch.rand(B, T) < 0.02} if way == "reset" else {"lengths": [T, 50]} if way == "lengths" else {}
    x = torch.randn(B, T, size)
    results, sizes = [], []
    for model in (unit, light):
        own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        kept = {}

        def keep(tensor, kept=kept, own=own):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = (storage.nbytes(), tensor)
            return tensor

        leaf = x.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            y, h_n = model(leaf, **given)
        grads = torch.autograd.grad(
            y.square().sum() + sum(h.abs().sum() for h in parts(h_n)), [leaf, *model.parameters()]
        )
        results.append([y, *parts(h_n), *grads])
        sizes.append(sum(nbytes for nbytes, _ in kept.values()) / (B * T * size))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
    if way == "plain":  # the inputs of both layers, 4 bytes each, and states of one step
        assert sizes[1] < 8.1 < sizes[0]
        if name == "bmru":
            assert sizes[0] < 2 * (4 + 8.25)  # input and gates; and a state in 64 steps, whose number is rounded up
