"""A number that was made again is the same, within the spread, or outside: that of the committed seeds."""

import dataclasses

import pytest

from remanent.records.record import LengthScore
from remanent.report.agreement import Number, Rule, agreement_line, agreement_rows, compare
from remanent.report.groups import summarise
from result_records import record


def verdicts(committed, again, rule=None, **options):
    """The verdicts on the first committed record, whose numbers are now those of `again`."""
    (group,) = summarise(committed)
    (row,) = group.rows
    numbers = compare(group, row, dataclasses.replace(again, id=committed[0].id), rule or Rule())
    return [(number.name, number.verdict) for number in numbers]


def of_score(score, *, seeds, metric="mse", **rule):
    committed = [record(seed=i, scores=(value,), metric=metric) for i, value in enumerate(seeds)]
    ((name, verdict),) = verdicts(committed, record(scores=(score,), metric=metric), Rule(**rule))
    assert name == "300 (512)"
    return verdict


SEEDS = (0.4, 0.5, 0.6)  # 0.5 with a deviation of 0.1


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(0.4, "same"), (0.69, "within"), (0.31, "within"), (0.71, "outside"), (0.29, "outside"), (None, "outside")],
)
def test_a_score_lies_within_two_deviations_of_the_mean(score, verdict):
    assert of_score(score, seeds=SEEDS) == verdict


def test_the_rule_can_be_stricter_and_looser():
    assert of_score(0.69, seeds=SEEDS, within=1.0) == "outside"
    assert of_score(0.71, seeds=SEEDS, within=3.0) == "within"
    assert of_score(0.4, seeds=SEEDS, within=0.0, tolerance=0.0) == "same"
    for wrong in ({"within": -1.0}, {"tolerance": float("inf")}):
        with pytest.raises(ValueError, match=r"`--(within|tolerance)` must be in \[0, inf\)"):
            Rule(**wrong)


def test_one_seed_has_a_tolerance_alone_a_point_of_a_share_and_a_hundredth_of_an_error():
    assert of_score(0.909, seeds=(0.9,), metric="accuracy") == "within"
    assert of_score(0.912, seeds=(0.9,), metric="accuracy") == "outside"
    assert of_score(0.0202, seeds=(0.02,)) == "within"
    assert of_score(0.0203, seeds=(0.02,)) == "outside"
    assert of_score(0.03, seeds=(0.02,), tolerance=0.5) == "within"
    assert of_score(0.995, seeds=(1.0, 1.0, 1.0), metric="accuracy") == "within"  # no deviation at all


def test_scores_that_are_not_finite_are_the_same_or_outside():
    assert of_score(None, seeds=(None, 0.4)) == "same"
    assert of_score(0.4, seeds=(None, 0.4)) == "outside"
    assert of_score(0.5, seeds=(0.4, None, 0.6)) == "outside"  # a mean that is not finite says nothing


def test_validation_and_failing_lengths_are_numbers_too():
    committed = [
        record(seed=i, scores=(0.9,), metric="sequence_accuracy", failing=n, validation=0.5 + i / 10)
        for i, n in enumerate((64, 512))
    ]
    again = record(scores=(0.9,), metric="sequence_accuracy", failing=100, validation=0.55)
    expected = [("300 (512)", "same"), ("validation (512)", "within"), ("failing length", "within")]
    assert verdicts(committed, again) == expected
    assert verdicts(committed, dataclasses.replace(again, failing_length=513))[2] == ("failing length", "outside")
    assert verdicts(committed, dataclasses.replace(again, failing_length=64, validation=None))[1:] == [
        ("validation (512)", "outside"),
        ("failing length", "same"),
    ]


def test_a_run_that_fails_now_and_a_test_that_is_missing_are_outside():
    committed = [record(seed=i) for i in range(2)]
    assert [verdict for _, verdict in verdicts(committed, record(status="failed"))] == ["outside"] * 2
    fewer = dataclasses.replace(record(), tests=(LengthScore(300, 512, 0.5),))
    assert [verdict for _, verdict in verdicts(committed, fewer)] == ["same", "outside"]


def test_a_row_shows_every_number_beside_its_spread():
    shown = [
        Number("t", "bmru", 0, "a", "300 (512)", "mse", 0.4, 0.5, (0.4, 0.6), "within", None),
        Number("t", "bmru", 0, "a", "failing length", "mse", 64, 70, (64, 512), "within", None),
        Number("t", "lru", 1, "b", "300 (512)", "accuracy", 0.914, None, (0.914,), "outside", "MemoryError: no"),
        Number("t", "lru", 1, "b", "3,000 (9)", "mse", 0.5, None, (0.5, None), "outside", None),
    ]
    assert agreement_rows(shown) == [
        ["bmru", "0", "300 (512)", "0.4000", "0.5000", "0.5000 ± 0.1414", "within"],
        ["bmru", "0", "failing length", "64", "70", "64\N{EN DASH}512", "within"],
        ["lru", "1", "300 (512)", "91.4", "failed", "\N{EN DASH}", "outside"],
        ["lru", "1", "3,000 (9)", "0.5000", "not finite", "\N{EN DASH}", "outside"],
    ]
    assert agreement_line(shown) == "4 numbers of 2 runs: 0 the same, 2 within, 2 outside."
