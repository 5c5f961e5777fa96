"""Laws of every unit under every option: steps, chunks, batches, causality, resets, lengths, directions, layers."""

import itertools

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from remanent import CELLS, UNITS
from unit_cases import (
    CASES,
    CONVOLUTIONS,
    ONE_WAY,
    TWO_WAY,
    D,
    M,
    case_id,
    each,
    exact,
    kind,
    make,
    own_options,
    parts,
    random_reset_state,
    random_state,
    sized,
    stepped,
)

every = pytest.mark.parametrize(("name", "options"), [*CASES, *CONVOLUTIONS], ids=case_id)
one_way = pytest.mark.parametrize(("name", "options"), [*ONE_WAY, *CONVOLUTIONS], ids=case_id)
two_way = pytest.mark.parametrize(("name", "options"), TWO_WAY, ids=case_id)


def sequence(B=3, T=23, dtype=torch.float64):
    torch.manual_seed(1)
    return 1.5 * torch.randn(B, T, M, dtype=dtype)


def same(actual, expected, bits=False):
    """The same bits, or 1e-10 of the largest value."""
    for a, b in zip(parts(actual), parts(expected), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if bits:
            assert torch.equal(a, b)
        else:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10 * (1 + b.abs().max().item()))


def gradients(unit, loss, *inputs):
    wanted = [*unit.parameters(), *inputs]
    grads = torch.autograd.grad(loss, wanted, allow_unused=True)
    return tuple(torch.zeros_like(w) if g is None else g for w, g in zip(wanted, grads, strict=True))


@one_way
def test_forward_equals_repeated_step(name, options):
    unit, x = make(name, **options), sequence().requires_grad_()
    hx = random_state(unit)
    y, h_n = unit(x, hx)
    y_steps, h = stepped(unit, x, hx)
    bits = exact(name, options)
    same(y_steps, y, bits)
    same(h, h_n, bits)
    weight = torch.randn_like(y)
    same(gradients(unit, (y_steps * weight).sum(), x), gradients(unit, (y * weight).sum(), x))


@one_way
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_step_without_gradients_is_the_step_with_them(name, options, dtype):
    unit, x = make(name, dtype=dtype, **options), sequence(T=5, dtype=dtype)
    hx = random_state(unit)
    expected = stepped(unit, x, hx)
    with torch.no_grad():
        found = stepped(unit, x, hx)
        whole = unit(x, hx)
    for a, b, c in zip(found, expected, whole, strict=True):
        for one, other, scanned in zip(parts(a), parts(b), parts(c), strict=True):
            assert torch.equal(one, other)
            assert not exact(name, options) or torch.equal(one, scanned)


@pytest.mark.parametrize(("name", "options"), [case for case in [*ONE_WAY, *CONVOLUTIONS] if exact(*case)], ids=case_id)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_set_or_hold_is_the_same_bits_in_every_dtype(name, options, dtype):
    unit, x = make(name, dtype=dtype, **options), sequence(dtype=dtype)
    y, h_n = unit(x)
    y_steps, h = stepped(unit, x)
    assert torch.equal(y_steps, y)
    assert torch.equal(h, h_n)


@one_way
@pytest.mark.parametrize("cut", [1, 11])
def test_two_halves_equal_the_whole_with_gradients(name, options, cut):
    """An undetached state carries the gradient of the whole sequence; a detached one carries none."""
    unit, x = make(name, **options), sequence().requires_grad_()
    hx = each(torch.Tensor.requires_grad_, random_state(unit))
    y, h_n = unit(x, hx)
    first, h = unit(x[:, :cut], hx)
    second, h_end = unit(x[:, cut:], h)
    bits = exact(name, options)
    same(torch.cat([first, second], 1), y, bits)
    same(h_end, h_n, bits)
    weight = torch.randn_like(y)
    whole = gradients(unit, (y * weight).sum(), x, *parts(hx))
    split = gradients(unit, (first * weight[:, :cut]).sum() + (second * weight[:, cut:]).sum(), x, *parts(hx))
    same(split, whole)
    third, _ = unit(x[:, cut:], each(torch.Tensor.detach, h))
    same(third, second, bits)
    assert not gradients(unit, third.sum(), x)[-1][:, :cut].any()


