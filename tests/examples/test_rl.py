"""The policy for sb3-contrib: whole sequences give what single steps give, and a few steps of it train."""

import importlib.util
from pathlib import Path

import pytest
import torch

pytest.importorskip("sb3_contrib", reason="needs sb3-contrib")


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).parents[2] / "examples" / "rl" / "recurrent_ppo.py"
    spec = importlib.util.spec_from_file_location("recurrent_ppo", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.mark.parametrize("unit", ["bmru", "gru"])
def test_a_sequence_with_resets_gives_what_its_steps_give(example, unit):
    g = torch.Generator().manual_seed(0)
    B, T, M, D = 3, 17, 4, 8
    memory = example.UNITS[unit](M, D, 2, batch_first=True)
    features, starts = torch.randn(B * T, M, generator=g), (torch.rand(B, T, generator=g) < 0.2).float()
    before = (torch.randn(2, B, D, generator=g).sign(), torch.zeros(2, B, D))
    whole, after = example.MemoryPolicy._process_sequence(features, before, starts.flatten(), memory)
    state, steps = before, []
    for t in range(T):
        y, state = example.MemoryPolicy._process_sequence(
            features.reshape(B, T, M)[:, t], state, starts[:, t].contiguous(), memory
        )
        steps.append(y)
    torch.testing.assert_close(torch.stack(steps, 1).flatten(0, 1), whole)
    torch.testing.assert_close(state[0], after[0])
    assert torch.equal(after[1], before[1])


def test_a_few_steps_train(example, capsys):
    given = ["--length", "2", "--steps", "48", "--episodes", "4", "--window", "6"]
    assert 0 <= example.main(given) <= 1
    assert "20 steps:" in capsys.readouterr().out


def test_training_takes_epsilon_to_zero_and_changes_the_unit(example):
    model = example.make("bmru", 2, episodes=2, window=4, seed=0)
    before = [p.clone() for p in model.policy.lstm_actor.parameters()]
    model.learn(5 * 8, callback=example.AnnealEpsilon(4))
    assert model.policy.lstm_actor.epsilon == 0
    after = model.policy.lstm_actor.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    grouped = {id(p) for group in model.policy.optimizer.param_groups for p in group["params"]}
    assert all(id(p) in grouped for p in model.policy.lstm_actor.parameters())
