"""Units whose time is shared out: outputs, last states and gradients of one process; others are refused by name."""

import pytest
import torch

import shard_calls
import unit_cases
from helpers import assert_close
from remanent import UNITS

SHARED = tuple(name for name in UNITS if unit_cases.kind(name).shares_time)
B, T = 3, 9
CUTS = {2: (0, 9, 9), 4: (0, 0, 3, 8, 9)}
OPTIONS = [{"num_layers": 2}, {"initial_state": "learned"}, {"initial_state": "low"}, {"checkpoint": True}]
CASES = [
    (name, options)
    for name in SHARED
    for options in OPTIONS
    if options.get("initial_state") is None or (name, options) in unit_cases.CASES
]
CASES += [(name, {"gate_norm": "batch", "num_layers": 2}) for name in ("bmru", "fq_bmru")]  # moments over all steps
CASES.append(("causal_conv", {"taps": 7}))  # a window that reaches over shards of three, five and no steps


def test_every_unit_shares_its_time_or_says_that_it_does_not():
    assert (
        tuple(name for name in UNITS if unit_cases.kind(name).scan_kind in ("latch", "linear", "transition")) == SHARED
    )


@pytest.mark.parametrize(("name", "options"), CASES, ids=unit_cases.case_id)
def test_outputs_states_and_gradients_are_those_of_one_process(crew, name, options):
    torch.manual_seed(1)
    x, reset = torch.randn(B, T, unit_cases.M, dtype=torch.float64), torch.rand(B, T) < 0.15
    reset[0] = False
    unit = unit_cases.make(name, **options)
    weights = torch.randn(B, T, unit.hidden_size, dtype=torch.float64)
    h = unit_cases.random_state(unit, B)
    restart = unit_cases.random_reset_state(unit, B, T)
    for starts in ((None, None, None), (h, reset, restart if options else None)):
        expected = shard_calls.run_unit(0, 1, name, options, x, *starts, (0, T), weights)
        found = crew.run(shard_calls.run_unit, name, options, x, *starts, CUTS[len(crew.pipes)], weights)
        ys, states, of_x, of_others = zip(*found, strict=True)
        if unit_cases.exact(name, options):
            assert torch.equal(torch.cat(ys, 1), expected[0])
            assert all(torch.equal(state, expected[1]) for state in states)
        assert_close(torch.cat(ys, 1), expected[0], 1e-12, "y")
        for state in states:
            assert_close(state, expected[1], 1e-12, "h_n")
        assert_close(torch.cat(of_x, 1), expected[2], 1e-12, "x")
        for key, grad in expected[3].items():
            assert_close(sum(grads[key] for grads in of_others), grad, 1e-12, key)


@pytest.mark.parametrize("name", sorted(set(UNITS) - set(SHARED)))
def test_a_cell_whose_gates_see_the_state_is_refused(crew, name):
    rule = f"`group` must be None for {UNITS[name].__name__}, whose time is not shared, got one"
    found = crew.run(shard_calls.call_unit, name, {}, (B, 2, unit_cases.M), {})
    assert found == [("ValueError", rule)] * len(crew.pipes)


def test_what_is_not_shared_or_does_not_fit_raises_everywhere(crew):
    size = len(crew.pipes)
    rule = "`group` must be None with two directions, `lengths` or a PackedSequence, got one"
    for options, arguments in (({"bidirectional": True}, {}), ({}, {"lengths": torch.tensor([1, 2, 2])})):
        found = crew.run(shard_calls.call_unit, "bmru", options, (B, 2, unit_cases.M), arguments)
        assert found == [("ValueError", rule)] * size
    found = crew.run(shard_calls.call_unit, "bmru", {}, (B, 2, unit_cases.M + 1), {})
    assert all(kind == "ShapeError" and "`input`" in words for kind, words in found)
    found = crew.run(shard_calls.call_unit, "lru", {}, (B, 0, unit_cases.M), {})
    rule = "at least one process of `group` must have a time step, got T=0 on all of them"
    assert found == [("ValueError", rule)] * size
