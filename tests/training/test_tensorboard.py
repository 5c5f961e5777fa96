"""What TensorBoard shows while a run trains: real states, counted writes; and it changes no bit."""

import dataclasses
import json
import re
import warnings

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from remanent.analysis import write_statistics
from remanent.analysis.portrait import example_inputs, first_loop, first_raster, has_latches, write_summary
from remanent.models import ModelConfig, SequenceModel
from remanent.tasks import CopyFirst
from remanent.training import RECIPES, resume_run, start_run, tensorboard
from remanent.training.experiment import ExperimentModule


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
        lines = [json.loads(line) for line in (tmp_path / "seen" / "metrics.jsonl").read_text().splitlines()]
        noted = {line["step"] + 1: line for line in lines if "write_rate" in line}
        assert list(noted) == [2, 4, 6]
        assert {name: noted[6][name] for name in expected} == expected
        assert list(noted[6]["write_rates"].values()) == [pytest.approx(expected["write_rate"])]
        (layer,) = noted[6]["write_rates"]
        shown = [scalar.value for scalar in board.Scalars(f"write_rate/{layer}")]
        assert shown == pytest.approx([line["write_rate"] for line in noted.values()], abs=1e-6)
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


def test_a_resumed_run_has_the_looks_of_a_whole_one(tmp_path, monkeypatch):
    """The run is cut off after the checkpoint of a step that was looked at."""
    monkeypatch.setattr(tensorboard, "EVERY", 2)
    base = experiment("bmru")
    asked = dataclasses.replace(base, training=dataclasses.replace(base.training, steps=4, checkpoint_every=2))
    start_run(asked, tmp_path / "whole", progress=False)

    def end():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_run(asked, tmp_path / "cut", progress=False, after_checkpoint=end)
    resume_run(tmp_path / "cut", progress=False)
    whole, cut = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut"))
    assert cut == whole
    assert cut.count('"write_rate"') == 2


def test_heads_that_see_letters_are_looked_at(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tensorboard, "EVERY", 2)
    base = RECIPES["parity-states"]()
    training = dataclasses.replace(base.training, steps=4, batch_size=4, settle_steps=2, threads=1)
    start_run(dataclasses.replace(base, training=training), tmp_path / "run", progress=True)
    looks = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (first, second) = [line["head_maps"] for line in looks if "head_maps" in line]
    assert first.keys() == second.keys() == {"blocks.0.layer.units.0"}
    assert all(1 <= maps <= 4 for maps in first["blocks.0.layer.units.0"])
    assert len(first["blocks.0.layer.units.0"]) == 8
    assert "writes" not in capsys.readouterr().out
    for unit, model in (("gru", {}), ("mru", {"encoder": "embedding", "conv_size": 2})):
        config = dataclasses.replace(base.model, unit=unit, **model)
        assert tensorboard.head_maps(SequenceModel(config)) == {}


def silenced(self, experiment, ranks=None, *, layer=1, init=ExperimentModule.__init__):
    """Makes a module with a layer of latches that never writes."""
    init(self, experiment, ranks)
    with torch.no_grad():
        self.model.blocks[layer].layer.units[0].bias_ih_l0[16:] = 99.0


def test_a_layer_that_hardly_writes_is_warned_of_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "EVERY", 2)
    monkeypatch.setattr(ExperimentModule, "__init__", silenced)
    base = experiment("bmru")
    training = dataclasses.replace(base.training, steps=2, write_rates=False)
    dead = dataclasses.replace(base, model=dataclasses.replace(base.model, num_layers=2), training=training)
    message = (
        r"^blocks.1.layer.units.0.l0 hardly writes before the first step: its channels are written in 0.00% of the "
        r"steps, healthy are 5.00% \(once in a sequence\) to 60%.* Remedy: `training.write_rates` sets"
    )
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        start_run(dead, tmp_path / "dead", progress=False)
    (one,) = [str(warning.message) for warning in given if "hardly" in str(warning.message)]
    assert re.match(message, one)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_right = dataclasses.replace(dead, training=dataclasses.replace(training, write_rates=True))
        start_run(set_right, tmp_path / "set", progress=False)
