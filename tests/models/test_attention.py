"""Attention with a cache: against its formula, by steps and chunks, resets that nothing crosses, errors."""

import math

import pytest
import torch

from remanent import Attention
from remanent.models import AttentionState

M, D, H = 4, 12, 3


def make(dtype=torch.float64):
    torch.manual_seed(0)
    return Attention(M, D, num_heads=H).to(dtype)


def by_hand(layer, x):
    """Softmax attention with rotary positions, one query and one head at a time."""
    T, E = x.shape[0], D // H
    query, key, value = (x @ layer.project_in.weight.T + layer.project_in.bias).chunk(3, -1)
    outputs = []
    for head in range(H):
        q, k, v = (m[:, head * E : (head + 1) * E] for m in (query, key, value))
        turn = torch.polar(
            torch.ones(T, E // 2, dtype=torch.float64),
            torch.arange(T)[:, None] * 10_000.0 ** (-torch.arange(0, E, 2, dtype=torch.float64) / E),
        )
        q, k = (turn * torch.complex(m[:, : E // 2], m[:, E // 2 :]) for m in (q, k))
        rows = []
        for t in range(T):
            scores = (q[t] * k[: t + 1].conj()).real.sum(-1) / math.sqrt(E)
            rows.append(scores.softmax(0) @ v[: t + 1])
        outputs.append(torch.stack(rows))
    return torch.cat(outputs, -1) @ layer.project_out.weight.T + layer.project_out.bias


def test_it_is_its_formula():
    layer, x = make(), torch.randn(2, 11, M, dtype=torch.float64)
    y, state = layer(x)
    for b in range(2):
        torch.testing.assert_close(y[b], by_hand(layer, x[b]))
    assert state.key.shape == (2, H, 11, D // H)
    assert state.visible is None


def test_only_distances_matter():
    """Rotary positions are relative: a late start, behind steps that are out of sight, changes nothing."""
    layer, x = make(), torch.randn(1, 30, M, dtype=torch.float64)
    reset = torch.zeros(1, 30, dtype=torch.bool)
    reset[0, 17] = True
    torch.testing.assert_close(layer(x, reset=reset)[0][:, 17:], layer(x[:, 17:])[0])


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_chunks_and_steps_equal_the_whole(resets, size):
    layer, x = make(), torch.randn(3, 14, M, dtype=torch.float64)
    reset = torch.rand(3, 14) < 0.2 if resets else torch.zeros(3, 14, dtype=torch.bool)
    whole, last = layer(x, reset=reset if resets else None)
    state, parts = None, []
    for start in range(0, 14, size):
        span = slice(start, start + size)
        cuts = reset[:, span] if reset[:, span].any() else None
        if size == 1:
            y, state = layer.step(x[:, start], state, reset=None if cuts is None else cuts[:, 0])
            parts.append(y[:, None])
        else:
            y, state = layer(x[:, span], state, reset=cuts)
            parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    torch.testing.assert_close(state.key, last.key)
    if resets:
        assert torch.equal(state.visible, last.visible)


def test_no_step_sees_the_future():
    layer, x = make(), torch.randn(1, 8, M, dtype=torch.float64, requires_grad=True)
    y, _ = layer(x)
    for t in range(8):
        grad = torch.autograd.grad(y[0, t].sum(), x, retain_graph=True)[0]
        assert not grad[0, t + 1 :].any()
        assert grad[0, : t + 1].any(-1).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nothing_crosses_a_reset_nor_nan(bad):
    layer, x = make(), torch.randn(2, 12, M, dtype=torch.float64)
    x[0, 3] = bad
    x.requires_grad_()
    reset = torch.zeros(2, 12, dtype=torch.bool)
    reset[0, 6] = True
    y, state = layer(x, reset=reset)
    torch.testing.assert_close(y[0, 6:], layer(x[:1, 6:])[0][0])
    torch.testing.assert_close(y[0, :3], layer(x[:1, :3])[0][0])
    assert y[0, 3:6].isnan().all()
    torch.testing.assert_close(y[1], layer(x[1:])[0][0])
    loss = y[0, 6:].sum() + y[1].sum()
    grad = torch.autograd.grad(loss, x, retain_graph=True)[0]
    assert torch.equal(grad[0, :6], torch.zeros_like(grad[0, :6]))
    assert grad[0, 6:].any(-1).all()
    more = torch.randn(2, 5, M, dtype=torch.float64)
    carried, _ = layer(more, state)
    fresh, _ = layer(torch.cat([x[:1, 6:], more[:1]], 1))
    torch.testing.assert_close(carried[0], fresh[0, 6:])


def test_the_cache_holds_every_step():
    layer, state = make(), None
    for step in range(1, 6):
        _, state = layer.step(torch.randn(2, M, dtype=torch.float64), state)
        assert isinstance(state, AttentionState)
        assert state.key.shape == state.value.shape == (2, H, step, D // H)


@pytest.mark.parametrize(
    ("sizes", "heads", "error", "message"),
    [
        ((4, 10), 3, ValueError, "`hidden_size` must be a multiple of twice the 3 heads, got 10"),
        ((0, 12), 3, ValueError, "`input_size` must be at least 1, got 0"),
        ((4, 12), 0, ValueError, "`num_heads` must be at least 1, got 0"),
        ((4, 12.0), 3, TypeError, "`hidden_size` must be an int, got 12.0"),
    ],
)
def test_bad_sizes_are_refused_by_name(sizes, heads, error, message):
    with pytest.raises(error, match=message):
        Attention(*sizes, num_heads=heads)


@pytest.mark.parametrize(
    ("reset", "error", "message"),
    [
        (torch.zeros(2, 5), TypeError, "`reset` must have dtype bool, got float32"),
        (torch.zeros(5, 2, dtype=torch.bool), ValueError, r"`reset` must have shape \(B=2, T=5\), got \(5, 2\)"),
    ],
)
def test_bad_resets_are_refused_by_name(reset, error, message):
    with pytest.raises(error, match=message):
        make(torch.float32)(torch.zeros(2, 5, M), reset=reset)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(2, 5), ValueError, r"`x` must have shape \(B, T, M=4\), got \(2, 5\)"),
        (torch.zeros(2, 5, 3), ValueError, r"`x` must have shape \(B, T, M=4\), got \(2, 5, 3\)"),
        (torch.zeros(2, 0, 4), ValueError, "`x` must have at least one time step, got T=0"),
        ("x", TypeError, "`x` must be a torch.Tensor, got str"),
    ],
)
def test_bad_input_is_refused_by_name(x, error, message):
    with pytest.raises(error, match=message):
        make(torch.float32)(x)


def test_a_state_of_another_batch_is_refused_by_name():
    layer = make(torch.float32)
    _, state = layer(torch.zeros(3, 5, M))
    with pytest.raises(ValueError, match=r"`state` must have keys \(B=2, H=3, S, E=4\), got \(3, 3, 5, 4\)"):
        layer(torch.zeros(2, 5, M), state)


def test_a_state_that_is_not_attentions_or_of_other_heads_is_refused_by_name():
    layer, x = make(torch.float32), torch.zeros(2, 5, M)
    _, state = Attention(M, D, num_heads=1)(x)
    with pytest.raises(ValueError, match=rf"`state` must have keys \(B=2, H=3, S, E=4\), got \(2, 1, 5, {D}\)"):
        layer(x, state)
    _, state = layer(x)
    for wrong, error, message in (
        (state.key, TypeError, "`state` must be an AttentionState, got Tensor"),
        (tuple(state), TypeError, "`state` must be an AttentionState, got tuple"),
        (state._replace(value=None), TypeError, "`state.value` must be a torch.Tensor, got NoneType"),
        (state._replace(value=state.value[:, :, 1:]), ValueError, r"values of its keys' shape \(2, 3, 5, 4\), got"),
        (
            state._replace(key=state.key.double()),
            TypeError,
            "`state.key` must have dtype torch.float32, got torch.float64",
        ),
        (state._replace(visible=torch.ones(2, 4) > 0), ValueError, r"`visible` \(B=2, S=5\), got \(2, 4\)"),
        (state._replace(visible=torch.ones(2, 5)), TypeError, "`state.visible` must have dtype torch.bool, got"),
        (state._replace(value=state.value.to("meta")), ValueError, "`state.value` must be on the device of the input"),
    ):
        for run, given in ((layer, x), (layer.step, x[:, 0])):
            with pytest.raises(error, match=message):
                run(given, wrong)
    with pytest.raises(TypeError, match=r"`reset` must be a torch\.Tensor, got list"):
        layer.step(x[:, 0], state, reset=[True, False])
    with pytest.raises(TypeError, match=r"`x` must have the dtype of the weights, torch.float32, got torch.float64"):
        layer(x.double())
