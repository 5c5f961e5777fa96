"""The Triton kernels that read memory once, interpreted on a CPU, against the float64 reference."""

import pytest
import torch

from cases import rarely
from helpers import interpreted_modules
from remanent.bench.gpu.problems import (
    LIMITS,
    Shape,
    distance,
    exact,
    latch_inputs,
    linear_inputs,
    run_latch,
    run_linear,
    weights,
)
from remanent.ops.gpu import once

pytest.importorskip("triton", reason="the GPU kernels need Triton")

NAMES = [f"remanent.ops.gpu.{name}" for name in ("look_back", "latch_once", "linear_once")]
SMALL = once.Tiling(parts=8, steps=8, warps=1, group=2)
"""Pieces of 64 steps, of which two make a group and four a block: 600 steps look back over all levels."""
PAIRS = SMALL._replace(block=8, pair=2)
SHAPES = {
    "all levels": Shape(1, 600, 3, reset=True),
    "one step more than a piece": Shape(2, 65, 3),
    "constant": Shape(1, 130, 2, moves=False, h0=False),
    "wider than a program": Shape(1, 70, 33, reset=True),
    "halves of one": Shape(1, 130, 2, layout="joint", reset=True),
}
WIDTH = 1.5


@pytest.fixture(scope="module")
def interpreted():
    return tuple(interpreted_modules(NAMES)[1:])


@pytest.fixture(autouse=True)
def kernels(interpreted, monkeypatch):
    monkeypatch.setattr(once, "_kernels", lambda: interpreted)
    monkeypatch.setattr(once, "TILINGS", dict.fromkeys(once.TILINGS, SMALL))


OFTEN = {
    "latch": ("all levels", "constant", "wider than a program"),
    "linear": ("one step more than a piece", "halves of one"),
}
"""The shapes in `make test`: each is interpreted for one of the scans, since that takes seconds."""


def shapes(scan):
    return pytest.mark.parametrize("name", [name if name in OFTEN[scan] else rarely(name) for name in SHAPES])


@shapes("latch")
def test_the_latch_equals_the_reference(name):
    dtype = torch.bfloat16 if name == "constant" else torch.float32
    inputs = latch_inputs(SHAPES[name], dtype, "cpu")
    grad = weights(inputs)
    states, grads = run_latch("gpu", inputs, grad, 0.0, WIDTH)
    wanted, wanted_grads = exact("latch_scan", inputs, grad, 0.0, WIDTH)
    assert torch.equal(states, wanted.to(dtype))
    compare(inputs, grads, wanted_grads, LIMITS[dtype])


@shapes("linear")
def test_the_linear_scan_equals_the_reference(name):
    dtype = torch.bfloat16 if name == "constant" else torch.float32
    inputs = linear_inputs(SHAPES[name], dtype, "cpu")
    grad = weights(inputs)
    states, grads = run_linear("gpu", inputs, grad)
    wanted, wanted_grads = exact("linear_scan", inputs, grad)
    assert distance(states, wanted) <= LIMITS[dtype]
    compare(inputs, grads, wanted_grads, LIMITS[dtype])


def compare(inputs, grads, wanted, limit):
    for name, grad in grads.items():
        if inputs[name] is None:
            assert name == "h0" or not grad.any()
        elif wanted[name] is None:
            assert not grad.any(), name
        else:
            assert distance(grad, wanted[name]) <= limit, name


PAIRED = {
    "latch": [("latch", torch.bfloat16, Shape(1, 270, 10, reset=True)), ("latch", torch.float16, Shape(1, 66, 3))],
    "linear": [
        ("linear", torch.float16, Shape(1, 270, 10, reset=True)),
        ("linear", torch.bfloat16, Shape(2, 66, 6, moves=False, layout="joint")),
    ],
}
"""Wider than a program, over all levels; with an odd width, whose pairs would be cut; and halves of one tensor."""


@pytest.mark.parametrize(
    ("scan", "dtype", "shape"),
    [PAIRED["latch"][0], rarely(*PAIRED["latch"][1]), PAIRED["linear"][0], rarely(*PAIRED["linear"][1])],
)
def test_half_types_are_read_in_pairs(scan, dtype, shape, monkeypatch):
    monkeypatch.setattr(once, "TILINGS", dict.fromkeys(once.TILINGS, PAIRS))
    if scan == "latch":
        inputs = latch_inputs(shape, dtype, "cpu")
        states, grads = run_latch("gpu", inputs, weights(inputs), 0.0, WIDTH)
        wanted, wanted_grads = exact("latch_scan", inputs, weights(inputs), 0.0, WIDTH)
        assert torch.equal(states, wanted.to(dtype))
    else:
        inputs = linear_inputs(shape, dtype, "cpu")
        states, grads = run_linear("gpu", inputs, weights(inputs))
        wanted, wanted_grads = exact("linear_scan", inputs, weights(inputs))
        assert distance(states, wanted) <= LIMITS[dtype]
    compare(inputs, grads, wanted_grads, LIMITS[dtype])


def test_a_row_that_would_cut_pairs_is_read_alone():
    even, odd = torch.empty(2, 100, 6), torch.empty(2, 100, 7)[..., :6]
    assert once._Work.of(even, PAIRS, (even,), kinds=1).tiling.pair == 2
    assert once._Work.of(even, PAIRS, (even, odd), kinds=1).tiling.pair == 1
    assert once._Work.of(odd[..., :5], PAIRS, (), kinds=1).tiling.pair == 1
    work = once._Work.of(even, PAIRS, (even,), kinds=2)
    assert work.strides == [(300, 3)]
    assert work.sizes == (2, 100, 3, 12, 6)
    assert [len(words) for words in work.words] == [48, 24, 12]


def test_no_nan_crosses_a_reset():
    inputs = linear_inputs(Shape(1, 200, 2, reset=True), torch.float32, "cpu")
    inputs["reset"].zero_()[:, 140] = True
    inputs["h0"].fill_(torch.nan)
    grad = weights(inputs)
    grad[:, :140] = 0.0
    states, grads = run_linear("gpu", inputs, grad)
    assert states[:, :140].isnan().all()
    assert not states[:, 140:].isnan().any()
    assert not grads["h0"].any()
    inputs = latch_inputs(Shape(1, 200, 2, reset=True), torch.float32, "cpu")
    inputs["reset"].zero_()[:, 140] = True
    inputs["threshold"].fill_(1e6)  # nothing is written
    inputs["h0"].fill_(torch.nan)
    states, grads = run_latch("gpu", inputs, grad, 0.0, WIDTH)
    assert states[:, :140].isnan().all()
    assert torch.equal(states[:, 140:], inputs["reset_state"].expand(1, 60, 2))
    assert not grads["h0"].any()


def test_what_is_not_read_once():
    assert once.tiling_for("latch forward", torch.empty(1, 65, 2)) == SMALL
    assert once.tiling_for("latch forward", torch.empty(1, 64, 2)) is None
    assert once.tiling_for("latch forward", torch.empty(1, 65, 2, dtype=torch.float64)) is None
    assert once.tiling_for("linear forward", torch.empty(1, 65, 2, dtype=torch.complex64)) is None
