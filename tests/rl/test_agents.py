"""Agents: a run that is killed ends in the same weights, scores are of best actions, tables read the records."""

import dataclasses
import functools
import html
import json
import signal

import pytest
import torch

pytest.importorskip("torchrl", reason="needs the extra rl")

from remanent import ModelConfig, SequenceModel
from remanent._terminal import Terminated
from remanent.cli import main
from remanent.records.record import RECORD_FILE, read_records
from remanent.report.memory_figures import learning_curves
from remanent.rl.agent_config import AgentConfig, AgentExperiment, agent_experiment, is_agent
from remanent.rl.agent_record import run_agent
from remanent.rl.agent_run import load_agent, resume_agent, start_agent
from remanent.rl.agent_scores import _Acting, score_agent
from remanent.rl.agent_training import AgentTraining
from remanent.rl.environments import GymId, RepeatFirst, TMaze
from remanent.rl.rollout import Place, first_place, greedy, roll_out, sampled

TINY = AgentConfig(frames=4 * 6 * 3, episodes=4, window=6, epochs=1, batches=2, checkpoint_every=1, kept_windows=2)
SMALL = {"hidden_size": 8}


def experiment(unit="bmru", environment=None, model=None, **changes):
    agent = dataclasses.replace(TINY, **changes)
    return agent_experiment(environment or TMaze(length=3), unit, agent, {**SMALL, **(model or {})})


class KilledError(Exception):
    """What ends a run in the middle, as a kill would."""


def killed_after(count):
    left = iter(range(count))

    def after_checkpoint():
        if next(left, None) is None:
            raise KilledError

    return after_checkpoint


ACT = AgentTraining._act
QUIET = {"progress": False, "logger": "none"}


@pytest.mark.parametrize(
    ("unit", "environment", "algorithm"),
    [
        ("bmru", TMaze(length=3), "ppo"),
        ("bmru+lru", GymId("CartPole-v1"), "ppo"),
        ("lstm", RepeatFirst(length=4), "dqn"),
    ],
)
def test_a_run_that_is_killed_resumes_to_the_same_weights(unit, environment, algorithm, tmp_path):
    made = experiment(unit, environment, algorithm=algorithm, target_every=3)
    whole = start_agent(made, tmp_path / "whole", **QUIET)
    with pytest.raises(KilledError):
        start_agent(made, tmp_path / "killed", **QUIET, after_checkpoint=killed_after(0))
    resumed = resume_agent(tmp_path / "killed", **QUIET)
    assert whole.state_dict().keys() == resumed.state_dict().keys()
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "killed")]
    assert lines[0] == lines[1]
    assert [json.loads(line)["step"] for line in lines[0].splitlines() if "loss" in line] == [0, 1, 2]
    assert whole.epsilon in (None, 0.0)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_ends_a_run_after_its_update_with_a_checkpoint(number, error, tmp_path, request):
    made = experiment("gru", checkpoint_every=2)
    training = AgentTraining(made)
    if number == signal.SIGINT:  # a shell's background processes ignore it
        request.addfinalizer(functools.partial(signal.signal, number, signal.getsignal(number)))
        signal.signal(number, signal.default_int_handler)
    before = signal.getsignal(number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AgentTraining, "_act", lambda self, draws: signal.raise_signal(number) or ACT(self, draws))
        with pytest.raises(error, match="after update 1 of 3; resume it with `remanent rl --resume"):
            start_agent(made, tmp_path / "run", **QUIET)
    assert signal.getsignal(number) == before
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").glob("*.ckpt"))] == ["step-1.ckpt"]
    resumed = resume_agent(tmp_path / "run", **QUIET)
    for _ in range(3):
        training.update()
    assert torch.equal(resumed.head.weight, training.model.head.weight)


def test_a_run_makes_other_weights_with_another_seed(tmp_path):
    first, second = (start_agent(experiment(seed=seed), tmp_path / str(seed), **QUIET) for seed in (0, 1))
    assert not torch.equal(first.head.weight, second.head.weight)


