"""Reports: what the page says is what the runs are; bad input is one clear error, and nothing is written."""

import dataclasses
import html
import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from automata_models import exact_mru
from model_cases import make
from remanent.cli import main
from remanent.models import SequenceModel
from remanent.review.measures import _never_fades, measure_run, read_metrics
from remanent.tasks import CopyFirst, Parity, SequentialImage
from remanent.tasks.base import read_whole
from remanent.training import RECIPES, Experiment, evaluate, load_run, start_run
from result_records import record, write


def train(folder, unit="bmru+lru", seed=0, task=None, recipe="copy-first"):
    base = RECIPES[recipe]()
    task = task or CopyFirst(steps=20)
    training = dataclasses.replace(base.training, steps=4, batch_size=4, checkpoint_every=2, threads=1, seed=seed)
    model = dataclasses.replace(base.model, unit=unit, hidden_size=16, num_layers=1, num_heads=2)
    start_run(dataclasses.replace(base, task=task, training=training, model=model), folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    kinds = [("bmru+lru", 0), ("bmru+lru", 1), ("lru", 0), ("attention", 0)]
    return [train(root / f"{unit}-{seed}", unit, seed) for unit, seed in kinds]


def test_a_report_says_what_the_runs_scored(runs, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["report", *map(str, runs), "-o", str(out)]) == 0
    text = html.unescape(out.read_text())
    scores = [evaluate(model, e.task) for e, model in map(load_run, runs[:2])]
    mean, std = torch.tensor(scores).mean().item(), torch.tensor(scores).std().item()
    assert f"bmru+lru {mean:.4f} ± {std:.4f}" in text
    assert "4 runs of copy-first; mean squared error on test" in text
    assert "by guessing 1.0000." in text
    for run in runs:
        assert str(run) in text
    assert json.dumps(load_run(runs[0])[0].to_dict(), indent=2) in text
    assert out.stat().st_size < 3_000_000
    assert text.count("<figure><img") == 1 + 3 + 1 + 1  # learning, rasters, one loop, gradients
    assert "holds the report" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_unit_trained_in_two_ways_has_two_rows(runs, tmp_path):
    base, out = load_run(runs[2])[0], tmp_path / "report.html"
    longer = dataclasses.replace(base, training=dataclasses.replace(base.training, steps=6, seed=5))
    start_run(longer, tmp_path / "longer", progress=False)
    assert main(["report", str(runs[2]), str(tmp_path / "longer"), "-o", str(out)]) == 0
    text = html.unescape(out.read_text())
    assert "<td>lru</td>" in text
    assert "<td>lru (training.steps=6)</td>" in text
    assert "±" not in text.split("</header>")[0]


def test_results_of_the_grid_alone_make_a_report(tmp_path):
    file, out = tmp_path / "grid.jsonl", tmp_path / "report.html"
    records = [record("copy-first", unit, seed=seed) for unit in ("bmru", "lru") for seed in range(2)]
    file.write_text("".join(json.dumps(r.to_dict()) + "\n" for r in records))
    assert main(["report", "-o", str(out), "--results", str(file)]) == 0
    text = html.unescape(out.read_text())
    assert "4 runs of a grid, in 1 table." in text
    assert "remanent grid --task copy-first" in text
    write(file, [record(validation=0.123)])
    assert main(["report", "-o", str(tmp_path / "new.html"), "--results", str(file), "--split", "validation"]) == 0
    text = html.unescape((tmp_path / "new.html").read_text())
    assert "Validation mean squared error by steps" in text
    assert "0.1230" in text


def test_classes_are_shown_as_confusions(tmp_path):
    run = train(tmp_path / "run", "bmru", task=SequentialImage(), recipe="digits")
    measures = measure_run(run)
    assert measures.confusion.sum() == measures.examples
    assert measures.confusion.diagonal().sum().item() / measures.examples == pytest.approx(measures.score)
    _, classes = read_whole(SequentialImage(), "test", 0, measures.examples, SequentialImage().length)
    assert torch.equal(measures.confusion.sum(1), classes.bincount(minlength=10))
    assert not torch.equal(measures.confusion.sum(0), measures.confusion.sum(1))


def test_a_horizon_is_read_from_the_answer(tmp_path):
    from remanent.analysis import memory_horizon

    run = train(tmp_path / "run", "bmru")
    model = SequenceModel.load(run)
    write = torch.tensor([[1.0], [-1.0]])
    found = memory_horizon(model, write, read="answer", sequences=16, cap=10_000)
    assert measure_run(run).horizon == int(found.median())
    every = SequenceModel(dataclasses.replace(model.config, head="every"))
    every.load_state_dict(model.state_dict())
    assert torch.equal(memory_horizon(every, write, read="answer", sequences=16, cap=10_000), found)
    assert model.config.head == "last"


def test_what_latches_or_fades_has_a_horizon_and_what_moves_finitely_many_states_has_none(runs):
    for run in runs[:3]:
        measures = measure_run(run)
        assert not measures.never_fades
        assert measures.horizon is not None
    for unit, moves in {"mru": True, "bmru+mru": True, "mru,fq_bmru": True, "bmru": False, "mru+lru": False}.items():
        assert _never_fades(make(unit=unit, state_size=16)) is moves, unit
    model = make(unit="mru", state_size=16, epsilon=0.5)
    assert not _never_fades(model)


def test_a_proof_is_shown_with_the_machine_that_was_learned(tmp_path):
    run, out, model = tmp_path / "run", tmp_path / "report.html", exact_mru(Parity.automaton)
    training = dataclasses.replace(RECIPES["parity"]().training, steps=2, batch_size=4, threads=1)
    start_run(Experiment(Parity(steps=20), model.config, training), run, progress=False)
    save_file(model.state_dict(), run / "model.safetensors")
    assert main(["verify", str(run)]) == 0
    assert main(["report", str(run), "-o", str(out)]) == 0
    text = html.unescape(out.read_text())
    assert "1 of 1 proved right at every length." in text.split("</header>")[0]
    assert text.index("<h2") < text.index(">Proofs</h2>") < text.index(">Learning</h2>")
    assert "<td>right at every length</td><td>2</td><td>4</td><td>2 states, the smallest for the task</td>" in text
    assert "A graph of 2 states, with arrows for 2 letters." in text
    assert "<tr><td>mru</td><td>exact at any length</td>" in text
    assert "Where it says exact, the states are finitely many" in text


def fails(arguments, capsys):
    assert main(["report", *arguments]) == 2
    *progress, said = capsys.readouterr().err.strip().splitlines()
    assert all(line.startswith("remanent: measuring ") for line in progress)
    return said


def test_bad_input_is_one_line_and_writes_nothing(runs, tmp_path, capsys):
    out, there = tmp_path / "new.html", tmp_path / "there.html"
    there.write_text("mine")
    run = str(runs[0])
    assert f"`--out` must not exist yet, got {there}" in fails([run, "-o", str(there)], capsys)
    assert there.read_text() == "mine"
    assert "`--out` must lie in a folder that exists" in fails([run, "-o", str(tmp_path / "no" / "r.html")], capsys)
    assert "`RUN` or `--results` must be given, got neither" in fails(["-o", str(out)], capsys)
    assert "the run's folder must exist" in fails([str(tmp_path / "none"), "-o", str(out)], capsys)
    assert f"`RUN` must be different runs, got {run} and {run}, of one" in fails([run, run, "-o", str(out)], capsys)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "`--results` must hold records" in fails(["-o", str(out), "--results", str(empty)], capsys)
    other = train(tmp_path / "other", "lru", task=CopyFirst(steps=30))
    said = fails([run, str(other), "-o", str(out)], capsys)
    assert f"`RUN` must be runs of one task, got in {run} and {other}: steps 20 and 30" in said
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run, unfinished)
    (unfinished / "model.json").unlink()
    assert f"the run must be finished, got {unfinished}, which is not" in fails(
        [str(unfinished), "-o", str(out)], capsys
    )
    (unfinished / "model.json").write_bytes((runs[0] / "model.json").read_bytes())
    (unfinished / "model.safetensors").unlink()
    assert f"`model.safetensors` must be a file in {unfinished}, got none" in fails(
        [str(unfinished), "-o", str(out)], capsys
    )
    (unfinished / "model.safetensors").write_bytes((runs[0] / "model.safetensors").read_bytes())
    (unfinished / "metrics.jsonl").write_text('{"step": 1, "lo')
    assert "metrics.jsonl, line 1 must hold JSON" in fails([str(unfinished), "-o", str(out)], capsys)
    assert "must be a file or the folder of a run, got" in fails(
        ["-o", str(out), "--results", str(tmp_path / "none.jsonl")], capsys
    )
    assert not out.exists()


