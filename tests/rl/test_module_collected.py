"""The recurrent module in TorchRL's environments and collectors, and the errors for what does not fit it."""

import pytest
import torch

pytest.importorskip("torchrl", reason="needs torchrl, of the extra `rl`")
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import Binary, Bounded, Composite, Unbounded
from torchrl.envs import EnvBase, SerialEnv
from torchrl.modules import set_recurrent_mode

from remanent import BMRU, LSTM, ModelConfig, SequenceModel
from remanent.rl import RecurrentModule
from rl_cases import data_of, make, replay

KEYS = {"in_key": "observation", "out_key": "embed"}


class Short(EnvBase):
    """Random observations, in episodes of `length` steps."""

    def __init__(self, length):
        super().__init__()
        self.length = length
        self.observation_spec = Composite(observation=Unbounded((3,)))
        self.action_spec = Bounded(-1, 1, (2,))
        self.reward_spec = Unbounded((1,))
        self.done_spec = Composite(done=Binary(1, (1,), dtype=torch.bool), terminated=Binary(1, (1,), dtype=torch.bool))

    def _reset(self, tensordict=None):
        self.steps = 0
        return self._now()

    def _step(self, tensordict):
        self.steps += 1
        return self._now().set("reward", torch.zeros(1))

    def _now(self):
        done = torch.tensor([self.steps >= self.length])
        return TensorDict({"observation": 2 * torch.randn(3), "done": done, "terminated": done.clone()}, [])

    def _set_seed(self, seed):
        pass


@pytest.mark.parametrize("kind", ["bmru", "model"])
def test_a_collector_of_several_environments_carries_the_state_on_its_own(kind):
    module = make(kind, torch.float32)
    width = module(data_of(kind, 1, 1, torch.float32)[:, 0])["embed"].shape[-1]
    policy = TensorDictSequential(module, TensorDictModule(nn.Linear(width, 2), ["embed"], ["action"]))
    environments = SerialEnv(2, [lambda: Short(5), lambda: Short(7)])
    collector = Collector(
        environments, policy, frames_per_batch=48, total_frames=96, auto_register_policy_transforms=True
    )
    try:
        for data in collector:
            starts = data["is_init"][..., 0]
            assert not starts.all()
            assert starts[:, 1:].any()
            for key in module.state_keys:
                assert not data[key][starts].any()
                assert torch.equal(data[key][:, 1:][~starts[:, 1:]], data["next", key][:, :-1][~starts[:, 1:]])
            assert torch.equal(replay(module, data)["embed"], data["embed"])  # the second batch begins in an episode
    finally:
        collector.shutdown()


def test_what_no_module_is_made_of_is_refused_by_name():
    def model(**options):
        return SequenceModel(ModelConfig(3, 2, hidden_size=8, **options))

    for make_module, error, message in (
        (
            lambda: RecurrentModule(nn.GRU(3, 8), **KEYS),
            TypeError,
            "`memory` must be a unit or a SequenceModel, got GRU",
        ),
        (
            lambda: RecurrentModule(BMRU(3, 8, bidirectional=True), **KEYS),
            ValueError,
            "`memory` must be a unit of one direction, got bidirectional=True",
        ),
        (
            lambda: RecurrentModule(model(unit="bmru+attention", num_heads=2, head="every"), **KEYS),
            ValueError,
            "`memory` must be a model without attention, whose state grows with time",
        ),
        (
            lambda: RecurrentModule(model(head="mean"), **KEYS),
            ValueError,
            "`memory` must be a model with head='every', got head='mean'",
        ),
        (
            lambda: RecurrentModule(BMRU(3, 8), out_key="embed"),
            ValueError,
            "either `in_key` or `in_keys` must be given, got None and None",
        ),
        (
            lambda: RecurrentModule(BMRU(3, 8), in_keys="observation", out_key="embed"),
            TypeError,
            "`in_keys` must be a list of keys, got 'observation'",
        ),
        (
            lambda: RecurrentModule(LSTM(3, 8), in_keys=["observation", "h"], out_key="embed"),
            ValueError,
            r"`in_keys` must be 3 keys, of a value and of the state \(h, c\), got \['observation', 'h'\]",
        ),
    ):
        with pytest.raises(error, match=message):
            make_module()