@every
def test_the_order_of_a_batch_does_not_matter(name, options):
    unit, x, order = make(name, **options), sequence(5), torch.tensor([3, 0, 4, 1, 2])
    y, h_n = unit(x)
    y_mixed, h_mixed = unit(x[order])
    same(y_mixed, y[order], exact(name, options))
    same(h_mixed, each(lambda v: v[:, order], h_n), exact(name, options))


@one_way
def test_no_step_sees_the_future(name, options):
    unit, x = make(name, **options), sequence(2, 9).requires_grad_()
    y, _ = unit(x)
    for t in range(9):
        grad = torch.autograd.grad(y[:, t].sum(), x, retain_graph=True)[0]
        assert not grad[:, t + 1 :].any()


@every
def test_a_reset_equals_a_fresh_start(name, options):
    """Whatever stood before, NaN included: values, the last state, gradients, in both directions."""
    unit, x = make(name, **options), sequence()
    hx = None  # backwards, it enters at the end, where no reset stands
    if not unit.bidirectional:
        hx = each(lambda v: torch.full_like(v, torch.nan), random_state(unit))
    reset = torch.zeros(3, 23, dtype=torch.bool)
    reset[:, 0], reset[1, 7], reset[1, 8], reset[2, 22] = True, True, True, True
    x[1, 7] = torch.nan  # an episode of one step, which nothing else sees
    x.requires_grad_()
    y, h_n = unit(x, hx, reset=reset)
    pieces = {0: [(0, 23)], 1: [(0, 7), (7, 8), (8, 23)], 2: [(0, 22), (22, 23)]}
    for b, spans in pieces.items():
        for start, end in spans:
            if (b, start) != (1, 7):
                same(y[b : b + 1, start:end], unit(x[b : b + 1, start:end])[0], exact(name, options))
    if not unit.bidirectional:
        _, fresh = unit(x[1:2, 8:])
        same(each(lambda v: v[:, 1:2], h_n), fresh, exact(name, options))
    for start, end in pieces[1][::2]:
        inside = torch.autograd.grad(y[1, start:end].square().sum(), x, retain_graph=True)[0]
        alone = torch.autograd.grad(unit(x[1:2, start:end])[0].square().sum(), x)[0]
        same(inside[1, start:end], alone[1, start:end])
        outside = torch.ones(3, 23, dtype=torch.bool)
        outside[1, start:end] = outside[1, 7] = False  # the slope at NaN itself is NaN
        assert torch.equal(inside[outside], torch.zeros_like(inside[outside]))


@every
def test_a_reset_to_a_state_equals_a_start_from_it(name, options):
    """Values, the last state and gradients; in the second direction, it is what the part before starts from."""
    unit, x = make(name, **options), sequence(2).requires_grad_()
    reset, cuts = torch.zeros(2, 23, dtype=torch.bool), [0, 7, 8, 20, 23]
    reset[:, cuts[1:-1]] = True
    hx, restart = random_state(unit, 2), random_reset_state(unit, 2)
    hx, restart = (each(lambda v: v.requires_grad_(), state) for state in (hx, restart))
    y, h_n = unit(x, hx, reset=reset, reset_state=restart)
    R, pieces, last = 2 if unit.bidirectional else 1, [], []
    for start, end in itertools.pairwise(cuts):
        ways = [hx if start == 0 else each(lambda v, t=start: v[:, :, t], restart)]
        ways += [hx if end == 23 else each(lambda v, t=end: v[:, :, t], restart)] * (R - 1)
        joined = (torch.stack([v[r::R] for r, v in enumerate(way)], 1) for way in zip(*map(parts, ways), strict=True))
        begin = tuple(v.flatten(0, 1) for v in joined)
        out, state = unit(x[:, start:end], begin if isinstance(hx, tuple) else begin[0])
        pieces.append(out)
        last.append(state)
    same(y, torch.cat(pieces, 1), exact(name, options))
    ends = (last[-1], *[last[0]] * (R - 1))  # the second direction ends at the first step
    for state, *ways in zip(parts(h_n), *map(parts, ends), strict=True):
        for r, way in enumerate(ways):
            same(state[r::R], way[r::R], exact(name, options))
    wanted = (x, *parts(hx), *parts(restart))
    found = gradients(unit, y.square().sum(), *wanted)
    same(found, gradients(unit, torch.cat(pieces, 1).square().sum(), *wanted))
    assert not any(grad[:, :, [0, *range(9, 20)]].any() for grad in found[-len(parts(restart)) :])