def test_a_window_that_is_read_again_gives_the_outputs_of_its_steps():
    training = AgentTraining(experiment("bmru", TMaze(length=2), model={"epsilon": 0.0}))
    training.finish()
    model = training.model.eval()
    choose = sampled(4, torch.Generator().manual_seed(0))
    first, place = roll_out(model, training.episodes, first_place(training.episodes), choose, 7)
    second, _ = roll_out(model, training.episodes, place, choose, 9)
    assert second.is_init.any()
    for window in (first, second):
        again, _ = model(window.observation, window.state, reset=window.is_init)
        torch.testing.assert_close(again, window.output)
        follows = ~(window.terminated | window.truncated)[:, :-1]
        assert torch.equal(window.next_output[:, :-1][follows], window.output[:, 1:][follows])
    assert len(first.scores) == len(first.returns) == (first.terminated | first.truncated).sum()


def test_returns_are_of_whole_episodes_across_windows():
    training = AgentTraining(experiment("gru", TMaze(length=3)))
    left = greedy(4)
    model = training.model.eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 0, 9, 0, 0]))  # always into the wall
    place, returns = first_place(training.episodes), []
    for _ in range(3):
        window, place = roll_out(model, training.episodes, place, left, 3)
        returns += window.returns
    assert returns == pytest.approx([-0.8] * 4)


def test_the_score_is_of_the_best_actions_and_leaves_the_model_as_it_was():
    model = SequenceModel(ModelConfig(4, 5, hidden_size=8, unit="gru", head="every")).train()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 9, 0, 0, 0]))  # up, into the wall
    assert score_agent(model, TMaze(length=3), episodes=8) == 0
    assert model.training
    found = score_agent(model, RepeatFirst(length=1, suits=4), episodes=400)
    assert 0.15 < found < 0.35
    assert found == score_agent(model, RepeatFirst(length=1, suits=4), episodes=400)
    steps = []
    score_agent(model, TMaze(length=3), length=30, episodes=2, done=steps.append)
    assert steps[-1] == 89


@pytest.mark.parametrize("unit", ["bmru", "lstm"])
def test_a_step_that_repeats_the_one_before_is_not_computed_again_and_changes_nothing(unit, monkeypatch):
    training = AgentTraining(experiment(unit))
    training.finish()
    model, asked, step = training.model.eval(), [], training.model.step
    monkeypatch.setattr(model, "step", lambda *given, **more: asked.append(1) or step(*given, **more))
    acting, state = _Acting(model), None
    for t in range(40):
        seen = torch.eye(4)[[0, 1] if t in (0, 20) else [2, 2]]
        place = Place(seen, torch.tensor([t == 0, t in (0, 30)]), torch.zeros(2), state)
        output, state = acting.step(place)
        expected, after = step(place.observation, place.state, reset=place.is_init)
        assert torch.equal(output, expected)
        assert all(torch.equal(part, after.named()[name]) for name, part in state.named().items())
    assert len(asked) < 20 if unit == "bmru" else len(asked) == 40


def test_attention_is_scored_up_to_a_hundred_times_the_length():
    made = experiment("attention", TMaze(length=2), model={"num_heads": 2, "num_layers": 1})
    training = AgentTraining(made)
    training.update()
    training.update()  # begins with new episodes
    with pytest.raises(ValueError, match="`length` must be at most 100 times that of training for a model with atte"):
        score_agent(training.model, made.environment, length=2000)
    assert 0 <= score_agent(training.model, made.environment, length=20, episodes=4) <= 1


def test_a_loss_that_is_not_finite_names_the_update():
    training = AgentTraining(experiment("gru"))
    training.update()
    weight = training.model.head.weight
    training.learner.losses = lambda window, generator: iter([weight.sum() * torch.nan])
    with pytest.raises(FloatingPointError, match="the loss must be finite, got nan in update 1"):
        training.update()
    training.learner.losses = lambda window, generator: iter([(weight * 0).sum().sqrt()])
    with pytest.raises(FloatingPointError, match="the gradient must be finite, got a norm of nan in update 1"):
        training.update()
    assert weight.isfinite().all()


