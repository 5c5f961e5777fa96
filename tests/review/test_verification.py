"""`remanent verify`: proofs of finished runs, words on which others fail, and what is refused."""

import json

import pytest
import torch

from automata_models import empty_model, exact_mru, set_transitions
from built_models import FLIP, built
from remanent import ModelConfig, SequenceModel
from remanent._files import write_json
from remanent.cli import main
from remanent.tasks import CopyFirst, FlipFlop, GroupWord, Parity
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.automata.automaton_word import AutomatonWord
from remanent.training import Experiment, TrainingConfig

Z5 = GroupWord(group="Z5")


def finished(folder, task, model):
    """The folder of a run, as if it had been trained."""
    model.save(folder)
    write_json(folder / "config.json", Experiment(task, model.config, TrainingConfig(seed=3)).to_dict())
    return str(folder)


@pytest.fixture
def right(tmp_path):
    return finished(tmp_path / "right", Z5, exact_mru(Z5.automaton))


@pytest.fixture
def wrong(tmp_path):
    model = exact_mru(Z5.automaton)
    set_transitions(model, 3, [3, 2, 0, 1, 2])
    return finished(tmp_path / "wrong", Z5, model)


def test_a_run_that_is_right_gets_a_proof_that_can_be_checked(right, wrong, tmp_path, capsys):
    results = tmp_path / "verified.jsonl"
    assert main(["verify", right, "--results", str(results)]) == 0
    shown = capsys.readouterr().out
    assert "Right at every length: 5 pairs of states" in shown
    assert "leads by at least 4." in shown
    proof = tmp_path / "right" / "verified" / "proof.json"
    assert str(proof) in shown
    line = json.loads(results.read_text())
    assert (line["outcome"], line["states"], line["word"], line["margin"]) == ("right", 5, None, 4)
    assert (line["task"]["group"], line["unit"], line["seed"]) == ("Z5", "mru", 3)
    assert {"identity", "seconds", "packages", "processor"} <= set(line)
    assert main(["verify", right, "--check", str(proof)]) == 0
    assert capsys.readouterr().out.startswith("The proof holds: right at every length, in 5 pairs of states")
    assert main(["verify", wrong, "--check", str(proof)]) == 1
    note, said = capsys.readouterr().out.splitlines()
    assert "hash differs" in note
    assert said.startswith("The proof does not hold: letter 1 leads from state 3")
    assert main(["verify", wrong, "--check", str(proof), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["holds"] is False


def test_a_run_that_is_wrong_gets_a_word_and_its_replay(wrong, tmp_path, capsys):
    assert main(["verify", wrong]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Wrong after 2 letters: 3 1. All shorter words are right."
    assert said[1] == "Replayed: the answer must be 4; the model gives 2 at once, 2 in steps."
    assert not (tmp_path / "wrong" / "verified").exists()
    assert main(["verify", wrong, "--json"]) == 1
    line = json.loads(capsys.readouterr().out)
    assert (line["word"], line["length"], line["proof"]) == ([3, 1], 1, None)
    assert line["margin"] is None  # of answers that do not help
    assert line["replay"] == {"target": 4, "forward": 2, "step": 2}


def test_a_walk_that_is_given_up_has_a_status_of_its_own(tmp_path, capsys):
    """A row of 20 states, whose last one alone answers 1."""
    automaton = Automaton([[(state + 1) % 20] for state in range(20)], [int(state == 19) for state in range(20)])
    run = finished(tmp_path / "long", AutomatonWord.of(automaton), exact_mru(automaton))
    assert main(["verify", run, "--most-states", "10"]) == 3
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Too many states: given up after 11 pairs of states of the model and the task."
    assert said[1].startswith("All words of up to 10 letters are right")
    assert said[2:] == ["--most-states raises the limit."]  # the only head is needed
    assert main(["verify", run, "--out", str(tmp_path / "proof")]) == 0
    assert (tmp_path / "proof" / "proof.json").is_file()


def test_the_word_that_is_printed_has_the_letters_of_the_task_and_a_tie_is_no_answer(tmp_path, capsys):
    run = finished(tmp_path / "run", FlipFlop(), empty_model(3, 2, unit="mru", state_size=4, num_states=2))
    assert main(["verify", run]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Wrong after 1 letter: =0. All shorter words are right."
    none = "no answer (no largest logit)"
    assert said[1] == f"Replayed: the answer must be 0; the model gives {none} at once, {none} in steps."


def test_the_model_that_lies_beside_a_proof_is_the_one_that_is_checked(right, wrong, tmp_path):
    assert main(["verify", right]) == 0
    exact_mru(Z5.automaton).save(tmp_path / "right" / "verified")
    assert main(["verify", wrong, "--check", str(tmp_path / "right" / "verified" / "proof.json")]) == 0


def test_a_pruned_model_is_proved_and_saved_beside_its_proof(tmp_path, capsys):
    lost, votes = [[1, 0], [0, 0]], [[(1, 0, 0)], [(1, 0, 1)]]
    model = built(torch.stack([torch.tensor([lost[letter], FLIP[letter].tolist()]) for letter in (0, 1)]), votes)
    run = finished(tmp_path / "run", Parity(), model)
    results = tmp_path / "verified.jsonl"
    assert main(["verify", run, "--most-states", "3"]) == 3
    assert "Heads that are not needed multiply the states; --prune drops them." in capsys.readouterr().out
    assert main(["verify", run, "--prune", "--results", str(results)]) == 0
    shown = capsys.readouterr().out
    assert f"`remanent export {run}/verified --format c` writes it in C." in shown
    assert "Pruned to 1 of 2 heads (block 0, unit 0, head 1)." in shown
    assert "Right at every length: 2 pairs of states" in shown
    folder = tmp_path / "run" / "verified"
    names = ["model.json", "model.safetensors", "proof.json", "pruned.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    small = SequenceModel.load(folder)
    assert small.config.state_size == model.config.state_size // 2
    x = torch.randint(2, (2, 30))
    assert torch.equal(small(x)[0].argmax(-1), x.cumsum(1) % 2)
    kept = json.loads(results.read_text())["pruned"]
    assert (kept["heads"], kept["kept"], kept["maps"], kept["readout_steps"]) == (2, [[0, 0, 1]], [2], 0)
    assert kept["parameters"] == sum(parameter.numel() for parameter in small.parameters())
    assert main(["verify", run, "--check", str(folder / "proof.json")]) == 0


def test_a_model_that_cannot_be_pruned_is_walked_through_as_it_is(wrong, capsys):
    assert main(["verify", wrong, "--prune", "--json"]) == 1
    line = json.loads(capsys.readouterr().out)
    assert (line["word"], line["pruned"]) == ([3, 1], None)
    assert main(["verify", wrong, "--prune"]) == 1
    assert capsys.readouterr().out.startswith(f"Not pruned: {line['unpruned']}.\nWrong after 2 letters: 3 1.")


def test_runs_that_cannot_be_walked_are_refused_by_name(right, tmp_path, capsys):
    def refused(*words):
        assert main(["verify", *words]) == 2
        return capsys.readouterr().err

    config = {"input_size": 2, "output_size": 2, "hidden_size": 8, "encoder": "embedding", "head": "every"}
    summing = SequenceModel(ModelConfig(unit="bmru+lru", num_layers=1, **config))
    run = finished(tmp_path / "lru", Parity(), summing)
    assert "got blocks.0: lru, whose state is a sum that fades" in refused(run)
    numbers = SequenceModel(ModelConfig(input_size=1, output_size=1, hidden_size=4))
    run = finished(tmp_path / "copy", CopyFirst(), numbers)
    assert "must have an `automaton`, which tells what is right, got copy-first" in refused(run)
    assert "`most_states` must be at least 1, got 0" in refused(right, "--most-states", "0")
    assert "`--check` must name the file of a proof, got nowhere" in refused(right, "--check", "nowhere")
    assert "`--out` must not be given with --check" in refused(right, "--check", "nowhere", "--out", "a")
    assert "`--train-readout` must not be given with --check" in refused(
        right, "--check", "nowhere", "--train-readout", "2"
    )
    assert "`--train-readout` must come with --prune, got 5 alone" in refused(right, "--train-readout", "5")
    assert "`--out` must not exist yet" in refused(right, "--out", right)
    assert "`--out` must lie in a folder that exists" in refused(right, "--out", f"{right}/a/b")
    assert "the run's folder must exist" in refused("nowhere")
    proof = tmp_path / "proof.json"
    proof.write_text("{}")
    assert "proof.json must hold a proof of format 1" in refused(right, "--check", str(proof))
    assert not (tmp_path / "right" / "verified").exists()


def test_a_pruned_proof_is_checked_with_its_model_and_for_its_own_run_alone(right, wrong, tmp_path, capsys):
    out = tmp_path / "pruned"
    assert main(["verify", right, "--prune", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["verify", right, "--check", str(out / "proof.json")]) == 0
    note, said = capsys.readouterr().out.splitlines()
    assert note == f"Note: the model is the pruned one in {out}, not the run's own"
    assert said.startswith("The proof holds")
    other = json.loads((tmp_path / "wrong" / "config.json").read_text())
    other["training"]["seed"] = 4
    write_json(tmp_path / "wrong" / "config.json", other)
    assert main(["verify", wrong, "--check", str(out / "proof.json")]) == 2
    assert "whose model was pruned from another run" in capsys.readouterr().err
    assert main(["verify", right, "--out", str(out)]) == 2
    assert "(it holds a proof, which `--check` runs again)" in capsys.readouterr().err