@one_way
def test_a_reset_of_a_step_equals_a_fresh_start(name, options):
    unit, x = make(name, **options), sequence()
    hx = each(lambda v: torch.full_like(v, torch.nan), random_state(unit))
    y, h = unit.step(x[:, 0], hx, reset=torch.tensor([True, True, True]))
    same(y, unit.step(x[:, 0])[0], bits=True)
    mixed, _ = unit.step(x[:, 1], h, reset=torch.tensor([False, True, False]))
    same(mixed[::2], unit.step(x[:, 1], h)[0][::2], bits=True)
    same(mixed[1], unit.step(x[1:2, 1])[0][0], exact(name, options))
    start = random_state(unit)
    chosen, _ = unit.step(x[:, 1], h, reset=torch.tensor([False, True, False]), reset_state=start)
    same(chosen[::2], mixed[::2], bits=True)
    same(chosen[1], unit.step(x[:, 1], start)[0][1], bits=True)


@every
def test_lengths_equal_sequences_one_by_one(name, options):
    """Beyond a length, outputs are zero, and what stands in the input, NaN included, reaches nothing."""
    unit, x, lengths = make(name, **options), sequence(4), torch.tensor([23, 1, 0, 10])
    hx = random_state(unit, 4)
    real = torch.arange(23) < lengths[:, None]
    x = torch.where(real[..., None], x, torch.nan).requires_grad_()
    y, h_n = unit(x, hx, lengths=lengths)
    for b, T in enumerate(lengths.tolist()):
        assert torch.equal(y[b, T:], torch.zeros_like(y[b, T:]))
        state = each(lambda v, b=b: v[:, b : b + 1], hx)
        if T:
            alone, state = unit(x[b : b + 1, :T], state)
            same(y[b : b + 1, :T], alone, exact(name, options))
        same(each(lambda v, b=b: v[:, b : b + 1], h_n), state, exact(name, options))
    grads = gradients(unit, y.square().sum(), x)
    assert all(grad.isfinite().all() for grad in grads)
    assert not grads[-1][~real].any()


@every
def test_lengths_and_resets_together(name, options):
    unit, x, lengths = make(name, **options), sequence(2), torch.tensor([15, 23])
    reset = torch.zeros(2, 23, dtype=torch.bool)
    reset[:, 6] = reset[:, 15] = reset[0, 18] = True
    y, h_n = unit(x, reset=reset, lengths=lengths)
    for b, spans in enumerate(([(0, 6), (6, 15)], [(0, 6), (6, 15), (15, 23)])):
        for start, end in spans:
            same(y[b : b + 1, start:end], unit(x[b : b + 1, start:end])[0], exact(name, options))
    start = [6, 15]
    if not unit.bidirectional:
        for b in range(2):
            _, fresh = unit(x[b : b + 1, start[b] : lengths[b]])
            same(each(lambda v, b=b: v[:, b : b + 1], h_n), fresh, exact(name, options))


@every
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_equals_padded_with_lengths(name, options, enforce_sorted):
    unit, x = make(name, **options), sequence(4)
    lengths = torch.tensor([23, 9, 9, 2]) if enforce_sorted else torch.tensor([9, 2, 23, 9])
    hx, restart = random_state(unit, 4), random_reset_state(unit, 4)
    reset = torch.rand(4, 23) < 0.1
    reset[:2, 0] = True  # goes before the first state
    leaves = [x, *parts(hx), *parts(restart)]
    for leaf in leaves:
        leaf.requires_grad_()
    for start, cuts, states in ((None, None, None), (None, reset, None), (hx, reset, None), (hx, reset, restart)):
        expected, h_expected = unit(x, start, reset=cuts, reset_state=states, lengths=lengths)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=enforce_sorted)
        y, h_n = unit(packed, start, reset=cuts, reset_state=states)
        assert torch.equal(y.batch_sizes, packed.batch_sizes)
        for mine, theirs in ((y.sorted_indices, packed.sorted_indices), (y.unsorted_indices, packed.unsorted_indices)):
            assert mine is theirs
        padded, again = pad_packed_sequence(y, batch_first=True)
        assert torch.equal(again, lengths)
        same(padded, expected, exact(name, options))
        same(h_n, h_expected, exact(name, options))
        weights = torch.randn_like(padded)
        losses = [
            (out * weights).sum() + sum(h.abs().square().sum() for h in parts(state))
            for out, state in ((padded, h_n), (expected, h_expected))
        ]
        same(*(gradients(unit, loss, *leaves) for loss in losses))


