"""Models whose time is shared out: outputs, states and gradients of one process, with every head and a clock."""

import pytest
import torch

import shard_calls
from helpers import assert_close
from model_cases import inputs, make, states_of_steps

T = 9
CUTS = {2: (0, 9, 9), 4: (0, 0, 3, 8, 9)}
MODELS = [
    {"head": "every"},
    {"unit": "bmru+lru", "clock": "sinusoid", "clock_size": 4, "clock_span": 5},
    {"unit": "fq_bmru,cmru+min_gru", "head": "mean", "join": "sum", "clock": "decay", "clock_size": 4},
    {"encoder": "embedding", "input_size": 11, "initial_state": "learned", "gate": True, "conv_size": 4},
    {"unit": "mru", "encoder": "table", "input_size": 11, "num_states": 2, "state_size": 12, "conv_size": 2},
]


@pytest.mark.parametrize("options", MODELS, ids=lambda o: ",".join(f"{k}={v}" for k, v in o.items()))
def test_outputs_states_and_gradients_are_those_of_one_process(crew, options):
    model = make(**options)
    x, before = inputs(model, T=T), model(inputs(model, T=3))[1].detach()
    reset = torch.rand(3, T, generator=torch.Generator().manual_seed(2)) < 0.2
    reset[0] = False
    weights = torch.randn(3, T, 2, dtype=torch.float64)
    exact = options.get("unit", "bmru") in ("bmru", "mru")
    starts = states_of_steps(model, 3, T)
    for given in ((None, None, None), (before, reset, None), (before, reset, starts)):
        y, after, grads = shard_calls.run_model(0, 1, options, x, *given, (0, T), weights)
        found = crew.run(shard_calls.run_model, options, x, *given, CUTS[len(crew.pipes)], weights)
        outputs, states, shares = zip(*found, strict=True)
        for output in [torch.cat(outputs, 1)] if y.dim() == 3 else outputs:
            assert_close(output, y, 1e-12, "y")
            assert not exact or torch.equal(output, y)
        for other in states:
            assert other.named().keys() == after.named().keys()
            for name, value in other.named().items():
                assert_close(value, after.named()[name], 1e-12, name)
                assert not exact or torch.equal(value, after.named()[name])
        for name, grad in grads.items():
            assert_close(sum(share[name] for share in shares), grad, 1e-11, name)


def test_what_does_not_share_its_time_or_does_not_fit_raises_everywhere(crew):
    size = len(crew.pipes)
    good = torch.zeros(2, 3, 3, dtype=torch.float64)
    for options, x, message in (
        ({"unit": "attention+bmru", "num_heads": 2}, good, "`group` must be None for a model with attention"),
        ({"unit": "gru", "clock": "sinusoid"}, good, "`group` must be None for GRU, whose time is not shared"),
        ({}, good[..., :2], "`x` must have shape (B, T, M=3), got (2, 3, 2)"),
        ({}, good[:, :0], "at least one process of `group` must have a time step, got T=0 on all of them"),
    ):
        found = crew.run(shard_calls.call_model, options, x)
        assert [kind for kind, _ in found] == ["ValueError"] * size
        assert all(words.startswith(message) for _, words in found), found