BATCH = {"observation": torch.zeros(4, 3), "is_init": torch.zeros(4, 1, dtype=torch.bool)}
BAD = [
    ({"observation": None}, KeyError, "`tensordict` must hold 'observation', the observation, got the keys is_init"),
    ({"is_init": None}, ValueError, "`tensordict` must hold 'is_init', where episodes start; TorchRL's `InitTracker`"),
    (
        {"observation": torch.zeros(4, 3, 8, 8)},
        ValueError,
        r"M=3 features, \(4, 3\), got shape \(4, 3, 8, 8\); an image needs an encoder in front of the module",
    ),
    ({"observation": torch.zeros(4, 5)}, ValueError, r"M=3 features, \(4, 3\), got shape \(4, 5\)$"),
    (
        {"observation": torch.zeros(4, 3).double()},
        TypeError,
        "the dtype of the weights, torch.float32, got torch.float64",
    ),
    ({"is_init": torch.zeros(4, 1)}, TypeError, "`is_init` must have dtype torch.bool, got torch.float32"),
    ({"is_init": torch.zeros(4, 2, dtype=torch.bool)}, ValueError, r"`is_init` must have shape \(4, 1\), got \(4, 2\)"),
    (
        {"recurrent_state_h": torch.zeros(4, 1, 8)},
        KeyError,
        r"must hold the whole state, .* got no \['recurrent_state_c'\]",
    ),
    (
        {"recurrent_state_h": torch.zeros(4, 2, 8), "recurrent_state_c": torch.zeros(4, 1, 8)},
        ValueError,
        r"`recurrent_state_h` must have the batch and the shape of this module's state, \(4, 1, 8\), got \(4, 2, 8\)",
    ),
    (
        {"recurrent_state_h": torch.zeros(4, 1, 8), "recurrent_state_c": torch.zeros(4, 1, 8).double()},
        TypeError,
        "`recurrent_state_c` must have dtype torch.float32, got torch.float64",
    ),
]


def test_a_step_in_an_episode_needs_the_state_that_a_primer_carries():
    module = RecurrentModule(LSTM(3, 8), **KEYS)
    begun = BATCH | {"is_init": torch.ones(4, 1, dtype=torch.bool)}
    assert torch.equal(module(TensorDict(begun, [4]))["embed"], module.memory.step(BATCH["observation"])[0])
    with pytest.raises(KeyError, match="at a step that does not begin an episode, got none; append `make_tensordict_"):
        module(TensorDict(BATCH, [4]))


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_what_does_not_fit_is_refused_by_its_key(change, error, message):
    module = RecurrentModule(LSTM(3, 8), **KEYS)
    data = {key: value for key, value in (BATCH | change).items() if value is not None}
    before = set(data)
    data = TensorDict(data, [4])
    for recurrent in (False, True):  # four steps, or one row of them
        with set_recurrent_mode(recurrent), pytest.raises(error, match=message):
            module(data)
    assert set(data.keys()) == before


def test_rows_need_an_axis_of_time_and_tokens_one_number_for_each_step():
    module, tokens = make("bmru"), make("tokens")
    with set_recurrent_mode(True), pytest.raises(ValueError, match="`tensordict` must have an axis of time"):
        module(data_of("bmru", 1, 1)[0, 0])
    data = data_of("tokens", 2, 3)
    wide = data.clone().set("observation", data["observation"][..., None])
    assert torch.equal(replay(tokens, wide)["embed"], replay(tokens, data)["embed"])
    data["observation"] = torch.zeros(2, 3, 4, dtype=torch.int64)
    with pytest.raises(
        ValueError, match=r"`observation` must hold a token for each step, \(2, 3\), got shape \(2, 3, 4\)"
    ):
        replay(tokens, data)