@two_way
def test_two_directions_equal_two_units_by_hand(name, options):
    """Each direction of each layer is a unit of its own; the second reads backwards."""
    unit, x = make(name, **options), sequence()
    hx = random_state(unit)
    y, h_n = unit(x, hx)
    own = {key: value for key, value in options.items() if key not in ("bidirectional", "num_layers")}
    layer, states = x, []
    for index in range(unit.num_layers):
        outputs = []
        for direction, suffix in enumerate((f"_l{index}", f"_l{index}_reverse")):
            one = sized(UNITS, name, layer.shape[2], D, batch_first=True, dtype=torch.float64, **own)
            with torch.no_grad():
                for key, parameter in one.named_parameters():
                    parameter.copy_(getattr(unit, key.removesuffix("_l0") + suffix))
            start = each(lambda v: v[2 * index + direction][None], hx)  # noqa: B023
            source = layer.flip(1) if direction else layer
            out, state = one(source, start)
            outputs.append(out.flip(1) if direction else out)
            states.append(state)
        layer = torch.cat(outputs, -1)
    same(y, layer, exact(name, options))
    joined = tuple(torch.cat(v) for v in zip(*map(parts, states), strict=True))
    same(h_n, joined if isinstance(h_n, tuple) else joined[0], exact(name, options))


@every
def test_one_sequence_equals_a_batch_of_one_and_time_first_batch_first(name, options):
    unit, x = make(name, **options), sequence(1)
    reset = torch.rand(1, 23) < 0.2
    expected, h_expected = unit(x, reset=reset)
    y, h_n = unit(x[0], reset=reset[0])
    same(y, expected[0], exact(name, options))
    same(h_n, each(lambda v: v[:, 0], h_expected), exact(name, options))
    same(unit(x[0], h_n)[0], unit(x, h_expected)[0][0], exact(name, options))
    time_first = make(name, batch_first=False, **options)
    y, h_n = time_first(x.transpose(0, 1), reset=reset)
    same(y.transpose(0, 1), expected, exact(name, options))
    same(h_n, h_expected, exact(name, options))
    if not unit.bidirectional:
        y, h = unit.step(x[0, 0])
        batched, _ = unit.step(x[:, 0])
        same(y, batched[0], bits=True)
        same(unit.step(x[0, 1], h)[0], unit(x[0, :2])[0][1], exact(name, options))


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if "dropout" in case[1]], ids=case_id)
def test_dropout_lies_between_layers_and_only_in_training(name, options):
    unit, x = make(name, **options), sequence()
    still = unit(x)[0]
    same(unit(x)[0], still, bits=True)
    unit.train()
    torch.manual_seed(2)
    first = unit(x)[0]
    assert not torch.equal(first, unit(x)[0])
    torch.manual_seed(2)
    same(unit(x)[0], first, bits=True)
    unit.dropout = 1.0
    silent, _ = unit(x)
    second = {k.replace("_l1", "_l0"): v for k, v in unit.state_dict().items() if "_l1" in k}
    own = {k: v for k, v in options.items() if k not in ("num_layers", "dropout")}
    alone = sized(UNITS, name, D, D, batch_first=True, dtype=torch.float64, **own)
    alone.load_state_dict(second)
    same(silent, alone(torch.zeros(3, 23, D, dtype=torch.float64))[0], exact(name, options))
    same(unit.step(x[:, 0])[0], silent[:, 0], exact(name, options))


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("T", [1, 2, 63, 64, 65, 300])
def test_awkward_lengths(name, T):
    unit, x = make(name, num_layers=2), sequence(2, T)
    y, h_n = unit(x)
    y_steps, h = stepped(unit, x)
    same(y_steps, y, exact(name, {}))
    same(h, h_n, exact(name, {}))


