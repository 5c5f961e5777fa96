"""Identities: those of committed results stay as they are, and every reader of the declaration heeds it."""

import dataclasses
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from remanent._identity import BY_CONTENT, OWN_COLUMN, UNCOUNTED, added
from remanent.records import read_records
from remanent.records.configuration import Experiment
from remanent.records.identity import identity, options_that, with_defaults
from remanent.records.training_config import TrainingConfig
from remanent.report.groups import summarise
from remanent.report.score_tables import grid_commands
from remanent.sweep.combinations import combinations, read_choices, read_seeds
from remanent.tasks import TASKS, Characters, CopyFirst
from remanent.training import RECIPES
from remanent.training.variants import experiment_for, variant_of

GRID = Path(__file__).parents[2] / "results" / "grid.jsonl"


def test_the_identity_of_every_committed_result_is_recomputed_from_its_configuration():
    records = [json.loads(line) for line in GRID.read_text().splitlines()]
    assert len(records) > 200
    assert [identity(record["config"]) for record in records] == [record["id"] for record in records]


NEW = (("model", "write_span"), ("training", "write_rates"))
"""The options that the committed records lack, and that mean another start than their defaults."""


def without_new(config):
    """A configuration as an earlier version wrote it."""
    older = {table: dict(values) for table, values in config.items()}
    for table, name in NEW:
        del older[table][name]
    return older


def test_a_configuration_of_an_earlier_version_means_what_it_meant():
    now = experiment_for("copy-first", "bmru", 0, {})
    then = Experiment.from_dict(without_new(now.to_dict()))
    assert (now.model.write_span, now.training.write_rates) == (256, True)
    assert (then.model.write_span, then.training.write_rates) == (None, False)
    assert identity(then.to_dict()) == identity(without_new(now.to_dict())) != identity(now.to_dict())
    assert then == experiment_for("copy-first", "bmru", 0, {"model.write_span": None, "training.write_rates": False})
    assert variant_of(then).overrides == {"model.write_span": None, "training.write_rates": False}
    assert with_defaults(without_new(now.to_dict())) == with_defaults(then.to_dict()) != with_defaults(now.to_dict())


@pytest.mark.parametrize("unit", ["gru", "lru,attention", "min_gru+lstm"])
def test_options_of_latches_do_not_count_without_any(unit):
    now = experiment_for("copy-first", unit, 0, {})
    older = without_new(now.to_dict())
    other = experiment_for("copy-first", unit, 0, {"model.write_span": 16, "training.write_rates": False})
    assert identity(older) == identity(now.to_dict()) == identity(other.to_dict())
    assert identity(Experiment.from_dict(older).to_dict()) == identity(now.to_dict())
    assert variant_of(other).overrides == variant_of(Experiment.from_dict(older)).overrides == {}
    assert with_defaults(older) == with_defaults(other.to_dict()) == with_defaults(now.to_dict())


def test_committed_records_stand_in_rows_that_say_so_and_their_commands_make_them():
    records = read_records(GRID).records
    groups = summarise(records)
    labels = {row.label for group in groups for row in group.rows if row.runs}
    assert {"bmru (without write rates)", "bmru (without annealing, without write rates)", "lru", "gru"} <= labels
    assert not labels & {"bmru", "cmru", "bmru+lru", "bmru (without annealing)"}
    asked = set()
    for command in [command for group in groups for command in grid_commands(group)]:
        words = shlex.split(command)[2:]
        told = {flag: values_after(words, flag) for flag in ("--task", "--unit", "--seed", "--set")}
        seeds, choices = read_seeds(told["--seed"]), read_choices(told["--set"])
        asked |= {run.id for run in combinations(told["--task"], told["--unit"], seeds, choices)}
    assert asked == {record.id for record in records}


def values_after(words, flag):
    """The words of a command that belong to a flag."""
    found, of = [], None
    for word in words:
        of = word if word.startswith("--") else of
        found += [word] * (of == flag != word)
    return found


@dataclass(frozen=True)
class Faster(CopyFirst):
    name: ClassVar[str] = "faster"

    speed: int = field(default=9, metadata=added(before=2))


def test_an_added_option_of_a_task_of_ones_own_counts_against_what_it_was(monkeypatch):
    monkeypatch.setitem(TASKS, "faster", Faster)
    base = dataclasses.replace(RECIPES["copy-first"](), task=Faster(speed=2)).to_dict()
    older = base | {"task": {key: value for key, value in base["task"].items() if key != "speed"}}
    newer = base | {"task": base["task"] | {"speed": 9}}
    assert identity(older) == identity(base) != identity(newer)
    assert with_defaults(older) == with_defaults(base)
    assert Experiment.from_dict(older).task.speed == 2


def test_which_options_count_and_how():
    assert options_that(UNCOUNTED) == {"task.data_dir", "training.threads", "training.keep_checkpoints"}
    assert options_that(BY_CONTENT) == {"task.path"}
    assert options_that(OWN_COLUMN) == {"model.unit", "training.seed"}


def test_every_option_of_every_configuration_is_of_its_declared_kind():
    base = RECIPES["digits"]()
    for name in ("threads", "keep_checkpoints"):
        changed = dataclasses.replace(base, training=dataclasses.replace(base.training, **{name: 5}))
        assert identity(changed.to_dict()) == identity(base.to_dict())
    for name in ("seed", "checkpoint_every", "batch_size"):
        changed = dataclasses.replace(base, training=dataclasses.replace(base.training, **{name: 5}))
        assert identity(changed.to_dict()) != identity(base.to_dict())


@dataclass(frozen=True)
class Cached(CopyFirst):
    name: ClassVar[str] = "cached"

    cache: str = field(default="here", metadata=UNCOUNTED)
    noise: float = 1.0


def test_a_task_of_ones_own_declares_its_own(monkeypatch):
    monkeypatch.setitem(TASKS, "cached", Cached)
    base = dataclasses.replace(RECIPES["copy-first"](), task=Cached())
    ids = [
        identity(dataclasses.replace(base, task=dataclasses.replace(base.task, **options)).to_dict())
        for options in ({}, {"cache": "elsewhere"}, {"noise": 2.0})
    ]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("change", [{"clock": "decay"}, {"num_layers": 3}, {"unit": "lru"}])
def test_what_the_model_is_counts(change):
    base = RECIPES["copy-first"]()
    changed = dataclasses.replace(base, model=dataclasses.replace(base.model, **change))
    assert identity(changed.to_dict()) != identity(base.to_dict())


def test_a_text_counts_by_what_it_says(tmp_path):
    ids = []
    for name, text in (("a", "ab"), ("b", "ab"), ("c", "ba")):
        (tmp_path / name).write_text(text * 2000)
        task = Characters(str(tmp_path / name))
        model = dataclasses.replace(
            RECIPES["characters"]().model, input_size=task.input_size, output_size=task.output_size
        )
        ids.append(identity(Experiment(task, model, TrainingConfig()).to_dict()))
    assert ids[0] == ids[1] != ids[2]
