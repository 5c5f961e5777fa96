"""Training: a run is one folder, goes on to the same bits after a kill, and stops on NaN."""

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import time

import pytest
import torch

from crew import forkserver
from remanent import ModelConfig, SequenceModel
from remanent.distributed.ranks import Ranks
from remanent.tasks import CopyFirst, SequentialImage
from remanent.tasks.base import derive_seed, read_whole
from remanent.training import (
    RECIPES,
    Experiment,
    TrainingConfig,
    evaluate,
    load_run,
    resume_run,
    start_run,
)
from remanent.training.data import StepBatches
from remanent.training.experiment import ExperimentModule
from remanent.training.folder import owned, write_model

TINY = Experiment(
    CopyFirst(steps=20),
    ModelConfig(input_size=1, output_size=1, hidden_size=8, dropout=0.1),
    TrainingConfig(steps=24, batch_size=4, checkpoint_every=5, threads=1, learning_rate=1e-2),
)


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_folder_holds_what_made_it(tmp_path):
    folder = tmp_path / "runs" / "tiny"
    model = start_run(TINY, folder, progress=False)
    names = {p.name for p in folder.iterdir()}
    files = {"config.json", "versions.json", "metrics.jsonl", "model.json", "model.safetensors", "write_rates.json"}
    assert names == files | {"checkpoints", "tensorboard"}
    kept = [line["file"] for line in json.loads((folder / "checkpoints" / "index.json").read_text())["checkpoints"]]
    assert kept[-2:] == ["step-20.ckpt", "step-24.ckpt"]
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"index.json", *kept}
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]
    experiment, loaded = load_run(folder)
    assert experiment == TINY
    x, _ = TINY.task.batch(3, torch.Generator().manual_seed(0))
    assert torch.equal(loaded.eval()(x)[0], model(x)[0])
    made_by = json.loads((folder / "versions.json").read_text())
    assert made_by["seed"] == 0
    assert made_by["packages"]["torch"] == torch.__version__
    log = lines(folder)
    assert [line["step"] for line in log if "loss" in line] == list(range(24))
    assert [line["step"] for line in log if "validation_mse" in line] == [4, 9, 14, 19, 23]
    assert any((folder / "tensorboard").glob("events.out.tfevents.*"))


def test_epsilon_falls_from_one_to_exactly_zero(tmp_path):
    start_run(TINY, tmp_path / "run", progress=False)
    epsilons = [line["epsilon"] for line in lines(tmp_path / "run") if "epsilon" in line]
    assert epsilons[0] == 1
    assert all(a >= b for a, b in itertools.pairwise(epsilons))
    assert 0 < epsilons[8] < 1
    assert epsilons[-8:] == [0] * 8
    _, model = load_run(tmp_path / "run")
    assert model.blocks[0].layer.units[0].epsilon == 0


def test_the_learning_rate_rises_then_falls(tmp_path):
    start_run(TINY, tmp_path / "run", progress=False)
    rates = [line["learning_rate"] for line in lines(tmp_path / "run") if "learning_rate" in line]
    top = rates.index(max(rates))
    assert rates[top] == pytest.approx(1e-2)
    assert rates[0] < rates[top]
    assert all(a > b for a, b in itertools.pairwise(rates[top + 1 :]))
    assert 0 < rates[-1] < 1e-3


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path):
    for name in ("a", "b"):
        start_run(TINY, tmp_path / name, progress=False)
    other = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, seed=1))
    start_run(other, tmp_path / "c", progress=False)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_a_run_killed_in_the_middle_goes_on_to_the_same_bits(tmp_path):
    long = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, steps=160, checkpoint_every=20))
    start_run(long, tmp_path / "whole", progress=False)
    folder = tmp_path / "killed"
    process = forkserver().Process(target=start_run, args=(long, folder), kwargs={"progress": False})
    process.start()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.is_alive():
        if (folder / "metrics.jsonl").exists() and len(lines_so_far(folder)) > 50:
            break
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (folder / "checkpoints" / "index.json").exists()
    assert not (folder / "model.safetensors").exists()
    with pytest.raises(FileNotFoundError, match="the run must be finished"):
        load_run(folder)
    resume_run(folder, progress=False)
    assert weights(folder) == weights(tmp_path / "whole")
    assert lines(folder) == lines(tmp_path / "whole")