@pytest.mark.parametrize("name", UNITS)
def test_an_empty_batch_passes(name):
    y, h = make(name, num_layers=2, bidirectional=True)(torch.zeros(0, 5, M, dtype=torch.float64))
    assert y.shape == (0, 5, 2 * D)
    assert all(v.shape == (4, 0, D) for v in parts(h))


@every
def test_non_contiguous_input_gives_the_same(name, options):
    unit, x = make(name, **options), sequence()
    wide = torch.randn(23, 2 * M, 3, dtype=torch.float64)
    wide[:, ::2] = x.permute(1, 2, 0)
    strided = wide[:, ::2].permute(2, 0, 1)
    assert not strided.is_contiguous()
    same(unit(strided)[0], unit(x)[0], exact(name, options))


def test_the_table_holds_every_unit_and_option():
    assert {name for name, _ in CASES} == set(UNITS) == set(CELLS)
    assert list(UNITS)[:13] == list(DECLARED)
    for name in UNITS:
        seen = set(itertools.chain.from_iterable(options for unit, options in CASES if unit == name))
        assert seen == {"bias", "num_layers", "dropout", "bidirectional"} | own_options(name)
        assert set(kind(name).initial_states) - {"zeros"} <= {options.get("initial_state") for _, options in CASES}


DECLARED = {  # scan, latches, shares time, annealed option, initial states, exact states, finite states
    "bmru": ("latch", True, True, "epsilon", ("zeros", "learned", "low"), True, True),
    "alpha_bmru": ("latch", True, True, "epsilon", ("zeros", "learned"), True, False),
    "cmru": ("latch", True, True, None, ("zeros", "learned", "low"), False, False),
    "alpha_cmru": ("latch", True, True, None, ("zeros", "learned"), False, False),
    "fq_bmru": ("linear", True, True, None, ("zeros", "learned"), True, True),
    "mru": ("transition", False, True, "epsilon", (), True, True),
    "lru": ("linear", False, True, None, (), False, False),
    "min_gru": ("linear", False, True, None, ("zeros", "learned"), False, False),
    "min_lstm": ("linear", False, True, None, ("zeros", "learned"), False, False),
    "brc": ("feedback", False, False, None, ("zeros", "learned"), False, False),
    "nbrc": ("feedback", False, False, None, ("zeros", "learned"), False, False),
    "gru": ("feedback", False, False, None, (), False, False),
    "lstm": ("feedback", False, False, None, (), False, False),
}
"""What the built-in units declare; the tests derive their cases from it, so it is written out once."""


@pytest.mark.parametrize("name", DECLARED)
def test_the_built_in_units_declare_what_they_are(name):
    says = make(name).recurrence
    found = (says.scan_kind, says.latches, says.shares_time, says.annealed_option, says.initial_states)
    assert (*found, says.exact_states, says.finite_states) == DECLARED[name]


@every
def test_a_unit_is_what_it_says(name, options):
    """It latches, its states are finitely many, and options change, where its equations say so."""
    unit, x = make(name, **options), 3 * sequence(4, 200)
    says = unit.recurrence
    p = unit._params("_l0")
    assert says.latches == (says.writes(p, x) is not None)
    assert (says.scan_kind == "latch") == (says.latch_gates(p, x) is not None)
    assert says.exact_states or not says.finite_states
    if says.finite_states:
        own = {key: value for key, value in options.items() if key in own_options(name)}
        one = make(name, **own)
        assert all(len(channel.unique()) <= 3 for channel in one(x)[0].flatten(0, 1).unbind(1))
    if says.annealed_option is not None:
        says.set_option(says.annealed_option, 1.0)
        assert getattr(says, says.annealed_option) == 1
        assert not says.exact_states
        with pytest.raises(ValueError, match=rf"`{says.annealed_option}` must be in \[0, 1\], got 2"):
            says.set_option(says.annealed_option, 2.0)
        assert getattr(says, says.annealed_option) == 1
    with pytest.raises(TypeError, match="no_such_option"):
        says.set_option("no_such_option", 1)
