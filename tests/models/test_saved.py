"""Saved models: those of version 0.1 answer as they did, each loads as it was saved, hostile files cost nothing."""

import dataclasses
import errno
import json
import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from model_cases import CONFIG, inputs, make
from remanent import BMRU, UNITS, SequenceModel
from remanent.models import Names
from remanent.models import saved as files

FOLDER = Path(__file__).parents[1] / "data" / "saved-0.1"
MODELS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
EXACT = {"bmru": (0, 1), "bmru-low": (0, 1), "lru,fq_bmru": (1,)}
"""Model to its blocks whose states are set or held.

No candidate of these models is nearer to its threshold than 1e-4 (`make.py` saw to it), so that the same steps write on
every processor, and what they write are bits of the file. All else is a sum of products, which processors round in
their own ways.
"""


def test_the_models_are_all_there():
    assert len(MODELS) == 8
    assert set(EXACT) <= set(MODELS)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_version_0_1_saved_answers_as_it_did(name):
    model = SequenceModel.load(FOLDER / name)
    with np.load(FOLDER / name / "answers.npz") as file:
        saved = {key: torch.from_numpy(file[key]) for key in file}
    x, whole, stepped = saved.pop("x"), saved.pop("whole"), saved.pop("stepped")
    y, state = model(x)
    close(y, whole)
    first = x.shape[1] - stepped.shape[1]
    _, after = model(x[:, :first])
    outputs = []
    for x_t in x[:, first:].unbind(1):
        y, after = model.step(x_t, after)
        outputs.append(y)
    close(torch.stack(outputs, 1), stepped)
    for found in (state.named(), after.named()):
        assert {f"state.{key}" for key in found} == set(saved)
        for key, value in found.items():
            exact = key.startswith("layers.") and int(key.split(".")[1]) in EXACT.get(name, ())
            if exact or key in ("steps", "time"):
                assert torch.equal(value, saved[f"state.{key}"]), key
            else:
                close(value, saved[f"state.{key}"])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * max(1.0, expected.abs().max().item()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_a_model_loads_in_its_dtype_on_the_cpu_whatever_the_defaults_are(tmp_path, dtype):
    model = make(dtype, unit="bmru+lru", head="every", clock="decay", clock_size=4)
    model.save(tmp_path)
    x, before = inputs(model), torch.get_rng_state()
    default = torch.get_default_dtype()
    try:
        for device, other in (("cpu", torch.float32), ("meta", torch.float64)):
            torch.set_default_dtype(other)
            with torch.device(device):
                loaded = SequenceModel.load(tmp_path)
            assert torch.equal(loaded(x)[0], model(x)[0])
            assert all(p.requires_grad for p in loaded.parameters())
    finally:
        torch.set_default_dtype(default)
    assert torch.equal(torch.get_rng_state(), before)


def test_parameters_of_several_dtypes_load_each_in_its_own(tmp_path):
    model = make(torch.float32)
    model.head.double()
    model.save(tmp_path)
    found = {name: value.dtype for name, value in SequenceModel.load(tmp_path).named_parameters()}
    assert found == {name: value.dtype for name, value in model.named_parameters()}
    assert {found["head.weight"], found["encoder.weight"]} == {torch.float64, torch.float32}


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float8_e4m3fn, torch.complex64], ids=str)
def test_weights_that_are_no_real_numbers_are_refused(tmp_path, dtype):
    from safetensors.torch import load_file, save_file

    make(torch.float32).save(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    save_file(weights | {"head.bias": weights["head.bias"].to(dtype)}, path)
    with pytest.raises(ValueError, match=rf"safetensors: `head.bias` must have dtype torch.float32 or .*, got {dtype}"):
        SequenceModel.load(tmp_path)


LARGE = {
    "layers": {"num_layers": 100_000},
    "more layers": {"num_layers": 10**12},
    "kinds": {"unit": ",".join(["bmru"] * 10_000), "num_layers": 10_000},
    "units": {"unit": "+".join(["bmru"] * 10_000), "join": "sum"},
    "width": {"hidden_size": 10**9},
    "inputs": {"input_size": 10**9},
    "outputs": {"output_size": 10**9},
    "digits": {"hidden_size": 10**300},
    "inner width": {"mlp_ratio": 1e9},
    "infinite width": {"mlp_ratio": 1e308},
    "clock": {"clock": "decay", "clock_span": 10**9},
    "clock's features": {"clock": "decay", "clock_size": 2**20, "clock_span": 1},
}


@pytest.mark.parametrize("case", LARGE)
def test_a_configuration_of_any_size_is_compared_with_the_weights_before_memory_is_taken(tmp_path, case):
    make(torch.float32).save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | LARGE[case]))
    torch.manual_seed(0)
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"(model\.safetensors must fit model\.json|model\.json: `clock_size` times)"
        ):
            SequenceModel.load(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"input_size": ' + "9" * 5_000 + "}", "1" * 2**21])
def test_json_that_no_configuration_needs_is_refused_by_its_file(tmp_path, text):
    make(torch.float32).save(tmp_path)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model\.json must h(old JSON|ave at most 1048576 bytes)"):
        SequenceModel.load(tmp_path)


def test_a_unit_of_ones_own_that_cannot_be_made_without_memory_loads(tmp_path, monkeypatch):
    class Counted(BMRU):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.drawn = self.weight_ih_l0.detach().numpy().sum()

    monkeypatch.setitem(UNITS, "counted", Counted)
    model = make(torch.float32, unit="counted")
    model.save(tmp_path)
    x = inputs(model)
    assert torch.equal(SequenceModel.load(tmp_path)(x)[0], model(x)[0])


def test_a_model_without_values_is_not_saved(tmp_path):
    with torch.device("meta"):
        model = SequenceModel(dataclasses.replace(CONFIG))
    with pytest.raises(ValueError, match=r"`encoder.weight` must have a value to be saved, got a parameter on"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_the_names_of_inputs_and_classes_are_saved_with_a_model(tmp_path):
    model = make(torch.float32, input_size=2, output_size=3)
    plain = tmp_path / "plain"
    model.save(plain)
    assert "names" not in json.loads((plain / "model.json").read_text())
    model.names = Names(("warmth", "größe"), ("a", "b", "c"))
    model.save(tmp_path / "named")
    assert SequenceModel.load(tmp_path / "named").names == model.names
    assert SequenceModel.load(plain).names == Names()
    model.names = Names(classes=("a", "b"))
    with pytest.raises(ValueError, match=r"`names`: `classes` must be 3 different names, or none, got \('a', 'b'\)"):
        model.save(tmp_path / "short")
    assert not (tmp_path / "short").exists()


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        ({"features": ["a", "a"]}, "`features` must be 2 different names, or none"),
        ({"classes": ["a", 1, "c"]}, "`classes` must be 3 different names, or none"),
        ({"classes": [["a"], "b", "c"]}, "`classes` must be 3 different names, or none"),
        ({"classes": "abc"}, "`names` must hold lists of names, features and classes"),
        ({"units": []}, "`names` must hold lists of names, features and classes"),
        (["a"], "`names` must hold lists of names, features and classes"),
    ],
)
def test_names_that_fit_no_model_are_refused_by_their_file(tmp_path, names, rule):
    make(torch.float32, input_size=2, output_size=3).save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"names": names}))
    with pytest.raises(ValueError, match=rf"model\.json: {rule}"):
        SequenceModel.load(tmp_path)


