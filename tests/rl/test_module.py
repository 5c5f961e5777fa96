"""The recurrent module: what TorchRL promises of its own modules, and rollouts that a replay repeats to the bit."""

import copy
import pickle

import pytest
import torch

pytest.importorskip("torchrl", reason="needs torchrl, of the extra `rl`")
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.data import LazyTensorStorage, SliceSampler, TensorDictReplayBuffer
from torchrl.envs import BurnInTransform
from torchrl.modules import GRUModule, LSTMModule, set_recurrent_mode
from torchrl.modules.utils import get_primers_from_module

from helpers import compiles
from remanent import BMRU, GRU, LSTM
from remanent.rl import RecurrentModule
from rl_cases import KINDS, data_of, make, replay, roll

EXACT = [kind for kind, case in KINDS.items() if case.exact]
PEERS = {"gru": (GRU, GRUModule, "gru"), "lstm": (LSTM, LSTMModule, "lstm")}


def assert_same(found, expected, kind):
    assert torch.equal(found, expected) or kind not in EXACT
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_repeats_a_rollout(kind):
    module, data = make(kind), data_of(kind, 3, 40)
    rolled = roll(module, data)
    found = replay(module, rolled)
    assert_same(found["embed"], rolled["embed"], kind)
    for key in module.state_keys:
        assert_same(found["next", key][:, -1], rolled["next", key][:, -1], kind)
        assert not found["next", key][:, :-1].any()


@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "rows"), [("bmru", 1), ("model", 8)])
def test_ten_thousand_steps_with_random_resets_are_repeated_to_the_bit(kind, rows):
    module, data = make(kind, torch.float32), data_of(kind, rows, 10_000 // rows, torch.float32, resets=0.003)
    rolled = roll(module, data)
    found = replay(module, rolled)
    assert torch.equal(found["embed"], rolled["embed"])
    assert all(torch.equal(found["next", key][:, -1], rolled["next", key][:, -1]) for key in module.state_keys)


@pytest.mark.parametrize("kind", KINDS)
def test_slices_of_a_replay_buffer_begin_with_their_stored_states(kind):
    module = make(kind)
    rolled = roll(module, data_of(kind, 1, 60))[0]
    rolled["next", "done"] = torch.cat([rolled["is_init"][1:], torch.ones(1, 1, dtype=torch.bool)])
    sampler = SliceSampler(slice_len=5, end_key=("next", "done"), strict_length=False)
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(60), sampler=sampler, batch_size=30)
    buffer.extend(rolled)
    torch.manual_seed(1)
    sample = buffer.sample()
    starts = sample["is_init"][:, 0]
    assert any(sample[key][starts].any() for key in module.state_keys)  # some slices begin within episodes
    assert_same(replay(module, sample)["embed"], sample["embed"], kind)


@pytest.mark.parametrize("kind", ["bmru", "lstm"])
def test_a_burn_in_leaves_the_state_that_a_replay_goes_on_from(kind):
    module = make(kind, default_recurrent_mode=True)
    data = data_of(kind, 3, 20, resets=0)
    with set_recurrent_mode(False):
        rolled = roll(module, data)
    burnt = BurnInTransform([module], burn_in=8)(rolled.clone())
    assert_same(replay(module, burnt)["embed"], replay(module, data)["embed"][:, 8:], kind)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("layers", [1, 2])
def test_the_same_weights_give_what_torchrl_gives(name, layers):
    ours, theirs, attribute = PEERS[name]
    torch.manual_seed(0)
    peer = theirs(3, 8, num_layers=layers, in_key="observation", out_key="embed")
    unit = ours(3, 8, num_layers=layers, batch_first=True)
    unit.load_state_dict(getattr(peer, attribute).state_dict())
    module = RecurrentModule(unit, in_key="observation", out_key="embed")
    assert (module.in_keys, module.out_keys) == (peer.in_keys, peer.out_keys)
    data = data_of("gru", 2, 12, torch.float32)
    stored = {key: torch.randn(2, 12, layers, 8) for key in module.state_keys}
    for given in (data, data.clone().update(stored)):
        found, expected = (roll(each, given[:, :1]) for each in (module, peer))
        torch.testing.assert_close(found["next"], expected["next"])
        found, expected = (replay(each, given) for each in (module, peer))
        torch.testing.assert_close(found["embed"], expected["embed"])
        for key in module.state_keys:
            torch.testing.assert_close(found["next", key][:, -1], expected["next", key][:, -1])
    spec, other = module.make_tensordict_primer().primers, peer.make_tensordict_primer().primers
    assert {key: value.shape for key, value in spec.items()} == {key: value.shape for key, value in other.items()}


def test_an_episode_that_begins_in_mid_sequence_knows_nothing_of_the_one_before():
    module, data = make("bmru"), data_of("bmru", 1, 9)
    data["is_init"][0] = torch.arange(9)[:, None] % 5 == 0
    whole, alone = replay(module, data), replay(module, data[:, 5:])
    assert torch.equal(whole["embed"][:, 5:], alone["embed"])
    data["observation"][:, :5] += 1
    assert torch.equal(replay(module, data)["embed"][:, 5:], alone["embed"])


def test_zeros_stand_for_a_state_that_is_learned_and_get_its_gradient():
    module, data = make("bmru"), data_of("bmru", 2, 6)
    learned = module.memory.h0_l1
    (bare,) = torch.autograd.grad(replay(module, data)["embed"].sum(), learned)
    primed = data.clone().set("recurrent_state", torch.zeros(2, 6, 2, 8, dtype=torch.float64))
    (grad,) = torch.autograd.grad(replay(module, primed)["embed"].sum(), learned)
    assert bare.any()
    assert torch.equal(grad, bare)


