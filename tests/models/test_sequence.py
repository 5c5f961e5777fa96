"""The sequence model: chunks and steps equal the whole, files come back, bad input is refused."""

import dataclasses
import json

import pytest
import torch

from remanent import Hybrid, ModelConfig, SequenceModel
from remanent.units import BMRU, LRU

CONFIG = ModelConfig(input_size=3, output_size=2, hidden_size=8)
VARIANTS = [
    {},
    {"unit": "bmru+lru", "norm": "layer", "mlp": "gelu", "gate": True},
    {"unit": "lru", "mlp": "none", "norm": "none"},
    {"head": "every", "initial_state": "learned"},
    {"head": "mean", "num_layers": 3, "mlp_ratio": 0.5},
    {"encoder": "embedding", "input_size": 11},
]


def make(dtype=torch.float64, **options):
    torch.manual_seed(0)
    return SequenceModel(dataclasses.replace(CONFIG, **options)).to(dtype).eval()


def inputs(model, B=3, T=20):
    if model.config.encoder == "embedding":
        return torch.randint(model.config.input_size, (B, T))
    return torch.randn(B, T, model.config.input_size, dtype=model.head.weight.dtype)


@pytest.mark.parametrize("options", VARIANTS)
def test_steps_and_chunks_equal_the_whole(options):
    model = make(**options)
    x = inputs(model)
    whole, _ = model(x)
    state = None
    outputs = []
    for x_t in x.unbind(1):
        y, state = model.step(x_t, state)
        outputs.append(y)
    stepped = torch.stack(outputs, 1) if model.config.head == "every" else outputs[-1]
    torch.testing.assert_close(stepped, whole, rtol=1e-10, atol=1e-12)
    first, state = model(x[:, :7])
    second, _ = model(x[:, 7:], state)
    chunked = torch.cat([first, second], 1) if model.config.head == "every" else second
    torch.testing.assert_close(chunked, whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_a_bmru_model_gives_the_same_bits_at_any_cut(dtype, size):
    model = make(dtype, hidden_size=64, head="every")
    x = inputs(model, 2, 2003)
    with torch.inference_mode():
        whole, _ = model(x)
        state, parts = None, []
        for chunk in x.split(size, dim=1):
            y, state = model(chunk, state) if size > 1 else model.step(chunk[:, 0], state)
            parts.append(y if size > 1 else y[:, None])
    assert torch.equal(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("options", VARIANTS)
def test_reset_starts_a_new_sequence(options):
    model = make(**options)
    x = inputs(model)
    reset = torch.zeros(3, 20, dtype=torch.bool)
    reset[1, 6] = reset[1, 9] = True
    _, carried = model(inputs(model))
    y, _ = model(x, carried, reset=reset)
    fresh, _ = model(x[:, 9:])
    y = y[1, 9:] if model.config.head == "every" else y[1]
    torch.testing.assert_close(y, fresh[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", VARIANTS)
def test_every_parameter_gets_a_gradient(options):
    model = make(**options).train()
    if model.config.unit != "lru":
        model.set_epsilon(0.5)
    model(inputs(model))[0].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("options", VARIANTS)
def test_save_and_load(tmp_path, options):
    model = make(torch.float32, **options)
    model.save(tmp_path / "model")
    twin = SequenceModel.load(tmp_path / "model").eval()
    x = inputs(model)
    assert twin.config == model.config
    assert torch.equal(twin(x)[0], model(x)[0])
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]


def test_save_overwrites_nothing(tmp_path):
    model = make(torch.float32)
    model.save(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="`folder` must not hold a model yet"):
        make(torch.float32, hidden_size=4).save(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b"", lambda b: b"\xff" * 40])
def test_corrupt_weights_are_refused(tmp_path, damage):
    make(torch.float32).save(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"model.safetensors must hold safetensors weights, got a corrupt file"):
        SequenceModel.load(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path):
    make(torch.float32).save(tmp_path / "a")
    make(torch.float32, hidden_size=4).save(tmp_path / "b")
    (tmp_path / "a" / "model.safetensors").replace(tmp_path / "b" / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors must fit model.json"):
        SequenceModel.load(tmp_path / "b")


def test_a_config_with_an_unknown_missing_or_bad_key_is_refused(tmp_path):
    make(torch.float32).save(tmp_path)
    path = tmp_path / "model.json"
    good = json.loads(path.read_text())
    for bad, message in (
        (good | {"hiden_size": 3}, "has the unknown key 'hiden_size'; the keys are input_size"),
        ({k: v for k, v in good.items() if k != "input_size"}, "must have the key 'input_size'"),
        (good | {"unit": "gru"}, "`unit` must be made of bmru, lru"),
        ([1], "must hold a JSON object, got list"),
    ):
        path.write_text(json.dumps(bad))
        with pytest.raises(ValueError, match=message):
            SequenceModel.load(tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"model.json must hold JSON"):
        SequenceModel.load(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"`model.json` must be a file in"):
        SequenceModel.load(tmp_path)


def test_an_unwritable_place_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match="file"):
        make(torch.float32).save(tmp_path / "file" / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hidden_size": 0}, ValueError, "`hidden_size` must be at least 1, got 0"),
        ({"num_layers": 1.5}, TypeError, "`num_layers` must be an int, got 1.5"),
        ({"unit": "bmru+"}, ValueError, r"`unit` must be made of bmru, lru, joined by '\+', got 'bmru\+'"),
        ({"unit": "bmru+lru", "hidden_size": 7}, ValueError, "`hidden_size` must be a multiple of the 2 units, got 7"),
        ({"norm": "batch"}, ValueError, "`norm` must be one of rms, layer, none, got 'batch'"),
        ({"dropout": 1.0}, ValueError, r"`dropout` must be in \[0, 1\), got 1.0"),
        ({"epsilon": 2}, ValueError, r"`epsilon` must be in \[0, 1\], got 2"),
    ],
)
def test_bad_configurations_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(CONFIG, **options)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(2, 5), ValueError, r"`x` must have shape \(B, T, M=3\), got \(2, 5\)"),
        (torch.zeros(2, 5, 4), ValueError, r"`x` must have shape \(B, T, M=3\), got \(2, 5, 4\)"),
        (torch.zeros(2, 0, 3), ValueError, "`x` must have at least one time step, got T=0"),
        (torch.zeros(2, 5, 3).double(), TypeError, "`x` must have dtype torch.float32, got torch.float64"),
        (torch.zeros(2, 5, 3, device="meta"), ValueError, "`x` must be on device cpu, got meta"),
        ("text", TypeError, "`x` must be a torch.Tensor, got str"),
    ],
)
def test_bad_input_is_refused_by_name(x, error, message):
    with pytest.raises(error, match=message):
        make(torch.float32)(x)


def test_epsilon_reaches_every_bistable_unit_and_no_file(tmp_path):
    model = make(torch.float32, unit="bmru+lru")
    model.set_epsilon(0.25)
    assert [m.epsilon for m in model.modules() if isinstance(m, BMRU)] == [0.25, 0.25]
    assert not any("epsilon" in name for name in model.state_dict())
    with pytest.raises(ValueError, match=r"`epsilon` must be in \[0, 1\], got 3"):
        model.set_epsilon(3)


def test_a_hybrid_is_its_units_side_by_side():
    torch.manual_seed(0)
    units = [BMRU(4, 3, batch_first=True), LRU(4, 5, batch_first=True)]
    x = torch.randn(2, 9, 4)
    y, states = Hybrid(units)(x)
    assert torch.equal(y, torch.cat([unit(x)[0] for unit in units], -1))
    assert [s.shape for s in states] == [(1, 2, 3), (1, 2, 5)]
    with pytest.raises(ValueError, match="`units` must be batch-first"):
        Hybrid([BMRU(4, 3)])