def lines_so_far(folder):
    return (folder / "metrics.jsonl").read_text().splitlines()


@pytest.mark.parametrize("stage", ["before the first checkpoint", "between the last two files"])
def test_a_run_cut_off_at_an_awkward_moment_goes_on(tmp_path, stage):
    folder = tmp_path / "run"
    start_run(TINY, folder, progress=False)
    expected, log = weights(folder), lines(folder)
    (folder / "model.json").unlink()
    if stage == "before the first checkpoint":
        for path in (folder / "checkpoints").iterdir():
            path.unlink()
        (folder / "model.safetensors").unlink()
        (folder / "metrics.jsonl").write_text('{"step": 0, "lo')
    resume_run(folder, progress=False)
    assert weights(folder) == expected
    assert lines(folder) == log


def test_a_finished_run_is_only_read(tmp_path):
    start_run(TINY, tmp_path / "run", progress=False)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}
    resume_run(tmp_path / "run", progress=False)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")} == before


@pytest.mark.parametrize("first", ["resumed", "started"])
def test_a_run_that_another_process_finishes_first_keeps_its_weights(tmp_path, monkeypatch, first):
    folder = tmp_path / "run"
    finished = {}

    @contextlib.contextmanager
    def owned_after_another(path):
        monkeypatch.undo()
        resume_run(path, progress=False)  # another process, between the first look at the folder and its lock
        finished.update({p: p.read_bytes() for p in path.rglob("*") if p.is_file()})
        with owned(path):
            yield

    if first == "resumed":
        start_run(TINY, folder, progress=False)
        (folder / "model.json").unlink()
    monkeypatch.setattr("remanent.training.run.owned", owned_after_another)
    model = resume_run(folder, progress=False) if first == "resumed" else start_run(TINY, folder, progress=False)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == finished
    assert finished[folder / "model.safetensors"]
    assert not model.training
    with pytest.raises(FileExistsError, match=r"the run must not be finished yet, got .*, which holds its model.json"):
        write_model(folder, TINY, {}, None)
    assert weights(folder) == finished[folder / "model.safetensors"]


