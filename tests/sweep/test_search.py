"""A search: settings are the same for every unit, the best on validation is run, and a trial is never tested."""

import dataclasses
import json

import pytest

from remanent.cli import main
from remanent.records import Chosen, LengthScore, Record, read_records
from remanent.sweep.combinations import combinations, read_choices
from remanent.sweep.sampling import Sample, sampled
from remanent.sweep.search import Search, choose, trials_of
from remanent.training import outcome
from result_records import record, write

SPACE = {"training.learning_rate": ["0.001:0.064:log"], "model.conv_size": ["0", "4"], "training.batch_size": ["2:5"]}
TINY = ["task.steps=2", "model.hidden_size=4", "training.batch_size=2", "training.steps=4"]
GRID = ["grid", "--task", "copy-first", "--workers", "1", "--quiet", "--set", *TINY]
RATES = "training.learning_rate=0.001,0.02"


def test_a_draw_covers_every_option_and_a_longer_one_goes_on():
    drawn = sampled(SPACE, Sample(8, seed=3))
    assert drawn == sampled(dict(reversed(SPACE.items())), Sample(16, seed=3))[:8]
    assert drawn != sampled(SPACE, Sample(8, seed=4))
    rates = sorted(float(setting["training.learning_rate"]) for setting in drawn)
    for i, rate in enumerate(rates):  # each in an eighth of the range of its own
        assert 0.001 * 64 ** (i / 8) * 0.99 <= rate <= 0.001 * 64 ** ((i + 1) / 8) * 1.01
    assert sorted(setting["model.conv_size"] for setting in drawn) == ["0"] * 4 + ["4"] * 4
    assert sorted(setting["training.batch_size"] for setting in drawn) == [*"22334455"]


