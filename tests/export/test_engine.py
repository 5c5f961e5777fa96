"""The engine "native" of sessions: the bits of the exported C, states of torch, and what happens without a compiler."""

import os
import shutil
import warnings

import pytest
import torch

from cases import rarely
from export.test_c import MODELS, shaken
from model_cases import inputs, make
from remanent.export import _native, c
from remanent.export.c import run_module, write_c
from remanent.models.session import TorchEngine

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
OFTEN = [
    {"unit": "bmru+fq_bmru+bmru+cmru", "hidden_size": 44, "initial_state": "learned", "gate": True, "norm": "none"},
    {"unit": "lru,bmru+min_gru", "num_layers": 4, "head": "mean", "epsilon": 0.3, "conv_size": 3},
    {"unit": "mru+alpha_bmru", "num_states": 3, "state_size": 12, "num_tracers": 2, "clock": "decay", "clock_size": 4}
    | {"clock_span": 9, "encoder": "embedding", "input_size": 5, "gate_norm": "layer", "head": "every"},
]


@pytest.fixture(autouse=True, scope="module")
def one_folder(tmp_path_factory):
    """Libraries of these tests, in a folder of their own."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("XDG_CACHE_HOME") if before is None else os.environ.update(XDG_CACHE_HOME=before)


@pytest.fixture
def forgotten():
    """What this process remembers of compilers and libraries is as at its start."""
    _native.load_library.cache_clear()
    _native._warn_once.cache_clear()
    yield
    _native.load_library.cache_clear()
    _native._warn_once.cache_clear()


def exported(model, x, monkeypatch):
    """The outputs of the exported C after every step, (B, T, output_size)."""
    with monkeypatch.context() as without_comparison:
        without_comparison.setattr(c, "find_compiler", lambda: None)
        module = write_c(model)
    return torch.stack([torch.from_numpy(y) for y, _ in run_module(module, [row.numpy() for row in x])])


def every_step(session, x):
    return torch.stack([session.push(x_t[:, None]).flatten(1) for x_t in x.unbind(1)], 1)


@pytest.mark.parametrize("options", [*OFTEN, *(rarely(options) for options in MODELS)])
def test_a_session_has_the_bits_of_the_exported_c_and_states_of_torch(options, monkeypatch):
    model = shaken(**options)
    x = inputs(model, 2, 40)
    native, plain = model.stream(2, engine="native"), model.stream(2)
    assert not isinstance(native._engine, TorchEngine)
    y = every_step(native, x)
    assert torch.equal(y, exported(model, x, monkeypatch))
    assert torch.equal(every_step(model.stream(2, engine="native"), x[:, :7]), y[:, :7])
    whole = model.stream(2, engine="native").push(x)
    assert torch.equal(whole, y if model.config.head == "every" else y[:, -1])
    torch.testing.assert_close(every_step(plain, x), y, rtol=1e-4, atol=1e-4)
    here, there = native.state(), plain.state()
    assert here.keys() == there.keys()
    for name, value in there.items():
        assert here[name].dtype == value.dtype
        torch.testing.assert_close(here[name], value, rtol=1e-4, atol=1e-4)
    native.load(there)
    for name, value in native.state().items():
        assert torch.equal(value, there[name])
    plain.load(here)
    torch.testing.assert_close(plain.push(x), native.push(x), rtol=1e-4, atol=1e-4)


def test_streams_restart_one_by_one_and_go_on_elsewhere():
    model = shaken(**OFTEN[1])
    x, which = inputs(model, 3, 9), torch.tensor([True, False, True])
    session, other = model.stream(3, engine="native"), model.stream(3, engine="native")
    session.push(x)
    session.reset(which)
    other.load(session.state())
    y = session.push(x)
    assert torch.equal(other.push(x), y)
    assert torch.equal(y[which], model.stream(3, engine="native").push(x)[which])
    assert not torch.equal(y[1], y[0])
    session.reset()
    assert set(session.state()) == {"restart"}
    with pytest.raises(ValueError, match="`x` must have the session's B=3"):
        session.push(x[:2])
    with pytest.raises(ValueError, match=r"`x` must have shape \(B, T, M=3\)"):
        session.push(x[..., :2])
    with pytest.raises(TypeError, match=r"`x` must have dtype torch\.float32"):
        session.push(x.double())


def test_a_latch_steps_as_torch_does():
    model = make(torch.float32, hidden_size=64, head="every")
    x = inputs(model, 8, 1000)
    native, plain = model.stream(8, engine="native"), model.stream(8)
    same = 0
    for part in x.split(10, dim=1):
        native.push(part), plain.push(part)
        here, there = native.state(), plain.state()
        same += sum(int((here[name] == there[name]).sum()) for name in here if name.startswith("layers"))
    assert same / (100 * 8 * 64 * 2) >= 0.9999


def test_a_state_that_a_bit_cannot_hold_is_rejected():
    model = make(torch.float32)
    session = model.stream(engine="native")
    session.push(inputs(model, 1))
    state = session.state()
    kept = {name: value.clone() for name, value in state.items()}
    state["layers.1.0"][0, 0, 3] = 0.5
    with pytest.raises(ValueError, match=r"`state\[\"layers.1.0\"\]` must hold what its unit writes .*, got 0.5"):
        session.load(state)
    assert all(torch.equal(value, kept[name]) for name, value in session.state().items())


def test_what_has_no_c_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r'`engine` must be "torch" for a model without C, got "native": .* got gru'):
        make(torch.float32, unit="gru").stream(engine="native")
    with pytest.raises(ValueError, match="of float32 on the CPU"):
        make(torch.float64).stream(engine="native")
    with pytest.raises(ValueError, match="`engine` must be one of torch, native, got 'c'"):
        make().stream(engine="c")


@pytest.mark.usefixtures("forgotten")
def test_without_a_compiler_it_says_so_once_and_is_torch(monkeypatch, tmp_path):
    model, x = make(torch.float32), inputs(make(torch.float32), 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_native, "find_compiler", lambda: None)
    with pytest.warns(UserWarning, match="no C compiler is on the path .*: install one"):
        session = model.stream(engine="native")
    assert torch.equal(session.push(x), model.stream().push(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.stream(engine="native")
    _native.load_library.cache_clear()
    monkeypatch.setattr(_native, "find_compiler", lambda: shutil.which("false"))
    with pytest.warns(UserWarning, match="false does not make a library that loads"):
        model.stream(engine="native")


@pytest.mark.usefixtures("forgotten")
def test_a_library_is_compiled_once_and_read_from_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    commands, run_command = [], _native.run_command
    monkeypatch.setattr(_native, "run_command", lambda *given: commands.append(given) or run_command(*given))

    def answer(number):
        _native.load_library.cache_clear()
        return _native.load_library(text(number)).model_answer()

    def text(number):
        return f"int model_answer(void) {{ return {number}; }}\n"

    folder = tmp_path / "remanent" / "native"
    assert [answer(1), answer(1), len(commands)] == [1, 1, 1]
    (library,) = folder.iterdir()
    (folder / _native.file_name(text(2))).write_bytes(b"cut short by a crash")
    assert [answer(2), answer(2), len(commands)] == [2, 2, 2]
    library.chmod(0o666)  # others could have put anything there
    assert [answer(1), len(commands)] == [1, 3]
    folder.chmod(0o777)
    assert [answer(3), answer(3), len(commands), len(list(folder.iterdir()))] == [3, 3, 5, 2]
