"""Sequences that differ in length, models of two directions, and models that know the statistics of data."""

import math
import shutil

import pytest
import torch

from remanent import ModelConfig, SequenceModel
from remanent.export import export_c, export_onnx
from remanent.latches import set_write_rates
from remanent.latches.layer_runs import Arguments, call, watch_layers
from remanent.models import Statistics, set_statistics
from remanent.models.inputs import check_lengths
from remanent.tasks import OwnData, Parity
from remanent.tasks.base import read_whole
from remanent.training import evaluate, failing_length

LENGTHS = [7, 3, 5]
WHOLE = {"hidden_size": 8, "unit": "bmru+lru", "conv_size": 3, "clock": "sinusoid", "clock_size": 4, "clock_span": 6}


def make(**options):
    torch.manual_seed(0)
    return SequenceModel(ModelConfig(**{"input_size": 3, "output_size": 2, **WHOLE, **options})).double().eval()


def batch():
    return torch.randn(3, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def real(y, i, head):
    return y[i : i + 1, : LENGTHS[i]] if head == "every" else y[i : i + 1]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("head", ["last", "mean", "every"])
def test_padding_changes_no_output_no_state_and_no_gradient(head, bidirectional):
    model, x = make(head=head, bidirectional=bidirectional), batch().requires_grad_()
    y, state = model(x, lengths=LENGTHS)
    sum(real(y, i, head).square().sum() for i in range(3)).backward()
    for i, length in enumerate(LENGTHS):
        alone = x.detach()[i : i + 1, :length].requires_grad_()
        expected, after = model(alone)
        torch.testing.assert_close(real(y, i, head), expected)
        expected.square().sum().backward()
        torch.testing.assert_close(x.grad[i : i + 1, :length], alone.grad)
        assert not x.grad[i, length:].any()
        if not bidirectional:
            for name, value in after.named().items():
                axis = 1 if name.startswith(("layers", "windows")) else 0
                torch.testing.assert_close(state.named()[name].select(axis, i), value.select(axis, 0))


@pytest.mark.parametrize("head", ["last", "mean"])
def test_a_state_and_resets_go_with_lengths(head):
    model, x = make(head=head), batch()
    reset = torch.zeros(3, 7, dtype=torch.bool)
    reset[0, 2] = reset[1, 1] = reset[1, 4] = True  # one of them in the padding
    _, before = model(x)
    y, state = model(x, before, reset=reset, lengths=torch.tensor(LENGTHS, dtype=torch.int32))
    for i, length in enumerate(LENGTHS):
        _, own = model(x[i : i + 1])
        expected, after = model(x[i : i + 1, :length], own, reset=reset[i : i + 1, :length])
        torch.testing.assert_close(y[i : i + 1], expected)
        assert state.time[i] == after.time[0]


def test_lengths_that_do_not_fit_are_rejected():
    model, x = make(), batch()
    with pytest.raises(ValueError, match=r"`lengths` must be in \[1, T=7\], got 0"):
        model(x, lengths=[7, 0, 5])
    with pytest.raises(ValueError, match=r"`lengths` must be in \[0, T=7\], got 8"):
        model(x, lengths=[7, 8, 5])
    with pytest.raises(ValueError, match=r"`lengths` must have shape \(B=3,\), got \(2,\)"):
        model(x, lengths=[7, 5])
    with pytest.raises(ValueError, match="`lengths` must be None for a model with attention"):
        make(unit="attention", num_heads=2, conv_size=0)(x, lengths=LENGTHS)
    with pytest.raises(ValueError, match="`lengths` must be None with a `group`"):
        check_lengths(model, LENGTHS, x, object())


def test_what_watches_layers_sees_real_steps_alone():
    model, x, seen = make(unit="bmru", conv_size=0), batch(), []
    with watch_layers(model, seen.append):
        call(model, Arguments((x,), {"lengths": LENGTHS}))
    assert [run.x.shape[:2] for run in seen] == [(1, 15), (1, 15)]
    model.train()
    model(x, lengths=LENGTHS)
    found = set_write_rates(model.eval(), Arguments((x,), {"lengths": LENGTHS}), low=0.2)
    assert all(rate.mul(15).sub(rate.mul(15).round()).abs().max() < 1e-9 for _, _, _, rate in found)


def test_a_bidirectional_model_takes_whole_sequences_alone(tmp_path):
    model, x = make(bidirectional=True, head="every"), batch()
    y, state = model(x)
    changed = x.clone()
    changed[:, -1] += 1
    assert (model(changed)[0][:, 0] != y[:, 0]).any()  # the first output has seen the last step
    with pytest.raises(ValueError, match="`state` must be None for a bidirectional model"):
        model(x, state)
    with pytest.raises(ValueError, match="`step` must be called on a unit of one direction"):
        model.step(x[:, 0])
    with pytest.raises(ValueError, match="`model` must have one direction to be streamed"):
        model.stream(3)
    for export, what in ((export_c, "written in C"), (export_onnx, "written as ONNX")):
        with pytest.raises(ValueError, match=f"`model` must have one direction to be {what}"):
            export(model.float(), tmp_path)
    with pytest.raises(ValueError, match="`bidirectional` must be False for attention"):
        make(bidirectional=True, unit="attention")
    assert not model.shares_time
    model.save(tmp_path)
    assert torch.equal(SequenceModel.load(tmp_path)(x.float())[0], model(x.float())[0])
    words = SequenceModel(ModelConfig(2, 2, hidden_size=4, encoder="embedding", head="every", bidirectional=True))
    assert 0 <= evaluate(words, Parity(steps=8), length=1200, examples=2) <= 1  # more than a chunk, and read whole
    with pytest.raises(ValueError, match="`model` must have one direction"):
        failing_length(words, Parity(steps=8))


def test_a_model_that_standardises_gives_and_takes_the_units_of_data(tmp_path):
    plain, model = make(), make(standardise=True)
    statistics = Statistics(
        torch.tensor([1.0, 100.0, -3.0]),
        torch.tensor([0.5, 20.0, 1.0]),
        torch.tensor([7.0, 0.0]),
        torch.tensor([2.0, 3.0]),
    )
    set_statistics(model, statistics)
    x = batch()
    y = plain(x)[0]
    scaled = model(x * statistics.deviation + statistics.mean)[0]
    torch.testing.assert_close(scaled, y * statistics.target_deviation + statistics.target_mean)
    model.save(tmp_path)
    assert torch.equal(SequenceModel.load(tmp_path).encoder.mean, model.encoder.mean)
    with pytest.raises(ValueError, match="`model` must be one whose configuration has `standardise`"):
        set_statistics(plain, statistics)
    with pytest.raises(ValueError, match=r"`statistics.mean` must have shape \(3,\), got \(2,\)"):
        set_statistics(model, statistics._replace(mean=torch.zeros(2)))
    with pytest.raises(ValueError, match=r"`statistics\.deviation` must hold finite numbers above 0"):
        set_statistics(model, statistics._replace(deviation=torch.zeros(3)))
    with pytest.raises(ValueError, match="`standardise` must be False where the encoder is embedding"):
        ModelConfig(2, 2, encoder="embedding", standardise=True)


def test_scores_of_sequences_that_differ_in_length_are_those_of_each_alone():
    task = OwnData()
    model = SequenceModel(ModelConfig(1, 3, hidden_size=4, num_layers=1, head="mean", unit="lru")).eval()
    right = 0
    for i in range(task.split_size("test")):
        x, y = read_whole(task, "test", i, i + 1, task.length)
        right += int(model(x)[0].argmax(-1) == y)
    assert math.isclose(evaluate(model, task, batch_size=16), right / task.split_size("test"))


def test_a_stream_in_c_goes_on_from_a_state_of_torch_in_the_units_of_data():
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    model = make(standardise=True, head="mean", unit="bmru", clock="none").float()
    mean, deviation = torch.tensor([1000.0, 0.0, -5.0]), torch.tensor([2.0, 1.0, 0.1])
    set_statistics(model, Statistics(mean, deviation, torch.tensor([50.0, 0.0]), torch.tensor([4.0, 1.0])))
    x = batch().float() * deviation + mean
    one, other = model.stream(3), model.stream(3, engine="native")
    one.push(x[:, :3])
    other.load(one.state())
    torch.testing.assert_close(other.push(x[:, 3:]), one.push(x[:, 3:]), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(other.state()["total"], one.state()["total"], rtol=1e-5, atol=1e-4)
