"""What TensorBoard shows while a run trains: real states, counted writes; and it changes no bit."""

import dataclasses

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from remanent.analysis import write_statistics
from remanent.analysis.portrait import example_inputs, first_loop, first_raster, has_latches, write_summary
from remanent.models import ModelConfig, SequenceModel
from remanent.tasks import CopyFirst
from remanent.training import RECIPES, start_run, tensorboard


def experiment(unit):
    base = RECIPES["copy-first"]()
    training = dataclasses.replace(base.training, steps=6, batch_size=4, checkpoint_every=3, threads=1)
    model = dataclasses.replace(base.model, unit=unit, hidden_size=16, num_layers=1, num_heads=2, dropout=0.2)
    return dataclasses.replace(base, task=CopyFirst(steps=20), training=training, model=model)


@pytest.mark.parametrize(
    ("unit", "images", "counted"),
    [("bmru+lru", {"states", "loop"}, True), ("fq_bmru", {"states"}, True), ("gru", {"states"}, False)],
)
def test_pictures_and_counts_come_at_their_steps_and_change_no_bit(tmp_path, monkeypatch, unit, images, counted):
    plain = start_run(experiment(unit), tmp_path / "plain", progress=False)
    monkeypatch.setattr(tensorboard, "EVERY", 2)
    seen = start_run(experiment(unit), tmp_path / "seen", progress=False)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, seen.state_dict()[name]), name
    board = EventAccumulator(str(tmp_path / "seen" / "tensorboard"), size_guidance={"images": 0})
    board.Reload()
    assert set(board.Tags()["images"]) == images
    assert [image.step for image in board.Images("states")] == [2, 4, 6]
    if counted:
        expected = write_summary(write_statistics(seen, example_inputs(CopyFirst(steps=20))))
        last = {name: board.Scalars(name)[-1].value for name in ("write_rate", "dead_channels")}
        assert last == pytest.approx(expected, abs=1e-6)
    if unit == "bmru+lru":
        assert [s.value for s in board.Scalars("epsilon")][-1] == 0
    plain_board = EventAccumulator(str(tmp_path / "plain" / "tensorboard"))
    plain_board.Reload()
    assert plain_board.Tags()["images"] == []


def test_a_portrait_shows_the_busiest_channel_that_also_holds():
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(1, 1, hidden_size=4, unit="bmru"))
    unit = model.blocks[0].layer.units[0]
    with torch.no_grad():
        unit.bias_ih_l0[4:] = torch.tensor([9.0, 0.0, 0.3, 5.0])
        unit.weight_ih_l0[4:] = 0
    x = torch.randn(3, 50, 1)
    loop = first_loop(model, write_statistics(model, x))
    assert loop.name == "channel 2 of unit 0, block 0"
    assert loop.threshold == pytest.approx(0.3)
    raster = first_raster(model, x[:, :30])
    assert (raster.name, raster.inputs.shape, raster.states.shape) == ("bmru of block 0", (30, 1), (30, 4))
    assert first_loop(SequenceModel(ModelConfig(1, 1, unit="lru")), []) is None


@pytest.mark.parametrize(
    ("unit", "has"),
    [("bmru", True), ("lru+fq_bmru", True), ("gru", False), ("attention", False), ("bmru+attention", False)],
)
def test_which_models_have_latches(unit, has):
    assert has_latches(SequenceModel(ModelConfig(1, 1, unit=unit))) is has


def test_the_bar_shows_the_key_figures_in_eighty_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(tensorboard, "EVERY", 2)
    start_run(experiment("bmru+lru"), tmp_path / "run", progress=True)
    *_, bar, note = capsys.readouterr().out.rstrip().splitlines()
    assert bar.startswith("copy-first bmru+lru")
    assert "6/6" in bar
    for name in ("loss", "validation", "epsilon 0.00", "writes", "dead"):
        assert name in note
    assert max(len(bar), len(note)) <= 80
