"""The folder of a pruned model: commands that need a model and its task read it, the others name the run's folder."""

import json
import shutil

import pytest
import torch

from built_models import FLIP, built
from remanent._files import write_json
from remanent.cli import main
from remanent.export.chip import missing_tools
from remanent.models import ModelConfig, SequenceModel
from remanent.review.pruned import load_model
from remanent.tasks import Parity
from remanent.training import Experiment, TrainingConfig, load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of parity, of whose two heads one is lost, and its pruned model in `pruned`."""
    lost, votes = [[1, 0], [0, 0]], [[(1, 0, 0)], [(1, 0, 1)]]
    model = built(
        torch.stack([torch.tensor([lost[letter], FLIP[letter].tolist()]) for letter in (0, 1)]), votes
    ).float()
    folder = tmp_path_factory.mktemp("pruned") / "run"
    model.save(folder)
    experiment = Experiment(Parity(steps=9), model.config, TrainingConfig(threads=1))
    write_json(folder / "config.json", experiment.to_dict())
    assert main(["verify", str(folder), "--prune", "--out", str(folder / "pruned")]) == 0
    return folder


def test_a_pruned_model_is_read_with_the_configuration_of_its_run(run):
    experiment, model = load_model(run / "pruned")
    whole, large = load_model(run)
    assert experiment == whole == load_run(run)[0]
    assert (large.config.state_size, model.config.state_size) == (8, 4)
    noted = json.loads((run / "pruned" / "pruned.json").read_text())
    assert (noted["heads"], noted["kept"], noted["readout_steps"]) == (2, [[0, 0, 1]], 0)


def test_it_is_evaluated_and_exported_as_a_run_is(run, tmp_path, capsys):
    pruned = str(run / "pruned")
    assert main(["evaluate", pruned, "--examples", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sequence_accuracy"] == 1
    assert main(["export", pruned, "--format", "c", "--out", str(tmp_path / "c")]) == 0
    assert (tmp_path / "c" / "model.c").is_file()
    assert "2 bytes of state for each stream" in capsys.readouterr().out  # a head, and two tracers


@pytest.mark.skipif(missing_tools() is not None, reason=f"needs {missing_tools()}")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_it_runs_on_the_chip(run, capsys):
    assert main(["chip", str(run / "pruned"), "--examples", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["score"], found["same"], found["state_bytes"]) == (1, 5, 2)


@pytest.mark.parametrize("words", [["report"], ["robustness"], ["verify"], ["train", "--resume"]], ids="-".join)
def test_what_needs_a_training_says_that_it_needs_the_folder_of_the_run(run, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, str(run / "pruned")]) == 2
    said = capsys.readouterr().err
    assert f"got {run / 'pruned'}, which holds a model that was pruned from one; give the folder of that run" in said


def test_what_does_not_fit_is_rejected(run, tmp_path):
    folder = shutil.copytree(run / "pruned", tmp_path / "copy")
    noted = json.loads((folder / "pruned.json").read_text())
    noted["config"]["training"]["learning_rate"] = 0.5
    write_json(folder / "pruned.json", noted)
    with pytest.raises(ValueError, match=r"pruned\.json must hold the configuration of its run, .*, got that of "):
        load_model(folder)
    write_json(folder / "pruned.json", {"run": noted["run"]})
    with pytest.raises(ValueError, match=r"pruned\.json must have a table 'task', got None"):
        load_model(folder)
    shutil.copy(run / "pruned" / "pruned.json", folder)
    for name in ("model.json", "model.safetensors"):
        (folder / name).unlink()
    SequenceModel(ModelConfig(2, 3, unit="mru", encoder="table", head="every")).save(folder)
    with pytest.raises(ValueError, match=r"must have the `output_size` of pruned\.json, 2, got 3"):
        load_model(folder)
