"""Records are gathered by task, unit and overrides, and a column has a best only where it is clear."""

import dataclasses
import math

import numpy as np
import pytest

from remanent.records.record import LengthScore
from remanent.report.groups import Column, spread, summarise
from result_records import record

AT_300 = Column(300, 512)


def seeds(unit, scores, **options):
    return [record(unit=unit, seed=i, scores=(score,), **options) for i, score in enumerate(scores)]


def best(*rows, **options):
    units = ("bmru", "lru", "gru")
    (group,) = summarise(
        [line for unit, scores in zip(units, rows, strict=False) for line in seeds(unit, scores, **options)]
    )
    found = group.best(AT_300)
    return None if found is None else found.unit


def test_a_spread_is_that_of_numpy():
    values = np.random.default_rng(0).normal(size=7)
    mean, std, count = spread(list(values))
    assert mean == pytest.approx(values.mean(), rel=1e-12)
    assert std == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert count == 7
    assert spread([0.25]) == (0.25, None, 1)
    assert spread([1.0, math.inf]) == (math.inf, None, 2)
    assert math.isnan(spread([1.0, math.nan]).mean)


def test_what_is_no_better_than_chance_is_never_best():
    options = {"metric": "sequence_accuracy"}
    low = [record(seed=i, scores=(0.04 + 0.01 * i,), **options) for i in range(2)]
    lower = [record(unit="lru", seed=i, scores=(0.0,), **options) for i in range(2)]
    (group,) = summarise(low + lower)
    assert group.chance == 0.1
    assert group.best(group.columns[0]) is None


def test_rows_hold_the_scores_of_their_seeds_in_order():
    lines = [record(seed=2, scores=(0.3, 0.4)), record(seed=0, scores=(0.1, 0.2)), record(unit="lru", scores=(0.9,))]
    (group,) = summarise(lines)
    bmru, lru = group.rows
    assert group.columns == [AT_300, Column(3000, 512)]
    assert group.seeds == [0, 2]
    assert bmru.scores(AT_300) == [0.1, 0.3]
    assert lru.scores(Column(3000, 512)) == []


def test_the_same_length_on_other_examples_is_another_column():
    line = record(scores=(0.5,))
    (group,) = summarise([dataclasses.replace(line, tests=(*line.tests, LengthScore(300, 8, 0.4)))])
    assert group.columns == [Column(300, 8), AT_300]
    assert group.rows[0].scores(Column(300, 8)) == [0.4]


def test_settings_of_the_task_make_groups_and_all_others_make_rows():
    lines = [
        record(overrides={"task.steps": 1000, "training.anneal": False}, length=1000),
        record(overrides={"training.anneal": False}),
        record("digits", metric="accuracy"),
        record(overrides={"training.steps": 9, "model.unit": "bmru", "training.threads": 1}),
        record(),
        record(overrides={"task.data_dir": "here"}, unit="lru"),
    ]
    groups = summarise(lines)
    assert [group.label for group in groups] == ["copy-first", "copy-first (task.steps=1000)", "digits"]
    labels = [row.label for row in groups[0].rows]
    assert labels == ["bmru", "bmru (without annealing)", "bmru (training.steps=9)", "lru"]
    assert [(row.label, row.state) for row in groups[2].rows] == [("bmru", "done"), ("lru", "missing")]
    assert [group.label for group in summarise(lines, ["digits"])] == ["digits"]
    assert [row.state for row in summarise(lines, ["digits"])[0].rows] == ["done", "missing"]


def test_a_recipe_whose_task_changed_between_versions_has_a_table_for_each():
    earlier, now = record(length=200), record(seed=1)
    same, other = record(seed=2, overrides={"task.steps": 300}), record(overrides={"task.steps": 7}, length=7)
    for line in (earlier, now, same, other):
        line.config["task"]["steps"] = line.length
    groups = summarise([now, same, other])
    assert [group.label for group in groups] == ["copy-first", "copy-first (task.steps=7)"]
    assert [group.seeds for group in groups] == [[1, 2], [0]]
    labels = [f"copy-first (task.steps={steps})" for steps in (200, 300, 7)]
    assert [group.label for group in summarise([earlier, now, same, other])] == labels


