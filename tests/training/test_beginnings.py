"""How a run begins: write rates by default, latches that have none, and runs that an earlier version began."""

import itertools
import json
import warnings

import pytest

from remanent import UNITS, ModelConfig
from remanent.records import read_records
from remanent.report.groups import summarise
from remanent.tasks import CopyFirst
from remanent.training import Experiment, TrainingConfig, load_run, record_run, resume_run, start_run
from remanent.units import LatchRecurrence, RecurrentUnit

TRAINING = TrainingConfig(steps=6, batch_size=4, checkpoint_every=2, threads=1)
OLD = {"model": "write_span", "training": "write_rates"}
"""What configurations of an earlier version lack, by table."""


def experiment(unit, **options):
    model = ModelConfig(1, 1, hidden_size=8, unit=unit, **options)
    return Experiment(CopyFirst(steps=20), model, TRAINING)


def rates(folder):
    return json.loads((folder / "write_rates.json").read_text())


class Bare(RecurrentUnit):
    """A latch without biases."""

    recurrence_type = LatchRecurrence

    def __init__(self, input_size, hidden_size, *, batch_first=False, epsilon=0.0, width=1.0, initial_state="zeros"):
        recurrence = LatchRecurrence(epsilon, width, initial_state)
        super().__init__(recurrence, input_size, hidden_size, bias=False, batch_first=batch_first)


def test_latches_without_biases_are_trained_as_they_are_which_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setitem(UNITS, "bare", Bare)
    with pytest.warns(UserWarning, match="must have biases in its latches") as said:
        start_run(experiment("bare+bmru"), tmp_path / "run", progress=False)
    (sentence,) = [str(one.message) for one in said if "write rates" in str(one.message)]
    assert sentence.startswith("the write rates of blocks.0.layer.units.0, blocks.1.layer.units.0 stay as they are: ")
    assert list(rates(tmp_path / "run")) == [f"blocks.{i}.layer.units.1.l0" for i in range(2)]


def test_latches_beside_attention_begin_with_rates_and_models_without_latches_say_nothing(tmp_path):
    start_run(experiment("bmru,attention"), tmp_path / "hybrid", progress=False)
    assert list(rates(tmp_path / "hybrid")) == ["blocks.0.layer.units.0.l0"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        start_run(experiment("lru"), tmp_path / "lru", progress=False)
    assert not (tmp_path / "lru" / "write_rates.json").exists()


def test_the_start_of_the_constructors_changes_no_bit_of_a_run_with_rates(tmp_path):
    for span in (None, 16):
        asked = experiment("bmru+fq_bmru,alpha_cmru", write_span=span, gate_norm="batch")
        start_run(asked, tmp_path / f"{span}", progress=False)
    assert (tmp_path / "None" / "model.safetensors").read_bytes() == (
        tmp_path / "16" / "model.safetensors"
    ).read_bytes()


def as_before(folder):
    """Takes the new options out of a run's files, as an earlier version wrote them."""
    config = json.loads((folder / "config.json").read_text())
    for table, name in OLD.items():
        del config[table][name]
    (folder / "config.json").write_text(json.dumps(config))
    if (folder / "model.json").exists():
        model = json.loads((folder / "model.json").read_text())
        del model["write_span"]
        (folder / "model.json").write_text(json.dumps(model))


def test_a_run_that_an_earlier_version_began_is_resumed_and_recorded_as_it_was(tmp_path):
    begun = experiment("bmru", write_span=None)
    begun = Experiment(begun.task, begun.model, TrainingConfig(**(vars(TRAINING) | {"write_rates": False})))
    start_run(begun, tmp_path / "whole", progress=False)
    assert not (tmp_path / "whole" / "write_rates.json").exists()
    as_before(tmp_path / "whole")
    seen = itertools.count(1)

    def interrupt():
        if next(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_run(begun, tmp_path / "cut", progress=False, after_checkpoint=interrupt)
    as_before(tmp_path / "cut")
    resume_run(tmp_path / "cut", progress=False)
    whole, cut = (tmp_path / name / "model.safetensors" for name in ("whole", "cut"))
    assert cut.read_bytes() == whole.read_bytes()
    loaded, model = load_run(tmp_path / "whole")
    assert loaded == begun
    assert model.config.write_span is None
    record_run(tmp_path / "whole")
    (group,) = summarise(read_records(tmp_path / "whole" / "record.json").records)
    (row,) = [row for row in group.rows if row.runs]
    assert row.label.endswith("without write rates)")