@pytest.mark.parametrize("kind", ["bmru", "tokens", "lru"])
def test_batches_have_any_number_of_axes(kind):
    module, data = make(kind), data_of(kind, 12, 5)
    rolled = roll(module, data).select(*module.in_keys, *module.out_keys)
    for shape in ((12,), (3, 4), (3, 2, 2)):
        several = data.reshape(*shape, 5)
        assert torch.equal(replay(module, several)["embed"].reshape(12, 5, -1), replay(module, data)["embed"])
        step = module(several[..., 0])
        assert step.batch_size == shape
        assert all(torch.equal(step[key].flatten(0, -1), rolled[key][:, 0].flatten()) for key in module.out_keys)
    assert torch.equal(replay(module, data[0])["embed"], replay(module, data[:1])["embed"][0])
    assert torch.equal(module(data[0, 0])["embed"], rolled["embed"][0, 0])


def test_the_recurrent_mode_is_a_context_and_an_argument():
    rows, steps = make("bmru", default_recurrent_mode=True), make("bmru")
    data = data_of("bmru", 2, 7)
    expected = replay(steps, data)["embed"]
    assert (rows.recurrent_mode, steps.recurrent_mode) == (True, False)
    assert torch.equal(rows(data.clone())["embed"], expected)
    stored = data.set("recurrent_state", torch.zeros(2, 7, 2, 8, dtype=torch.float64))  # each step on its own
    with set_recurrent_mode("sequential"):
        assert not rows.recurrent_mode
        assert torch.equal(rows(stored.clone())["embed"], steps(stored.clone())["embed"])
    assert not torch.equal(steps(stored.clone())["embed"], expected)
    with pytest.raises(AttributeError):
        steps.recurrent_mode = True


def test_every_module_of_a_policy_has_a_primer():
    keys = {"in_key": "observation", "out_key": "embed"}
    actor = RecurrentModule(BMRU(3, 8), state_key="actor", **keys)
    critic = make("lru", state_key="critic")
    policy = TensorDictSequential(actor, critic, TensorDictModule(torch.nn.Linear(8, 2), ["embed"], ["action"]))
    primers = [dict(primer.primers.items()) for primer in get_primers_from_module(policy)]
    assert [{key: tuple(spec.shape) for key, spec in each.items()} for each in primers] == [
        {"actor": (1, 8)},
        {"critic": (1, 8, 2)},
    ]
    named = RecurrentModule(
        LSTM(3, 8),
        in_keys=["observation", ("agent", "h"), "c", "is_init"],
        out_keys=["embed", ("next", "agent", "h"), "d"],
    )
    with pytest.raises(ValueError, match=r"`out_keys` must end with \[\('next', 'agent', 'h'\), \('next', 'c'\)\]"):
        named.make_tensordict_primer()
    assert named.canonical_keys == [*named.in_keys, *named.out_keys]
    assert make("model").double().make_tensordict_primer().primers["recurrent_state_time"].dtype == torch.int64


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("kind", ["bmru", "lstm"])
def test_modules_run_side_by_side_under_vmap_and_by_functional_calls(kind, recurrent):
    modules = [make(kind, seed=seed) for seed in (0, 1)]
    data = data_of(kind, 3, 6)
    data = data if recurrent else data[:, 0]
    params = TensorDict.from_modules(*modules, as_module=True)

    def call(params, data):
        with params.to_module(modules[0]):
            return modules[0](data)

    with set_recurrent_mode(recurrent):
        found = torch.vmap(call, (0, None), randomness="error")(params, data.clone())["embed"]
        for i, module in enumerate(modules):
            torch.testing.assert_close(found[i], module(data.clone())["embed"])
            torch.testing.assert_close(call(TensorDict.from_module(module), data.clone())["embed"], found[i])


@compiles
@pytest.mark.exhaustive
def test_a_module_is_compiled_in_both_modes():
    module, data = make("bmru", torch.float32), data_of("bmru", 2, 6, torch.float32)
    compiled = torch.compile(module, backend="aot_eager")
    for recurrent, given in ((False, data[:, 0]), (True, data)):
        with set_recurrent_mode(recurrent):
            assert torch.equal(compiled(given.clone())["embed"], module(given.clone())["embed"])


def test_a_module_is_copied_and_pickled_and_follows_its_weights_to_another_dtype():
    module, data = make("model"), data_of("model", 2, 6)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(replay(other, data)["embed"], replay(module, data)["embed"])
    rolled = roll(copy.deepcopy(module).float(), data_of("model", 2, 6, torch.float32))
    assert rolled["next", "recurrent_state_layers_0_0"].dtype == torch.float32
    assert torch.equal(replay(copy.deepcopy(module).float(), rolled)["embed"], rolled["embed"])


def test_arguments_may_be_given_by_name_without_a_tensordict():
    module, data = make("bmru"), data_of("bmru", 2, 1)[:, 0]
    start = torch.zeros(2, 2, 8, dtype=torch.float64)
    embed, state = module(observation=data["observation"], recurrent_state=start, is_init=data["is_init"])
    step = module(data)
    assert torch.equal(embed, step["embed"])
    assert torch.equal(state, step["next", "recurrent_state"])
