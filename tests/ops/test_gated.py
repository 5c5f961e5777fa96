"""Scans with gates: one pass equals the time loop of what the gates make, in values and gradients."""

import pytest
import torch

from cases import crossed
from helpers import assert_close
from remanent.ops import linear_scan
from remanent.ops.arguments import InitialStates
from remanent.ops.gated import fused
from remanent.ops.gated.gate_arguments import CELLS, GatedCall
from remanent.ops.gated.gated import composed, gated_scan, gated_step

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-12}
WIDTH = 1.3


def case(cell, dtype, *, T=65, B=3, D=5, reset="each"):
    generator = torch.Generator().manual_seed(T)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    given = [2 * draw(B, T, CELLS[cell] * D)]
    if cell == "between":
        given += [draw(D).abs(), 1 + draw(D).abs(), draw(D)]
    given.append(draw(B, D))
    mask = torch.rand(B, T, generator=generator) < 0.2 if reset else None
    if reset:
        given.append(draw(*((B, T, D) if reset == "each" else (D,))))
    return [v.requires_grad_() for v in given], mask


def split(given, mask):
    """The gates, and the states that a scan starts from."""
    count = len(given) - 1 - (mask is not None)
    return tuple(given[:count]), InitialStates(given[count], mask, given[count + 1] if mask is not None else None)


def by_loop(cell, given, mask):
    gates, initial = split(given, mask)
    decay, value = composed(gates, cell, WIDTH)
    h0, reset, start = initial
    return linear_scan(decay, value, h0, reset=reset, reset_state=start, backend="reference")


def compare(cell, dtype, given, mask):
    gates, initial = split(given, mask)
    found, expected = gated_scan(gates, initial, cell=cell, width=WIDTH), by_loop(cell, given, mask)
    assert_close(found, expected, 0 if cell == "between" else TOLERANCE[dtype], "states")
    weight = torch.randn(found.shape, dtype=dtype)
    grads, wanted = (torch.autograd.grad((states * weight).sum(), given) for states in (found, expected))
    for i, (grad, other) in enumerate(zip(grads, wanted, strict=True)):
        assert_close(grad, other, 5 * TOLERANCE[dtype], f"gradient {i}")


@crossed(cell=list(CELLS), dtype=list(TOLERANCE), T=[1, 2, 63, 64, 65, 300], reset=[False, "all", "each"])
def test_one_pass_equals_the_time_loop(cell, dtype, T, reset):
    compare(cell, dtype, *case(cell, dtype, T=T, reset=reset))


@pytest.mark.parametrize("cell", CELLS)
def test_time_that_threads_share_equals_the_time_loop(cell, monkeypatch):
    monkeypatch.setattr(fused, "cuts_time", lambda shape: True)
    compare(cell, torch.float64, *case(cell, torch.float64))


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_is_a_scan_of_one(cell):
    given, mask = case(cell, torch.float64, T=1, reset=False)
    gates, initial = split(given, mask)
    after = gated_step((gates[0][:, 0], *gates[1:]), initial.h0, cell=cell, width=WIDTH)
    assert_close(after, gated_scan(gates, initial, cell=cell, width=WIDTH)[:, 0], 1e-12, "state")


@pytest.mark.parametrize("cell", CELLS)
def test_opcheck(cell):
    given, mask = case(cell, torch.float64, T=9)
    gates, initial = split(given, mask)
    parameters = gates[1:] or (None,) * 3
    call = GatedCall(gates[0], *parameters, *initial, cell, WIDTH)
    torch.library.opcheck(torch.ops.remanent.gated_scan.default, call)


@pytest.mark.parametrize("cell", ["min_gru", "min_lstm"])
def test_a_smooth_cell_has_two_derivatives(cell):
    given, mask = case(cell, torch.float64, T=4, B=2, D=2)

    def scan(*leaves):
        gates, initial = split(leaves, mask)
        return gated_scan(gates, initial, cell=cell)

    assert torch.autograd.gradcheck(scan, given)
    assert torch.autograd.gradgradcheck(scan, given)


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-5), (torch.float64, 1e-13)], ids=str)
def test_gates_that_are_all_but_closed_or_not_numbers_are_exact(dtype, relative):
    """Compared with float64; a difference of two gates of 85 has five digits in float32."""
    ends = torch.tensor([0.0, -0.0, 1e-30, 20.0, 60.0, 85.0, 200.0, torch.nan])
    values = torch.cat([ends, -ends, torch.linspace(-30, 30, 101)]).to(dtype)
    forget, write = torch.meshgrid(values, values, indexing="ij")
    ones, zeros = torch.ones_like(forget), torch.zeros_like(forget)
    for cell, gates in (("min_gru", [forget]), ("min_lstm", [forget, write])):
        kept, taken = composed((torch.cat([ones, *gates], dim=-1).double(),), cell)
        for h, candidate, expected in ((zeros, ones, taken), (ones, zeros, kept)):
            joint = torch.cat([candidate, *gates], dim=-1)[:, None]
            found = gated_scan((joint,), InitialStates(h, None, None), cell=cell)[:, 0]
            torch.testing.assert_close(found, expected.to(dtype), rtol=relative, atol=1e-37, equal_nan=True)


def test_a_latch_between_thresholds_never_reads_an_infinite_size_or_state():
    candidate = torch.tensor([[[0.0], [1.0], [3.0], [1.0], [0.0], [1.0]]])
    gates = (candidate, *(torch.tensor([v]) for v in (0.5, 2.0, torch.inf)))
    states = gated_scan(gates, InitialStates(None, None, None), cell="between")
    assert states.flatten().tolist() == [0.0, 0.0, torch.inf, torch.inf, 0.0, 0.0]
    h, steps = torch.zeros(1, 1), []
    for c in gates[0].unbind(1):
        h = gated_step((c, *gates[1:]), h, cell="between")
        steps.append(h.item())
    assert steps == states.flatten().tolist()


@pytest.mark.parametrize("cell", CELLS)
def test_transforms_and_forward_mode_take_the_composition(cell):
    given, mask = case(cell, torch.float64, T=6, reset=False)
    given = [v.detach() for v in given]
    stacked = torch.stack([given[0], 2 * given[0]])

    def scan(joint):
        gates, initial = split([joint, *given[1:]], mask)
        return gated_scan(gates, initial, cell=cell, width=WIDTH)

    expected = torch.stack([scan(joint) for joint in stacked])
    assert_close(torch.func.vmap(scan)(stacked), expected, 1e-12, "states")
    if cell != "between":
        _, moved = torch.func.jvp(scan, (given[0],), (torch.ones_like(given[0]),))
        jacobian = torch.autograd.functional.jvp(scan, given[0], torch.ones_like(given[0]))[1]
        assert_close(moved, jacobian, 1e-12, "tangent")