def test_a_model_is_loaded_in_evaluation_mode(tmp_path):
    make(torch.float32, dropout=0.5).train().save(tmp_path)
    assert not any(module.training for module in SequenceModel.load(tmp_path).modules())


def test_a_model_is_replaced_only_where_that_is_asked_for(tmp_path):
    first, second = make(unit="bmru"), make(unit="lru")
    first.save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="`folder` must not hold a model yet unless `overwrite` is set"):
        second.save(tmp_path)
    assert SequenceModel.load(tmp_path).config == first.config
    second.save(tmp_path, overwrite=True)
    found = SequenceModel.load(tmp_path)
    assert found.config == second.config
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in second.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors", "notes.txt"]


def test_a_full_disk_replaces_nothing(tmp_path, monkeypatch):
    first = make(unit="bmru")
    first.save(tmp_path)

    def fail(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "write_json", fail)
    with pytest.raises(OSError, match="No space left"):
        make(unit="lru").save(tmp_path, overwrite=True)
    assert SequenceModel.load(tmp_path).config == first.config
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_a_base_install_names_the_extra_that_saves_and_loads(tmp_path, monkeypatch):
    make(unit="bmru").save(tmp_path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for call in (lambda: make(unit="bmru").save(tmp_path / "other"), lambda: SequenceModel.load(tmp_path)):
        with pytest.raises(ModuleNotFoundError, match=r'pip install "remanent\[train\]"'):
            call()
