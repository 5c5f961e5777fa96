"""Environments: a seed gives the same episodes in every batch, what is right is rewarded, gymnasium accepts them."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="needs the extra rl")

import gymnasium
from gymnasium.utils.env_checker import check_env

from remanent.rl.environments import ENVIRONMENTS, CountRecall, GymId, RepeatFirst, TMaze, TreeMaze
from remanent.rl.environments.draws import choice, mixed, uniform
from remanent.rl.environments.gym_interface import GymEnv, GymVectorEnv
from remanent.rl.environments.t_maze import DOWN, LEFT, RIGHT, UP

OURS = {
    "t-maze": TMaze(length=4, shortest=2),
    "tree-maze": TreeMaze(length=2, depth=2),
    "repeat-first": RepeatFirst(length=5),
    "count-recall": CountRecall(kinds=2, copies=3),
    "gym": GymId("CartPole-v1", most_steps=9),
}


def play(environment, seeds, steps=40, rule=lambda seed, step, size: (7 * seed + step) % size):
    """All that episodes give under a rule that depends on the seed and the step alone; each begins again at its end."""
    episodes = environment.episodes(seeds)
    found = [[(seen.tolist(),)] for seen in episodes.begin()]
    for t in range(steps):
        step = episodes.step(np.array([rule(seed, t, environment.num_actions) for seed in seeds]))
        rows = zip(step.observation.tolist(), step.reward, step.terminated, step.truncated, strict=True)
        for i, row in enumerate(rows):
            found[i].append((*row, step.score[i] if step.ended[i] else None))
        if step.ended.any():
            seen = episodes.begin(step.ended)
            for i in np.flatnonzero(step.ended):
                found[i].append((seen[i].tolist(),))
    return found


def test_every_environment_has_a_case():
    assert OURS.keys() == ENVIRONMENTS.keys()
    assert all(type(each) is ENVIRONMENTS[name] for name, each in OURS.items())


@pytest.mark.parametrize("name", OURS)
def test_a_seed_gives_the_same_episodes_in_every_batch(name):
    together = play(OURS[name], [0, 3, 8])
    assert play(OURS[name], [3])[0] == together[1]
    assert play(OURS[name], [8, 0])[::-1] == [together[0], together[2]]


@pytest.mark.parametrize("name", OURS)
def test_episodes_go_on_from_their_state(name):
    first = OURS[name].episodes([0, 5])
    first.begin()
    for _ in range(3):
        first.begin(first.step(np.array([0, 1])).ended)
    second = OURS[name].episodes([0, 5])
    second.load_state_dict(first.state_dict())
    for t in range(12):
        steps = [each.step(np.array([t % 2, 0])) for each in (first, second)]
        for one, two in zip(*steps, strict=True):
            np.testing.assert_array_equal(one, two)
        for each, step in zip((first, second), steps, strict=True):
            each.begin(step.ended)


@pytest.mark.parametrize("name", OURS)
def test_gymnasium_accepts_one_episode_and_a_batch(name, recwarn):
    environment = OURS[name]
    check_env(GymEnv(environment), skip_render_check=True)
    batch, alone = GymVectorEnv(environment, num_envs=3), GymEnv(environment)
    seen, _ = batch.reset(seed=4)
    np.testing.assert_array_equal(seen[2], alone.reset(seed=6)[0])
    assert batch.observation_space.contains(seen)
    for t in range(20):
        seen, reward, ended, cut, info = batch.step(np.full(3, t % environment.num_actions))
        row = alone.step(np.int64(t % environment.num_actions))
        assert row[1:4] == (reward[2], ended[2], cut[2])
        if ended[2] or cut[2]:
            np.testing.assert_array_equal(info["final_obs"][2], row[0])
            assert info["final_info"]["score"][2] == row[4]["score"]
            row = alone.reset()
        np.testing.assert_array_equal(seen[2], row[0])
    said = [str(w.message) for w in recwarn if "obs" in str(w.message)]
    assert [text for text in said if name != "gym" or "infinity" not in text] == []  # CartPole's own have no bound


def test_gymnasium_makes_them_by_their_ids():
    one = gymnasium.make("remanent/t-maze-v0", options={"length": 7})
    many = gymnasium.make_vec("remanent/t-maze-v0", num_envs=3, options={"length": 7})
    assert one.unwrapped.environment == many.unwrapped.environment == TMaze(length=7)
    np.testing.assert_array_equal(many.reset(seed=4)[0][1], one.reset(seed=5)[0])
    assert many.step(np.zeros(3, int))[0].shape == (3, 4)


def test_the_way_through_the_t_maze():
    environment = TMaze(length=6, shortest=3)
    episodes = environment.episodes(range(64))
    seen = episodes.begin()
    assert set(seen.argmax(1)) == {0, 1}
    up, ends = seen[:, 0] == 1, np.zeros(64, int)
    for t in range(1, 8):
        actions = np.where(seen[:, 3] == 1, np.where(up, UP, DOWN), RIGHT)
        step = episodes.step(actions)
        assert set(step.reward[step.terminated]) <= {np.float32(4)}
        ends[step.terminated] = t
        seen = step.observation
        if step.terminated.any():
            up = np.where(step.terminated, episodes.begin(step.terminated)[:, 0] == 1, up)
            seen = np.where(step.terminated[:, None], episodes.begin(np.zeros(64, bool)), seen)
    assert set(ends) <= set(range(4, 8))
    episodes = environment.at_length(5).episodes([0])
    seen, rewards = episodes.begin(), []
    for action in (LEFT, UP, RIGHT, RIGHT, LEFT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, DOWN if seen[0, 0] == 1 else UP):
        step = episodes.step(np.array([action]))
        rewards.append(round(step.reward.item(), 6))
    assert rewards == [-0.1, -0.1, 0, 0, 0, 0, 0, 0, 0, -0.1, -0.1]
    assert step.terminated.item()
    assert step.score.item() == 0


def test_an_episode_is_cut_off_at_its_horizon():
    episodes = TMaze(length=3).episodes([0, 1])
    episodes.begin()
    cut = [episodes.step(np.array([LEFT, UP])).truncated.tolist() for _ in range(8)]
    assert cut == [[False, False]] * 7 + [[True, True]]


def test_the_way_through_the_tree_maze():
    episodes = TreeMaze(length=2, depth=3).episodes(range(16))
    signs = episodes.begin()[:, :3]
    assert len({tuple(row) for row in signs.tolist()}) > 4
    for junction in range(3):
        for _ in range(2):
            step = episodes.step(np.full(16, RIGHT))
            assert not step.ended.any()
        assert (step.observation == [0, 0, 0, 0, 1]).all()
        step = episodes.step(np.where(signs[:, junction] > 0, UP, DOWN))
    assert step.terminated.all()
    assert (step.score == 1).all()
    assert (step.reward == 4).all()
    episodes.begin()
    episodes.step(np.full(16, RIGHT))
    episodes.step(np.full(16, RIGHT))
    step = episodes.step(np.full(16, UP))
    assert (step.terminated == (step.reward < 0)).all()
    assert 0 < step.terminated.sum() < 16


def test_answers_that_count_every_card_are_right():
    environment = CountRecall(kinds=3, copies=2)
    episodes = environment.episodes(range(8))
    seen, counts, total = episodes.begin(), np.zeros((8, 3), int), 0.0
    for _ in range(environment.length):
        counts += seen[:, :3].astype(int)
        step = episodes.step(np.take_along_axis(counts, seen[:, 3:].argmax(1)[:, None], 1)[:, 0])
        seen, total = step.observation, total + step.reward
    assert step.terminated.all()
    assert (step.score == 1).all()
    assert (counts == 2).all()
    np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_draws_are_even_and_independent():
    keys = mixed(np.arange(4000))
    values = np.stack([uniform(keys, draw) for draw in range(3)])
    assert np.abs(values.mean(1) - 0.5).max() < 0.02
    assert np.abs(np.corrcoef(values) - np.eye(3)).max() < 0.05
    assert np.bincount(choice(keys, 4, 9), minlength=4).min() > 900


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TMaze(length=0), "`length` must be at least 1, got 0"),
        (lambda: TMaze(length=3, shortest=4), "`shortest` must be at most `length`, 3, got 4"),
        (lambda: TreeMaze(depth=17), "`depth` must be at most 16, got 17"),
        (lambda: RepeatFirst(suits=1), "`suits` must be at least 2, got 1"),
        (lambda: CountRecall().at_length(3), "`length` must not be given for count-recall, whose length is fixed"),
        (lambda: GymId("NoSuchWorld-v3"), "`id` must be an environment that gymnasium can make, got 'NoSuchWorld-v3'"),
        (lambda: GymId("Pendulum-v1"), "`id` must have discrete actions that begin at 0, got Box"),
        (lambda: GymVectorEnv(TMaze(), num_envs=0), "`num_envs` must be at least 1, got 0"),
        (lambda: GymEnv(TMaze(), render_mode="human"), "`render_mode` must be None, since nothing is drawn"),
        (lambda: GymVectorEnv(TMaze(), num_envs=2).reset(seed=[1]), "`seed` must be one number or 2, one for each"),
        (lambda: TMaze().episodes([-1]), "`seeds` must be at least 0, got -1"),
        (lambda: TMaze().episodes([0]).step(np.array([1])), "`begin` must be called before `step`"),
        (lambda: TMaze().episodes([0]).step(np.array([4])), r"`actions` must be in \[0, 4\), got \[4\]"),
        (lambda: TMaze().episodes([0]).step(np.array([1, 1])), r"`actions` must have shape \(B=1,\), got \(2,\)"),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_images_are_rejected():
    class Picture(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
        action_space = gymnasium.spaces.Discrete(2)

    gymnasium.register("Picture-v0", entry_point=Picture)
    try:
        with pytest.raises(ValueError, match=r"observations of one axis, got images or others of \(8, 8, 3\)"):
            GymId("Picture-v0")
    finally:
        del gymnasium.registry["Picture-v0"]


def test_popgym_runs_where_it_is_installed():
    pytest.importorskip("popgym")
    environment = GymId("popgym-RepeatFirstEasy-v0")
    assert (environment.observation_size, environment.num_actions) == (4, 4)
    found = play(environment, [1, 2], steps=60)
    assert found == play(environment, [1, 2], steps=60)
    assert len(found[0]) > 61
    assert dataclasses.asdict(environment) == {"id": "popgym-RepeatFirstEasy-v0", "most_steps": None}