def test_every_unit_gets_the_same_settings(capsys):
    words = ["training.learning_rate=0.001:0.1:log", "model.conv_size=0,4"]
    assert main([*GRID, *words, "--unit", "lru", "gru", "--sample", "3", "--dry-run"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    settings = [line.split()[2:] for line in lines]
    assert len(settings) == 6
    assert settings[:3] == settings[3:]
    assert last == "6 runs, 6 of them missing."


def test_a_draw_gives_no_setting_twice_and_all_where_there_are_few():
    few = sampled({"a": ["x", "y"], "b": ["1:3"]}, Sample(50, seed=0))
    assert len(few) == len({tuple(setting.values()) for setting in few}) == 6
    assert sampled({}, Sample(3, seed=0)) == [{}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2:1", "`--set training.warmup` must be in"),
        ("0:1:log", "`--set training.warmup` must be in"),
        ("0:inf", "`--set training.warmup` must be in"),
    ],
)
def test_a_range_that_is_none_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        sampled({"training.warmup": [text]}, Sample(2, seed=0))


def settings_of(*words, units=("bmru", "lru"), seed=0):
    return combinations(["copy-first"], units, [seed], read_choices([*TINY, *words]))


def trial_records(settings, scores):
    return {
        run.id: dataclasses.replace(
            record(status="done" if score != "failed" else "failed"),
            id=run.id,
            validation=LengthScore(2, 512, score) if isinstance(score, float | None) else None,
        )
        for run, score in zip(settings, scores, strict=True)
    }


def test_the_best_on_validation_is_chosen_whatever_the_tests_say(tmp_path):
    settings = settings_of("training.learning_rate=0.1,0.2,0.3,0.4", units=["lru"])
    search = Search(read_choices([*TINY, "training.learning_rate=0.1,0.2,0.3,0.4"]), tmp_path / "trials.jsonl")
    winner = choose(settings, search, trial_records(settings, [None, 0.3, 0.2, 0.2]))  # errors: less is better
    assert winner.setting is settings[2]
    options = {"training.learning_rate": "0.1,0.2,0.3,0.4"}
    assert winner.chosen == Chosen("validation", trials=4, failed=1, score=0.2, seed=0, steps=500, options=options)
    shares = {
        key: dataclasses.replace(each, metric="accuracy")
        for key, each in trial_records(settings, [0.1, 0.9, "failed", 0.2]).items()
    }
    assert choose(settings, search, shares).setting is settings[1]
    assert choose(settings, search, trial_records(settings, ["failed", None, "failed", None])) is None
    with pytest.raises(ValueError, match="must hold scores on validation, got the run"):
        choose(settings, search, trial_records(settings, [1, 0.1, 0.2, 0.3]))


def test_a_search_tests_what_it_has_chosen_alone_and_trains_nothing_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [*GRID, RATES, "--unit", "lru", "gru", "--choose", "validation", "--seed", "0:2"]
    assert main([*arguments, "--dry-run"]) == 0
    assert "4 runs, 4 of them missing." in capsys.readouterr().out
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "4 trials: 4 done, 0 failed, 0 there already; results/trials/grid.jsonl has them." in shown
    assert "4 runs: 4 done, 0 failed, 0 there already; results/grid.jsonl has them." in shown
    trials = read_records(tmp_path / "results" / "trials" / "grid.jsonl").records
    assert [(len(each.tests), each.failing_length, each.chosen) for each in trials] == [(0, None, None)] * 4
    runs = read_records(tmp_path / "results" / "grid.jsonl").records
    assert [(run.unit, run.seed, len(run.tests)) for run in runs] == [
        (unit, seed, 4) for unit in ("lru", "gru") for seed in range(2)
    ]
    for unit in ("lru", "gru"):
        best = min((each for each in trials if each.unit == unit), key=lambda each: each.validation.score)
        same, other = (run for run in runs if run.unit == unit)
        assert (same.id, same.validation, same.seconds.train) == (best.id, best.validation, best.seconds.train)
        assert other.set == best.set
        assert same.chosen.score == best.validation.score
        assert same.chosen == other.chosen
        rate = best.set["training.learning_rate"]
        assert f"copy-first {unit}: training.learning_rate={rate}, the best of 2 on validation" in shown
    assert len(list((tmp_path / "runs" / "grid").glob("*/model.json"))) == 4 + 2  # the trial of seed 0 is its run
    for path in (tmp_path / "results" / "trials" / "grid.jsonl", tmp_path / "results" / "grid.jsonl"):
        path.write_text(path.read_text().splitlines(keepends=True)[0])  # as if it had been killed
    assert main(arguments) == 0
    assert "4 runs: 3 done, 0 failed, 1 there already" in capsys.readouterr().out
    again = read_records(tmp_path / "results" / "grid.jsonl").records
    assert [(run.id, run.tests, run.chosen) for run in again] == [(run.id, run.tests, run.chosen) for run in runs]
    assert main(["table"]) == 0
    assert "| lru (model.hidden_size=4, training.batch_size=2, training.learning_rate=" in (
        text := capsys.readouterr().out
    )
    assert text.count("best of 2 on validation") == 2


def test_trials_may_be_shorter_of_another_seed_and_fail(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rates = "training.learning_rate=1e30,0.01"
    extra = ["training.warmup=0", "training.gradient_clip=1e30", "--search-steps", "3", "--search-seed", "7"]
    arguments = [*GRID, rates, *extra, "--unit", "gru", "--choose", "validation", "--results", "mine.jsonl"]
    assert main(arguments) == 0
    assert "2 trials: 1 done, 1 failed, 0 there already; trials/mine.jsonl has them." in capsys.readouterr().out
    (run,) = read_records(tmp_path / "mine.jsonl").records
    assert (run.seed, run.steps, run.set["training.learning_rate"]) == (0, 4, 0.01)
    assert (run.chosen.seed, run.chosen.steps, run.chosen.trials, run.chosen.failed) == (7, 3, 2, 1)
    trials = read_records(tmp_path / "trials" / "mine.jsonl").records
    assert {(trial.seed, trial.set["training.steps"]) for trial in trials} == {(7, 3)}


def test_what_was_chosen_is_in_the_record_and_is_read_again(tmp_path):
    chosen = Chosen("validation", 8, 1, 0.25, 0, 400, {"training.learning_rate": "0.001:0.1:log"})
    written = record(chosen=chosen, validation=0.3)
    assert read_records(write(tmp_path / "grid.jsonl", [written])).records == [written]
    values = written.to_dict()
    for wrong in ([], values["chosen"] | {"trials": True}, values["chosen"] | {"score": None}, {"by": "validation"}):
        with pytest.raises(ValueError, match="here: `chosen` must "):
            Record.from_dict(json.loads(json.dumps(values | {"chosen": wrong})), "here")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--choose", "test"], "`--choose` must be one of validation, got 'test'"),
        (["--choose", "validation"], "must give at least two settings with `--choose`, got one for copy-first"),
        (["--choose", "validation", "--set", "task.steps=3,4"], "must give task.steps one value with `--choose`"),
        (["--choose", "validation", RATES, "--trials", "results/grid.jsonl"], "`--trials` must be another file than"),
        (["--choose", "validation", "--search-steps", "3", "--set", "training.steps=3,4"], "must not vary"),
        (["--search-steps", "3"], "`--search-steps` must go with `--choose`, got 3 alone"),
        (["--search-seed", "3"], "`--search-seed` must go with `--sample` or `--choose`, got 3 alone"),
        (["--sample", "0"], "`--sample` must be at least 1, got 0"),
        (["--set", "training.learning_rate=0.1:0.2"], "values, or a range with `--sample`, got '0.1:0.2'"),
    ],
)  # fmt: skip
def test_a_wrong_search_is_refused_and_nothing_is_written(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    words = [word for word in arguments if word != RATES]
    words += ["--set", RATES] if RATES in arguments else []
    assert main(["grid", "--task", "copy-first", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_shorter_trials_are_other_runs(tmp_path):
    choices = read_choices([*TINY, RATES])
    settings = settings_of(RATES)
    trials = trials_of(settings, Search(choices, tmp_path / "t.jsonl"))
    assert [(trial.id, trial.tests) for trial in trials] == [(setting.id, ()) for setting in settings]
    shorter = trials_of(settings, Search(choices, tmp_path / "t.jsonl", steps=2))
    assert [trial.experiment.training.steps for trial in shorter] == [2] * 4
    assert not {trial.id for trial in shorter} & {setting.id for setting in settings}


def test_a_trial_reads_no_test(monkeypatch):
    splits = []
    monkeypatch.setattr(outcome, "evaluate", lambda model, task, split="test", **options: splits.append(split) or 0.5)
    (setting, *_) = settings_of(RATES, units=["lru"])
    from remanent.models import SequenceModel
    from remanent.training.variants import Variant

    plain = outcome.plain_record(setting.experiment, Variant("copy-first", {}))
    scored = outcome.scored(plain, setting.experiment, SequenceModel(setting.experiment.model), [])
    assert (splits, scored.tests, scored.validation.score) == (["validation"], (), 0.5)
