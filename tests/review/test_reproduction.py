"""Committed runs made again: the same bits here, a fraction spread over rows, and nothing committed is touched."""

import json
import math
from pathlib import Path

import pytest

from cases import exhaustive
from remanent.cli import main
from remanent.records import Record, read_records
from remanent.report.groups import summarise
from remanent.review.reproduction import Draw, drawn, rerun, select
from result_records import record, write

TINY = ["task.steps=2", "model.hidden_size=4", "training.batch_size=2", "training.steps=3"]
ROWS = [record(unit=unit, seed=seed) for unit in ("bmru", "lru", "gru") for seed in range(4)]


def names(members):
    return [(member.group.label, member.row.label, member.record.seed) for member in members]


def test_tables_and_rows_go_by_what_stands_in_them():
    longer = {"task.steps": 9}
    lines = [*ROWS[:4], record(status="failed", seed=9), record(overrides=longer), record(unit="lru"), record("digits")]
    lines += [record(overrides={"training.anneal": False}), record(unit="gru", overrides={"model.clock": "none"})]
    groups = summarise(lines)
    everything = select(groups, ["copy-first", "copy-first (task.steps=9)"])
    assert {label for _, label, _ in names(everything)} == {
        *("bmru", "bmru (without annealing)", "lru", "gru (model.clock=none)")
    }
    assert names(select(groups, ["copy-first"], ["bmru"])) == [("copy-first", "bmru", i) for i in range(4)]
    assert names(select(groups, ["copy-first"], ["gru"])) == [("copy-first", "gru (model.clock=none)", 0)]
    assert names(select(groups, ["copy-first"], ["bmru (without annealing)"])) == [
        ("copy-first", "bmru (without annealing)", 0)
    ]
    only = summarise([record(overrides=longer)])
    assert names(select(only, ["copy-first"])) == [("copy-first (task.steps=9)", "bmru", 0)]
    with pytest.raises(ValueError, match=r"`TABLE` must be a file or one of copy-first; .*, got 'parity'"):
        select(groups, ["parity"])
    with pytest.raises(ValueError, match=r"`--row` must be one of bmru; .*, got 'cmru'"):
        select(groups, ["copy-first"], ["bmru", "cmru"])
    with pytest.raises(ValueError, match="`TABLE` must have runs that did not fail, got copy-first without any"):
        select(summarise([record(status="failed")]), ["copy-first"])


def test_a_fraction_is_spread_over_the_rows_and_grows_by_adding():
    members = select(summarise(ROWS), ["copy-first"])
    before = set()
    for fraction in (0.01, 0.25, 0.5, 0.75, 1.0):
        found = names(drawn(members, Draw(fraction, seed=3)))
        assert len(found) == math.ceil(fraction * 12)
        assert before <= set(found)
        before = set(found)
        counts = [sum(label == row for _, label, _ in found) for row in ("bmru", "lru", "gru")]
        assert max(counts) - min(counts) <= 1
    assert len({tuple(names(drawn(members, Draw(0.25, seed=seed)))) for seed in range(5)}) > 1
    for wrong in (0.0, 1.1):
        with pytest.raises(ValueError, match=r"`--fraction` must be in \(0, 1\]"):
            Draw(wrong)