def test_a_folder_that_exists_is_never_reused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="the run's folder must not exist yet"):
        start_run(TINY, tmp_path, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_unwritable_folder_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        start_run(TINY, tmp_path / "file" / "run", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        start_run(TINY, tmp_path / "run", progress=False)


def test_a_failed_write_leaves_no_folder(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("remanent.training.folder.write_json", fail)
    with pytest.raises(OSError, match="disk full"):
        start_run(TINY, tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch, value):
    loss = CopyFirst.loss
    calls = []

    def poisoned(self, output, target):
        calls.append(1)
        return loss(self, output, target) * (value if len(calls) == 8 else 1)

    monkeypatch.setattr(CopyFirst, "loss", poisoned)
    seed = derive_seed("batch", 0, 7)
    with pytest.raises(FloatingPointError, match=rf"got {value} in step 7 \(batch seed {seed}\)"):
        start_run(TINY, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "model.json").exists()
    assert lines(tmp_path / "run")[-1]["step"] == 6
    monkeypatch.setattr(CopyFirst, "loss", loss)
    resume_run(tmp_path / "run", progress=False)
    start_run(TINY, tmp_path / "whole", progress=False)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_an_interrupted_run_says_how_to_go_on_and_does(tmp_path, monkeypatch):
    loss = CopyFirst.loss
    calls = []

    def interrupted(self, output, target):
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return loss(self, output, target)

    monkeypatch.setattr(CopyFirst, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt, match="resume with `remanent train --resume"):
        start_run(TINY, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "model.json").exists()
    resume_run(tmp_path / "run", progress=False)
    start_run(TINY, tmp_path / "whole", progress=False)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_batches_depend_on_the_step_alone():
    late = StepBatches(TINY.task, TINY.training, 10, 20, Ranks())
    whole = StepBatches(TINY.task, TINY.training, 0, 20, Ranks())
    assert torch.equal(late[3][0], whole[13][0])
    assert late[3][2] == whole[13][2] == derive_seed("batch", 0, 13)
    assert not torch.equal(whole[0][0], whole[1][0])
    with pytest.raises(IndexError, match=r"`index` must be in \[0, 10\), got 10"):
        late[10]


def test_only_matrices_decay():
    decaying = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, weight_decay=0.3))
    module = ExperimentModule(decaying)
    groups = module.configure_optimizers()["optimizer"].param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    found = {name: decay[id(p)] for name, p in module.model.named_parameters()}
    assert len(found) == len(decay)
    for name, p in module.model.named_parameters():
        assert found[name] == (0.3 if p.dim() > 1 else 0.0), name
    assert found["blocks.0.layer.units.0.alpha_l0"] == 0
    assert found["blocks.0.project.weight"] == 0.3
    heads = ExperimentModule(dataclasses.replace(decaying, model=dataclasses.replace(TINY.model, unit="mru")))
    kept, decayed = heads.configure_optimizers()["optimizer"].param_groups[::-1]
    assert (kept["weight_decay"], decayed["weight_decay"]) == (0.0, 0.3)
    assert any(p is heads.model.blocks[0].layer.units[0].weight_ih_l0 for p in kept["params"])
    assert len(kept["params"]) + len(decayed["params"]) == len(list(heads.model.parameters()))


def test_making_a_module_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ExperimentModule(TINY)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_comes_back_from_its_file(recipe):
    experiment = RECIPES[recipe]()
    assert Experiment.from_dict(json.loads(json.dumps(experiment.to_dict()))) == experiment


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": {}}, "has the unknown key 'optimizer'"),
        ({"model": {"depth": 2}}, "model has the unknown key 'depth'"),
        ({"training": {"lr": 2}}, "training has the unknown key 'lr'"),
        ({"task": {"name": "chess"}}, "`task.name` must be one of copy-first, .*, got 'chess'"),
        ({"task": 3}, "must have a table 'task', got 3"),
    ],
)
def test_a_config_with_an_unknown_key_is_refused(tmp_path, change, message):
    (tmp_path / "config.json").write_text(json.dumps(TINY.to_dict() | change))
    with pytest.raises(ValueError, match=message):
        resume_run(tmp_path, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, "`steps` must be at least 1, got 0"),
        ({"seed": 1.5}, TypeError, "`seed` must be an int, got 1.5"),
        ({"learning_rate": float("nan")}, ValueError, r"`learning_rate` must be in \(0, inf\), got nan"),
        ({"anneal_hold": 0.5, "anneal_ramp": 0.6}, ValueError, "`anneal_hold` and `anneal_ramp` must sum to at most 1"),
    ],
)
def test_bad_training_options_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        TrainingConfig(**options)


def test_a_model_that_does_not_fit_its_task_is_refused():
    with pytest.raises(ValueError, match=r"`model.input_size` must be 8 for the task sequential-image, got 1"):
        Experiment(SequentialImage(), TINY.model, TINY.training)
    with pytest.raises(ValueError, match=r"`model.head` must be last or mean"):
        dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, head="every"))
    with pytest.raises(ValueError, match=r"`model.epsilon` must be 0 where `training.anneal` is on, got 0.5"):
        dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, epsilon=0.5))


def test_evaluate_carries_the_state_and_equals_one_piece():
    torch.manual_seed(0)
    model = SequenceModel(dataclasses.replace(TINY.model, dropout=0.0)).eval()
    x, target = read_whole(CopyFirst(), "test", 0, 6, 3210)
    with torch.inference_mode():
        expected = (model(x)[0] - target).square().mean().item()
    for batch_size in (2, 6):
        score = evaluate(model, CopyFirst(), length=3210, examples=6, batch_size=batch_size)
        assert score == pytest.approx(expected, rel=1e-6)


def test_evaluate_scores_accuracy_over_the_whole_split():
    class Constant(SequenceModel):
        def forward(self, x, state=None, *, reset=None):
            return torch.eye(10)[3].expand(x.shape[0], -1), state

    task = SequentialImage()
    model = Constant(ModelConfig(input_size=8, output_size=10))
    _, target = read_whole(task, "test", 0, 360, 0)
    assert evaluate(model, task) == pytest.approx((target == 3).float().mean().item())
    assert task.chance >= evaluate(model, task)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"examples": 0}, "`examples` must be at least 1, got 0"),
        ({"examples": 513}, "`examples` must be at most the 512 of the test split, got 513"),
        ({"split": "train"}, "`split` must be one of validation, test, got 'train'"),
        ({"length": 0}, "`length` must be at least 1, got 0"),
    ],
)
def test_bad_evaluations_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(SequenceModel(TINY.model), CopyFirst(), **options)