def test_records_stand_in_tables_and_are_not_made_again(tmp_path, capsys):
    results = tmp_path / "agents.jsonl"
    flags = ["--agent.frames", "48", "--agent.episodes", "4", "--agent.window", "6", "--agent.batches", "1"]
    command = ["rl", "t-maze", "--unit", "gru", "bmru", "--seed", "0", "1", "--task.length", "2", *flags]
    command += ["--model.hidden_size", "8", "--out", str(tmp_path / "runs"), "--results", str(results), "--quiet"]
    assert main([*command, "--logger", "none"]) == 0
    written = results.read_bytes()
    assert main([*command, "--logger", "none"]) == 0
    assert results.read_bytes() == written
    records = read_records(results).records
    assert [(each.unit, each.seed) for each in records] == [("gru", 0), ("gru", 1), ("bmru", 0), ("bmru", 1)]
    assert [test.length for test in records[0].tests] == [2, 20]
    assert records[0].set["task.length"] == 2
    assert "model.input_size" not in records[0].set
    folder = tmp_path / "runs" / "t-maze-bmru-1"
    assert read_records(folder / RECORD_FILE).records == [records[3]]
    assert is_agent(folder)
    capsys.readouterr()
    assert main(["table", str(results)]) == 0
    said = capsys.readouterr().out
    assert "t-maze (task.length=2)" in said
    assert "bmru" in said
    assert main(["evaluate", str(folder), "--length", "2", "3", "--examples", "8", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["length"] for line in lines] == [2, 3]
    assert all(0 <= line["success"] <= 1 for line in lines)
    assert main(["evaluate", str(folder), "--failing-limit", "9"]) == 2
    assert "`--failing-limit` must not be given for the run of an agent" in capsys.readouterr().err
    assert main(["train", "--resume", str(folder)]) == 2
    assert "must hold a run of `remanent train`, got one of `remanent rl`" in capsys.readouterr().err
    assert main(["rl", "--resume", str(folder), "--quiet", "--logger", "none"]) == 0
    made, model = load_agent(folder)
    assert made.identity == records[3].id
    assert sum(parameter.numel() for parameter in model.parameters()) == records[3].parameters


def test_a_page_is_written_of_agents(tmp_path, capsys):
    runs = [tmp_path / unit for unit in ("gru", "bmru")]
    for folder in runs:
        start_agent(experiment(folder.name, checkpoint_every=1), folder, **QUIET)
    page = tmp_path / "page.html"
    assert main(["report", *map(str, runs), "--out", str(page)]) == 0
    said = capsys.readouterr()
    assert f"remanent: measuring {runs[1]}" in said.err
    text = html.unescape(page.read_text())
    for word in ("t-maze: what is remembered", "2 runs of agents", "episodes that succeed", "Learning: t-maze"):
        assert word in text
    options = "--agent.batches 2 --agent.checkpoint_every 1 --agent.episodes 4 --agent.epochs 1 --agent.frames 72"
    command = f"remanent rl t-maze --unit bmru gru --seed 0 {options}"
    assert command in text
    assert "--tests 1 10" in text
    assert "remanent grid" not in text
    assert '"algorithm": "ppo"' in text
    assert main(["report", *map(str, runs), "--out", str(page)]) == 2
    assert main(["report", str(runs[0]), "--data-dir", "x", "--out", str(tmp_path / "new.html")]) == 2
    assert "`--data-dir` must not be given for runs of agents, got x" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    assert main(["report", str(runs[0]), str(tmp_path / "other"), "--out", str(tmp_path / "new.html")]) == 2
    assert "`RUN` must be runs of `remanent rl` beside" in capsys.readouterr().err
    assert not (tmp_path / "new.html").exists()


def test_returns_below_zero_have_an_axis_without_logarithms():
    options = {"title": "cards", "score_name": "return", "is_share": False, "chance": 0.0}
    assert learning_curves({"lru": {1: [-0.5], 9: [0.5]}}, **options).axes[0].get_yscale() == "linear"
    assert learning_curves({"lru": {1: [0.5], 9: [0.1]}}, **options).axes[0].get_yscale() == "log"


def test_a_grid_says_how_agents_are_trained(capsys):
    assert main(["grid", "--task", "t-maze", "--unit", "bmru", "lru"]) == 2
    assert "a series of agents is `remanent rl t-maze --unit bmru lru --results" in capsys.readouterr().err


def test_a_folder_of_another_configuration_is_rejected(tmp_path):
    start_agent(experiment("gru"), tmp_path / "run", **QUIET)
    with pytest.raises(ValueError, match=r"must hold the run of this configuration, agent\.seed 1, got agent\.seed 0"):
        run_agent(experiment("gru", seed=1), tmp_path / "run", **QUIET)
    with pytest.raises(FileExistsError, match=r"resume it with `remanent rl --resume"):
        start_agent(experiment("gru"), tmp_path / "run", **QUIET)
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text().replace('"frames": 72', '"frames": 73'))
    with pytest.raises(ValueError, match="it has changed since"):
        load_agent(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="the run's folder must exist"):
        load_agent(tmp_path / "nowhere")