def test_a_model_of_tokens_is_measured(tmp_path):
    base = RECIPES["flip-flop"]()
    training = dataclasses.replace(base.training, steps=2, batch_size=4, checkpoint_every=2, threads=1)
    model = dataclasses.replace(base.model, hidden_size=8)
    start_run(dataclasses.replace(base, training=training, model=model), tmp_path / "run", progress=False)
    measures = measure_run(tmp_path / "run")
    assert measures.raster.inputs.shape[1] == 1
    assert 0 <= measures.horizon <= 10_000


def test_a_run_whose_weights_are_nan_and_whose_files_lack_parts_is_shown(runs, tmp_path, capsys):
    run = shutil.copytree(runs[2], tmp_path / "run")
    path = run / "model.safetensors"
    with safe_open(path, "pt") as file:
        notes = file.metadata()
    save_file({name: torch.full_like(value, torch.nan) for name, value in load_file(path).items()}, path, notes)
    (run / "versions.json").write_text("{}")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    none = [{key: None if key.startswith("validation") else value for key, value in line.items()} for line in lines]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in none))
    assert main(["report", str(run), "-o", str(tmp_path / "report.html")]) == 0
    text = html.unescape((tmp_path / "report.html").read_text())
    assert "mean squared error on test: lru not finite" in text
    assert "lru ends at not finite" in text
    assert "lru not finite at lag" in text
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json", "--examples", "2"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["mse"] is None
    assert main(["robustness", str(run), "--json", "--examples", "2", "--draws", "2"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["score"] is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"5", "line 2 must hold JSON, an object, got '5'"),
        (b"[]", r"line 2 must hold JSON, an object, got '\[\]'"),
        (b"\xff", "line 2 must hold JSON, an object"),
        (b"{}", "line 2 must have a whole number `step`, got None"),
        (
            b'{"step": 1, "validation_mse": "0"}',
            "line 2: the score must be a number, or null where not finite, got '0'",
        ),
    ],
)
def test_a_line_that_is_none_of_metrics_is_named(tmp_path, line, message):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 0, "validation_mse": 0.5}\n' + line + b"\n")
    with pytest.raises(ValueError, match=rf"metrics\.jsonl, {message}"):
        read_metrics(path).learning("mse")


def test_null_and_an_old_nan_are_scores_that_are_not_finite(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "validation_mse": null}\n{"step": 1, "validation_mse": NaN}\n{"step": 2, "loss": 1}\n')
    scores = read_metrics(path).learning("mse")
    assert [(step, score == score) for step, score in scores.items()] == [(1, False), (2, False)]


def test_a_curve_of_every_step_is_thinned_to_its_ends(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step, "epsilon": step / 1000}) + "\n" for step in range(1000)))
    curve = read_metrics(path).curve("epsilon")
    assert list(curve) == [*range(1, 1000, 5), 1000]
    assert curve[1000] == 0.999
    assert read_metrics(path).curve("write_rate") == {}
    path.write_text('{"step": 3, "epsilon": "0"}\n')
    with pytest.raises(ValueError, match="line 1: `epsilon` must be a number, or null where not finite, got '0'"):
        read_metrics(path).curve("epsilon")
