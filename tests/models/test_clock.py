"""The clock: it fades to exactly zero, starts again at a reset, and steps equal sequences bit for bit."""

import dataclasses
import math

import pytest
import torch

from remanent import ModelConfig, SequenceModel
from remanent.models import Clock

CONFIG = ModelConfig(3, 2, hidden_size=8, head="every", clock_size=6, clock_span=10, num_heads=2)


@pytest.mark.parametrize("kind", ["sinusoid", "decay"])
def test_features_are_those_of_the_formula_and_zero_after_the_span(kind):
    features, time = Clock(kind, size=6, span=40)(2, 100)
    assert time.tolist() == [40, 40]
    assert torch.equal(features[0], features[1])
    assert features[:, 40:].eq(0).all()
    for t in range(40):
        lengths = [4 * {"sinusoid": 20, "decay": 2.5}[kind] ** (i / 2) for i in range(3)]
        fading = [math.exp(-2 * t / w) if kind == "decay" else 1 for w in lengths]
        waves = (math.sin, math.cos)
        expected = [f(2 * math.pi * t / w) * e for f in waves for w, e in zip(lengths, fading, strict=True)]
        assert features[0, t].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["sinusoid", "decay"])
def test_chunks_and_resets_tell_the_time_since_the_start(kind):
    clock = Clock(kind, size=4, span=9)
    whole, end = clock(1, 30)
    first, time = clock(1, 4)
    second, time = clock(1, 26, time)
    assert torch.equal(torch.cat([first, second], 1), whole)
    assert torch.equal(time, end)
    reset = torch.zeros(1, 30, dtype=torch.bool)
    reset[0, [5, 6, 20]] = True
    cut, time = clock(1, 30, torch.tensor([3]), reset=reset)
    starts = [(0, 5, 3), (5, 6, 0), (6, 20, 0), (20, 30, 0)]
    expected = torch.cat([clock(1, b - a, torch.tensor([t]))[0] for a, b, t in starts], 1)
    assert torch.equal(cut, expected)
    assert time.item() == 9


@pytest.mark.parametrize("kind", ["sinusoid", "decay"])
@pytest.mark.parametrize("unit", ["bmru", "bmru+lru", "attention"])
@pytest.mark.parametrize("head", ["every", "last", "mean"])
def test_a_model_with_a_clock_gives_the_same_in_chunks_and_steps(kind, unit, head):
    torch.manual_seed(0)
    model = SequenceModel(dataclasses.replace(CONFIG, clock=kind, unit=unit, head=head)).eval()
    x = torch.randn(2, 30, 3)
    reset = torch.rand(2, 30) < 0.1
    whole, end = model(x, reset=reset)
    _, state = model(x[:, :7], reset=reset[:, :7])
    chunk, state = model(x[:, 7:], state, reset=reset[:, 7:])
    tolerance = {"rtol": 0, "atol": 0} if unit == "bmru" and head != "mean" else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(chunk, whole[:, 7:] if head == "every" else whole, **tolerance)
    assert torch.equal(state.time, end.time)
    state = None
    for t in range(30):
        y, state = model.step(x[:, t], state, reset=reset[:, t])
        if head == "every":
            torch.testing.assert_close(y, whole[:, t], **tolerance)
    if head != "every":
        torch.testing.assert_close(y, whole, **tolerance)
    assert torch.equal(state.time, end.time)


def test_after_the_span_nothing_tells_the_time():
    """Left alone after the span, a latching model does not change by a bit, however long."""
    torch.manual_seed(0)
    model = SequenceModel(dataclasses.replace(CONFIG, clock="sinusoid")).eval()
    x = torch.cat([torch.randn(4, 10, 3), torch.zeros(4, 500, 3)], 1)
    y, _ = model(x)
    later = y[:, 12:]
    assert torch.equal(later, later[:, :1].expand_as(later))
    assert not torch.equal(y[:, 8], y[:, 9])


def test_every_layer_is_given_the_clock():
    model = SequenceModel(dataclasses.replace(CONFIG, clock="decay"))
    assert [block.layer.units[0].input_size for block in model.blocks] == [14, 14]
    assert not any("clock" in name for name in model.state_dict())


def test_a_clock_keeps_its_time_through_memory_that_holds_nothing():
    """Its table is in no file: a move to empty memory, or to weights that were assigned, fills it again."""
    config = dataclasses.replace(CONFIG, clock="sinusoid")
    model, x = SequenceModel(config), torch.randn(2, 20, 3)
    expected, weights = model(x)[0], model.state_dict()
    with torch.device("meta"):
        emptied, assigned = SequenceModel(config), SequenceModel(config)
    assert emptied(x.to("meta"))[0].is_meta
    emptied.to_empty(device="cpu").load_state_dict(weights)
    assigned.load_state_dict(weights, assign=True)
    again = SequenceModel(config).to_empty(device="cpu")
    again.load_state_dict(weights)
    rounded = SequenceModel(config).bfloat16().float()
    rounded.load_state_dict(weights)
    for other in (emptied, assigned, again, rounded):
        assert torch.equal(other(x)[0], expected)
    assert not any(name.startswith("clock") for name in weights)


def test_a_saved_model_keeps_its_clock(tmp_path):
    model = SequenceModel(dataclasses.replace(CONFIG, clock="sinusoid")).eval()
    model.save(tmp_path / "model")
    x = torch.randn(2, 20, 3)
    assert torch.equal(SequenceModel.load(tmp_path / "model")(x)[0], model(x)[0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Clock("none", size=2, span=2), ValueError, "`kind` must be one of sinusoid, decay, got 'none'"),
        (lambda: Clock("sinusoid", size=3, span=2), ValueError, "`size` must be even, got 3"),
        (lambda: Clock("decay", size=0, span=2), ValueError, "`size` must be at least 2, got 0"),
        (lambda: Clock("decay", size=2, span=0), ValueError, "`span` must be at least 1, got 0"),
        (
            lambda: Clock("decay", size=64, span=2**20),
            ValueError,
            "`size` times `span` must be at most 33554432, got 64",
        ),
        (
            lambda: ModelConfig(1, 1, clock="decay", clock_span=2**21),
            ValueError,
            r"`clock_size` times `clock_span` must be at most 33554432, got 32 times 2097152",
        ),
        (lambda: ModelConfig(1, 1, clock="sun"), ValueError, "`clock` must be one of none, sinusoid, decay, got 'sun'"),
        (lambda: ModelConfig(1, 1, clock="sinusoid", clock_size=5), ValueError, "`clock_size` must be even"),
        (lambda: ModelConfig(1, 1, clock_span=0), ValueError, "`clock_span` must be at least 1, got 0"),
    ],
)
def test_bad_clocks_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_state_without_time_is_refused():
    with_clock = SequenceModel(dataclasses.replace(CONFIG, clock="decay"))
    without = SequenceModel(CONFIG)
    x = torch.randn(1, 2, 3)
    with pytest.raises(ValueError, match=r"`state` must be that of this model, which has a clock"):
        with_clock(x, without(x)[1])
    with pytest.raises(ValueError, match=r"`state` must be that of this model, which has no clock"):
        without(x, with_clock(x)[1])
    _, state = with_clock(x)
    with pytest.raises(ValueError, match=r"`state.time` must have shape \(1,\), got \(2,\)"):
        with_clock(x, state._replace(time=torch.zeros(2, dtype=torch.int64)))
    with pytest.raises(TypeError, match=r"`state.time` must have dtype torch.int64, got torch.float32"):
        with_clock(x, state._replace(time=torch.zeros(1)))