def test_the_configuration_comes_back_from_plain_values():
    made = experiment("bmru+lru", GymId("CartPole-v1", most_steps=50), algorithm="dqn", window=50)
    assert AgentExperiment.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert made.model.output_size == 2
    threads = dataclasses.replace(made, agent=dataclasses.replace(made.agent, threads=7))
    assert threads.identity == made.identity
    assert dataclasses.replace(made, agent=dataclasses.replace(made.agent, seed=7)).identity != made.identity


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AgentConfig(algorithm="sarsa"), "`algorithm` must be one of ppo, dqn, got 'sarsa'"),
        (lambda: AgentConfig(episodes=6, batches=4), "`batches` must divide `episodes`, 6, got 4"),
        (lambda: AgentConfig(anneal_hold=0.6), "`anneal_hold` and `anneal_ramp` must sum to at most 1"),
        (lambda: AgentConfig(gamma=1.5), r"`gamma` must be in \[0, 1\], got 1.5"),
        (lambda: experiment(model={"unit": "bmruu"}), "`unit` must be made of"),
        (
            lambda: experiment("bmru", TMaze(length=10), algorithm="dqn", window=20),
            "`agent.window` must be at least the 29 steps of an episode, which DQN reads whole, got 20",
        ),
        (
            lambda: AgentExperiment(TMaze(), ModelConfig(4, 4, head="every"), AgentConfig()),
            "`model.output_size` must be 5 for the environment t-maze and ppo, got 4",
        ),
        (lambda: AgentExperiment.from_dict({"agent": {}}), "the configuration must have a table 'task', got None"),
        (
            lambda: AgentExperiment.from_dict({"task": {"name": "x"}, "model": {}, "agent": {}}),
            "`task.name` must be one of t-maze, tree-maze, repeat-first, count-recall, gym, got 'x'",
        ),
        (
            lambda: score_agent(SequenceModel(ModelConfig(4, 5, head="every")), TMaze(), episodes=0),
            "`episodes` must be",
        ),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_an_unknown_environment_is_rejected_on_the_command_line(capsys):
    assert main(["rl", "t-mase"]) == 2
    assert "`TASK` must be one of t-maze, tree-maze" in capsys.readouterr().err
    assert main(["rl", "NoSuchWorld-v9"]) == 2
    assert "`id` must be an environment that gymnasium can make, got 'NoSuchWorld-v9'" in capsys.readouterr().err
