"""Sessions: any cut gives the whole, states go to other processes, streams restart one by one, memory stays."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from cases import rarely
from model_cases import VARIANTS, inputs, make

EXACT = [
    {"head": "every"},
    {"unit": "fq_bmru", "norm": "layer", "mlp": "gelu", "gate": True, "head": "every"},
    {"conv_size": 4, "clock": "sinusoid", "clock_size": 4, "clock_span": 9, "head": "every"},
    {"head": "mean", "initial_state": "learned"},
    {"clock": "sinusoid", "clock_size": 4, "clock_span": 9, "head": "every"},
    {"encoder": "embedding", "input_size": 11},
    {"unit": "mru", "encoder": "table", "input_size": 11, "conv_size": 3, "head": "every"},
]
OTHERS = [*VARIANTS, {"unit": "lru", "clock": "decay", "clock_size": 4, "clock_span": 9}]


@pytest.mark.parametrize("cuts", [(1,) * 40, (7, 33), (16, 1, 16, 7)])
@pytest.mark.parametrize("options", EXACT)
def test_any_cut_gives_the_same_bits(options, cuts):
    model = make(torch.float32, **options)
    x = inputs(model, T=40)
    with torch.no_grad():
        whole, _ = model(x)
    session = model.stream(3)
    outputs = [session.push(part) for part in x.split(cuts, dim=1)]
    pushed = torch.cat(outputs, 1) if model.config.head == "every" else outputs[-1]
    assert torch.equal(pushed, whole)


@pytest.mark.parametrize("options", OTHERS)
def test_a_stream_goes_on_elsewhere_and_restarts_one_by_one(options, tmp_path):
    model = make(torch.float32, **options)  # safetensors has no complex128
    x, which = inputs(model, T=20), torch.tensor([True, False, True])
    session = model.stream(3)
    session.push(x[:, :6])
    session.reset(which)
    save_file(session.state(), tmp_path / "state.safetensors")
    other = model.stream(3)
    other.push(x[:, 3:9])
    other.load(load_file(tmp_path / "state.safetensors"))
    here, there = session.push(x[:, 6:]), other.push(x[:, 6:])
    assert torch.equal(here, there)
    fresh, through = model.stream(3).push(x[:, 6:]), model.stream(3).push(x)
    through = through[:, 6:] if model.config.head == "every" else through
    expected = torch.where(which.view(-1, *[1] * (fresh.dim() - 1)), fresh, through)
    torch.testing.assert_close(here, expected, rtol=1e-4, atol=1e-5)
    session.reset()
    assert set(session.state()) == {"restart"}
    assert torch.equal(session.push(x[:, 6:]), fresh)


def test_a_state_is_a_copy_and_keeps_no_gradient():
    model = make(torch.float32, head="every")
    session = model.stream(3)
    x = inputs(model)
    assert not session.push(x).requires_grad
    state = session.state()
    kept = {name: value.clone() for name, value in state.items()}
    session.push(x)
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    session.load(state)
    for value in state.values():
        value.zero_()
    assert torch.equal(session.state()["layers.0.0"], kept["layers.0.0"])


def test_a_mean_counts_further_than_float32_can():
    model = make(torch.float32, head="mean", unit="lru")
    session = model.stream()
    x = inputs(model, B=1)
    session.push(x)
    state = session.state()
    state["steps"] += 2**24
    session.load(state)
    session.push(x[:, :1])
    assert session.state()["steps"].item() == 2**24 + 21


def test_bad_input_is_refused_and_changes_nothing():
    model = make(torch.float32, unit="bmru+lstm,attention", num_heads=2, head="mean")
    session = model.stream(2)
    x = inputs(model, B=2)
    session.push(x)
    before = session.state()

    def refused(error, match, call, *args):
        with pytest.raises(error, match=match):
            call(*args)
        assert before.keys() == session.state().keys()
        assert all(torch.equal(session.state()[name], before[name]) for name in before)

    refused(ValueError, r"`x` must have the session's B=2 streams, got \(3, 20, 3\)", session.push, inputs(model))
    refused(ValueError, r"`x` must have shape \(B, T, M=3\)", session.push, x[..., :2])
    refused(TypeError, "`x` must be a torch.Tensor, got list", session.push, [1.0])
    refused(ValueError, r"`which` must have shape \(2,\), got \(3,\)", session.reset, torch.ones(3, dtype=torch.bool))
    refused(TypeError, "`which` must have dtype torch.bool", session.reset, torch.ones(2))
    refused(TypeError, "`state` must be a dict of tensors", session.load, torch.ones(2))
    for name in before:
        less = {key: value for key, value in before.items() if key != name}
        refused(ValueError, f"`state` must hold '{name}' for this model", session.load, less)
        refused(TypeError, "must be a torch.Tensor, got int", session.load, {**before, name: 3})
        refused(ValueError, "must have shape", session.load, {**before, name: before[name][None]})
    refused(ValueError, "got the unknown layers.7.0", session.load, {**before, "layers.7.0": torch.ones(2)})
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        model.stream(0)
    with pytest.raises(ValueError, match=r"evaluation mode .*, with dropout"):
        make(torch.float32, dropout=0.5).train().stream()


LONG = """
import resource
import torch
from remanent import ModelConfig, SequenceModel

torch.set_num_threads(1)
model = SequenceModel(ModelConfig(input_size=1, output_size=1, hidden_size=4, num_layers=1, unit={unit!r}, head="mean"))
session = model.stream()
generator = torch.Generator().manual_seed(0)
for steps in {steps}:
    for _ in range(steps // 50_000):
        y = session.push(torch.randn(1, 50_000, 1, generator=generator))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
assert y.isfinite().all() and session.state()["steps"].item() == sum({steps})
"""


@pytest.mark.parametrize("more", [3_000_000, rarely(9_500_000)])
@pytest.mark.parametrize("unit", ["bmru", "lru"])
def test_millions_of_steps_take_constant_memory(unit, more):
    """A float32 kept for each step and channel would take 48 MB or more."""
    code = LONG.format(unit=unit, steps=(500_000, more))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, last = (int(kib) for kib in run.stdout.split())
    assert last < first + 20 * 1024