def test_a_unit_that_no_recipe_was_run_with_as_it_is_is_missing_nowhere():
    lines = [record(), record("digits", metric="accuracy"), record(unit="lru", overrides={"model.conv_size": 4})]
    assert [[row.label for row in group.rows] for group in summarise(lines)] == [
        ["bmru", "lru (model.conv_size=4)"],
        ["bmru"],
    ]


def test_a_row_is_failed_where_all_of_its_seeds_are():
    (group,) = summarise([record(status="failed"), record(unit="lru"), record(unit="lru", seed=1, status="failed")])
    assert [(row.state, len(row.runs), len(row.done)) for row in group.rows] == [("failed", 1, 0), ("done", 2, 1)]


def test_a_row_may_be_called_something_else():
    (group,) = summarise([record(overrides={"model.conv_size": 4})])
    assert dataclasses.replace(group.rows[0], shown="with taps").label == "with taps"
    assert group.rows[0].label == "bmru (model.conv_size=4)"


def test_the_best_leads_all_others_by_more_than_either_spread():
    assert best([0.1, 0.2], [0.5, 0.6]) == "bmru"
    assert best([0.5, 0.6], [0.1, 0.2]) == "lru"
    assert best([0.1, 0.2], [0.15, 0.25]) is None
    assert best([0.10, 0.11], [0.2, 0.9]) is None  # the other's spread counts as well
    assert best([0.1, 0.2], [0.5, 0.6], [0.15, 0.25]) is None
    assert best([0.1, 0.2], [0.1, 0.2]) is None
    assert best([0.1, 0.2]) is None


def test_more_is_better_of_shares():
    assert best([0.1, 0.2], [0.5, 0.6], metric="accuracy") == "lru"
    assert best([0.5, 0.6], [0.1, 0.2], metric="accuracy") == "bmru"


def test_rows_of_one_seed_are_no_best_and_no_rivals():
    assert best([0.1], [0.5, 0.6], [0.8, 0.9]) is None
    assert best([0.3], [0.1, 0.2]) is None
    assert best([0.1, 0.2], [0.21], [0.5, 0.6]) == "bmru"


def test_a_row_that_is_not_finite_is_beaten():
    assert best([0.1, 0.2], [math.inf, 1.0]) == "bmru"
    assert best([math.nan, 1.0], [0.1, 0.2]) == "lru"
    assert best([math.nan, 1.0], [math.nan, 2.0]) is None


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="`FILE` must hold at least one record, got none"):
        summarise([])
    with pytest.raises(ValueError, match="`--task` must be one of copy-first, digits, got 'nope'"):
        summarise([record(), record("digits")], ["digits", "nope"])
    with pytest.raises(ValueError, match="records of copy-first must share one `metric`, got mse, accuracy"):
        summarise([record(), record(unit="lru", metric="accuracy")])
    with pytest.raises(ValueError, match="records of copy-first must share one `length`, got 300, 200"):
        summarise([record(), record(unit="lru", length=200)])
    changed = record(seed=1, learning_rate=0.01)
    message = r"copy-first, bmru must share one configuration, got `training\.learning_rate` of 0\.006 and 0\.01"
    with pytest.raises(ValueError, match=message):
        summarise([record(), changed])
    assert summarise([record(), record(seed=1, threads=2)])
    other = record(unit="lru")
    other.config["task"]["noise"] = 0.5
    with pytest.raises(
        ValueError, match=r"copy-first must share one configuration, got `task\.noise` of null and 0\.5"
    ):
        summarise([record(), other])


def test_runs_from_before_an_option_existed_had_its_default():
    old, new, other = (record(seed=seed) for seed in range(3))
    new.config["model"]["dropout"] = 0.0
    (group,) = summarise([old, new])
    assert [run.seed for row in group.rows for run in row.runs] == [0, 1]
    other.config["model"]["dropout"] = 0.5
    with pytest.raises(ValueError, match=r"must share one configuration, got `model.dropout` of 0.0 and 0.5"):
        summarise([old, other])
