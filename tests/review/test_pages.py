"""Reports: what the page says is what the runs are; bad input is one clear error, and nothing is written."""

import dataclasses
import html
import json
import shutil

import pytest
import torch

from remanent.cli import main
from remanent.models import SequenceModel
from remanent.review.measures import measure_run
from remanent.tasks import CopyFirst, SequentialImage
from remanent.tasks.base import read_whole
from remanent.training import RECIPES, evaluate, load_run, start_run
from result_records import record


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
