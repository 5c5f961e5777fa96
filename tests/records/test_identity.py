"""Identities: those of committed results stay as they are, and every reader of the declaration heeds it."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from remanent._identity import BY_CONTENT, OWN_COLUMN, UNCOUNTED
from remanent.records.configuration import Experiment, TrainingConfig
from remanent.records.identity import identity, options_that
from remanent.tasks import TASKS, Characters, CopyFirst
from remanent.training import RECIPES

GRID = Path(__file__).parents[2] / "results" / "grid.jsonl"


def test_the_identity_of_every_committed_result_is_recomputed_from_its_configuration():
    records = [json.loads(line) for line in GRID.read_text().splitlines()]
    assert len(records) > 200
    assert [identity(record["config"]) for record in records] == [record["id"] for record in records]


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