def test_a_run_that_this_version_would_train_otherwise_is_named():
    with pytest.raises(ValueError, match=r"the record .*task"):
        rerun(record("digits"))
    made = record()
    model = {"input_size": 1, "output_size": 1, "unit": "bmru"}
    config = {"task": {"name": "copy-first", "steps": 300}, "model": model, "training": made.config["training"]}
    other = Record.from_dict(made.to_dict() | {"config": config}, "here")
    with pytest.raises(ValueError, match=r"`TABLE` must hold runs that can be made again, got \w{16}, which is now"):
        rerun(other)


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A results file of two tiny runs, as if it had been committed."""
    folder = tmp_path_factory.mktemp("committed")
    path = folder / "grid.jsonl"
    arguments = [
        "grid",
        "--task",
        "copy-first",
        "--unit",
        "lru",
        "--seed",
        "0:2",
        "--workers",
        "1",
        "--quiet",
        "--set",
        *TINY,
    ]
    assert main([*arguments, "--results", str(path), "--runs", str(folder / "runs")]) == 0
    return path


def test_the_same_machine_gives_the_same_numbers_and_a_repeated_command_trains_nothing(
    committed, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    before = committed.read_bytes()
    assert main(["reproduce", str(committed), "--dry-run"]) == 0
    assert "2 runs, which took 0 minutes in all." in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    arguments = ["reproduce", str(committed), "--workers", "1", "--quiet"]
    assert main([*arguments, "--fraction", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert "5 numbers of 1 run: 5 the same, 0 within, 0 outside." in shown
    assert "copy-first (task.steps=2)" in shown
    assert "committed:" not in shown  # nothing differs
    (first,) = read_records(tmp_path / "reproduced" / "results.jsonl").records
    assert main([*arguments, "--out", "report.json"]) == 0
    assert "10 numbers of 2 runs: 10 the same, 0 within, 0 outside." in capsys.readouterr().out
    assert read_records(tmp_path / "reproduced" / "results.jsonl").records[0] == first
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["within"], report["tolerance"], report["committed"]) == (2.0, 0.01, report["again"])
    assert [number["name"] for number in report["numbers"][:5]] == [
        *("2 (512)", "20 (512)", "200 (512)", "2,000 (500)", "validation (512)")
    ]
    assert {number["verdict"] for number in report["numbers"]} == {"same"}
    assert report["numbers"][0]["over_seeds"] == [number["committed"] for number in report["numbers"][::5]]
    assert committed.read_bytes() == before


def test_a_number_that_is_not_reproduced_gives_status_1(committed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (one, _) = read_records(committed).records
    values = one.to_dict()
    values["tests"][1]["score"] += 1.0
    path = write(tmp_path / "claimed.jsonl", [values | {"python": "3.0.0"}])
    assert main(["reproduce", "copy-first", "--results", str(path), "--workers", "1", "--quiet"]) == 1
    shown = capsys.readouterr().out
    assert "5 numbers of 1 run: 4 the same, 0 within, 1 outside." in shown
    assert "committed: " in shown
    assert "Python 3.0.0" in shown


def test_a_table_is_found_beside_others_that_do_not_go_together(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    broken = [record("parity", seed=seed, length=length) for seed, length in enumerate((64, 128))]
    longer = record(unit="lru", overrides={"task.steps": 9})
    write(tmp_path / "claimed.jsonl", [*broken, record(), longer])
    for name in ("copy-first", "copy-first (task.steps=9)"):
        assert main(["reproduce", name, "--results", "claimed.jsonl", "--dry-run"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "1 run, which took 1 minutes in all."
    assert main(["reproduce", "parity", "--results", "claimed.jsonl", "--dry-run"]) == 2
    assert "must share one `length`, got 64, 128" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["copy-first", "claimed.jsonl"],
            "`TABLE` must be files alone, or headings in `--results`, got copy-first and",
        ),
        (["copy-first", "--results", "claimed.jsonl", "--row", "gru"], "`--row` must be one of bmru, got 'gru'"),
        (["claimed.jsonl", "--fraction", "2"], "`--fraction` must be in (0, 1], got 2"),
        (["claimed.jsonl", "--within", "-1"], "`--within` must be in [0, inf), got -1"),
        (["claimed.jsonl", "--out", "claimed.jsonl"], "`--out` must not exist yet, got claimed.jsonl"),
        (["claimed.jsonl", "--out", "absent/a.json"], "`--out` must lie in a folder that exists, got absent/a.json"),
        (["nothing"], "`FILE` must be given where results/ holds no records"),
        (["own/results.jsonl", "--folder", "own"], "`--folder` must not hold the committed results, got own"),
    ],
)
def test_a_wrong_reproduction_is_refused_and_nothing_is_written(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    for path in (tmp_path / "claimed.jsonl", tmp_path / "own" / "results.jsonl"):
        write(path, [record()])
    before = sorted(tmp_path.rglob("*"))
    assert main(["reproduce", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@exhaustive
def test_a_committed_row_is_reproduced(tmp_path):
    results = Path(__file__).parents[2] / "results" / "grid.jsonl"
    arguments = ["flip-flop", "--row", "lru", "--fraction", "0.3", "--results", str(results)]
    assert main(["reproduce", *arguments, "--quiet", "--workers", "1", "--folder", str(tmp_path / "again")]) == 0
