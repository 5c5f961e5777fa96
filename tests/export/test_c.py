"""C99: every supported model and both weights, compiled strictly and with sanitizers; bad input writes nothing."""

import re
import shutil

import numpy as np
import pytest
import torch

from cases import case_id, rarely
from model_cases import inputs, make
from remanent.analysis import state_trajectory
from remanent.export import export_c, write_c
from remanent.export._fold import step_data
from remanent.export.c import run_module, step_outputs, units_with_c
from remanent.models.imprecise import quantize_rows
from remanent.units import UNITS, recurrence_of


def starts_of(unit):
    """The initial states of a unit, of which one without any has zeros."""
    return recurrence_of(unit).initial_states or ("zeros",)


needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
STRICT = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wdouble-promotion")
STRICT = (*STRICT, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
STARTS = ("zeros", "learned", "low")
LETTERS = {"encoder": "table", "input_size": 5, "head": "every"}
MODELS = [
    *({"unit": u, "initial_state": s} for u in units_with_c() for s in STARTS if s in starts_of(u)),
    {"head": "mean", "num_layers": 3, "mlp_ratio": 0.5},
    {"unit": "bmru+lru", "norm": "layer", "mlp": "gelu", "gate": True, "conv_size": 4},
    {"unit": "lru", "mlp": "none", "norm": "none"},
    {"unit": "lru,fq_bmru", "clock": "decay", "clock_size": 4, "clock_span": 9, "norm": "none", "conv_size": 2},
    {"unit": "bmru+fq_bmru+bmru+cmru", "hidden_size": 44, "initial_state": "learned", "gate": True, "norm": "none"},
    *({"unit": "bmru+fq_bmru+min_gru", "join": "sum", "initial_state": s} for s in ("zeros", "learned", "low")),
    {"unit": "lru,bmru+min_gru", "num_layers": 4, "head": "mean", "epsilon": 0.3},
    {"encoder": "embedding", "input_size": 11, "unit": "lru+bmru", "join": "sum", "state_size": 11, "num_layers": 1},
    # a norm over one channel magnifies the rounding of small values, which does not show where nothing is written
    {"hidden_size": 1, "num_layers": 1, "write_span": None},
    {"unit": "bmru+fq_bmru,alpha_bmru", "gate_norm": "layer", "initial_state": "zeros"},
    {"unit": "bmru+fq_bmru,alpha_bmru", "gate_norm": "batch", "initial_state": "zeros"},
    {"unit": "mru", "num_states": 5, "state_size": 50, "gate": True} | LETTERS,
    {"unit": "lru+bmru+mru", "state_size": 12, "num_states": 3, "num_tracers": 2, "gate_norm": "layer"} | LETTERS,
    {"unit": "mru+bmru", "join": "sum", "state_size": 16, "clock": "decay", "clock_size": 4, "clock_span": 9} | LETTERS,
    {"unit": "mru", "num_states": 3, "num_tracers": 1, "state_size": 12} | LETTERS | {"encoder": "embedding"},
    {"unit": "mru", "num_states": 3, "gate": True, "num_layers": 1} | LETTERS | {"encoder": "embedding"},
]
CASES = [(options, "float32") for options in MODELS]
CASES += [rarely(o, "int8") if o.get("initial_state") == "zeros" else (o, "int8") for o in MODELS]


def shaken(**options):
    """A model whose sizes of states, starts and norms are not those that it begins with."""
    model = make(torch.float32, **options)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if re.search(r"alpha|h0|norm|threshold|gate", name):
                value += 0.3 * torch.randn_like(value)
            if "variance" in name:
                value.abs_()
    return model


@needs_compiler
@pytest.mark.parametrize(("options", "weights"), CASES, ids=case_id)
def test_a_module_gives_what_torch_does(options, weights):
    model = shaken(**options)
    module = write_c(model, name="it", weights=weights)
    assert module.check.largest < 1e-5
    sequences = [inputs(model, 1, T) for T in (1, 7, 60)]
    found = run_module(module, [x[0].numpy() for x in sequences], STRICT)
    for x, (y, state) in zip(sequences, found, strict=True):
        expected = step_outputs(model if weights == "float32" else module.model, x)[0]
        torch.testing.assert_close(torch.from_numpy(y), expected, rtol=1e-4, atol=1e-4)
        with torch.no_grad():
            compare_states(module, module.model(x)[1], state[-1])


def places(unit, states):
    """The place of the one for each tracer, of states (..., D)."""
    return states.unflatten(-1, (-1, unit.recurrence.num_states)).argmax(-1)


def bits(packed, size):
    return np.unpackbits(packed, bitorder="little")[:size].astype(bool)


def compare_states(module, after, found):
    """Each unit's state with the one that C left."""
    for names, block, states in zip(module.model.config.layers, module.model.blocks, after.layers, strict=True):
        i = list(module.model.blocks).index(block)
        for j, (kind, unit, state) in enumerate(zip(names, block.layer.units, states, strict=True)):
            key = f"block_{i}_{kind}" if names.count(kind) == 1 else f"block_{i}_{kind}_{j}"
            values, expected = np.array(found[key]), state[0, 0]
            if unit.recurrence.scan_kind == "transition":
                assert torch.equal(torch.from_numpy(values).long(), places(unit, expected))
            elif values.dtype == np.uint8:
                D = len(expected)
                high = expected == step_data(unit).values["alpha"]
                written = (
                    bits(found[f"{key}_written"], D) if f"{key}_written" in found.dtype.names else np.full(D, True)
                )
                assert (bits(values, D) == high.numpy())[written].all()
            else:
                expected = torch.view_as_real(expected).T.flatten() if expected.is_complex() else expected
                torch.testing.assert_close(torch.from_numpy(values), expected, rtol=1e-4, atol=1e-4)
    for i, window in enumerate(after.windows or ()):
        values = torch.from_numpy(np.array(found[f"block_{i}_conv_window"]))
        torch.testing.assert_close(values, window.flatten(), rtol=1e-4, atol=1e-4)


@needs_compiler
def test_a_state_is_one_bit_and_a_product_with_it_has_no_multiplication():
    plain = write_c(make(torch.float32, hidden_size=64, num_layers=1, initial_state="low"), weights="int8")
    assert plain.state_bytes == 8
    assert write_c(make(torch.float32, hidden_size=64, num_layers=1), weights="int8").state_bytes == 16
    assert write_c(make(torch.float32, unit="fq_bmru", hidden_size=64, num_layers=1)).state_bytes == 8
    code = plain.sources["model.c"]
    assert "add_columns(stream, block_0_project_weight, block_0_project_scale, indices, count, 64, 64);" in code
    body = code.split("static void add_columns(")[1].split("}\n\n")[0]
    assert body.count("*") == 5  # four pointers, and one product with a scale per row
    assert "malloc" not in code
    includes = re.findall(r"#include (.*)", "".join(plain.sources.values()))
    assert set(includes) == {'"model.h"', "<math.h>", "<stdint.h>"}
    assert plain.weight_bytes < 0.3 * write_c(plain.model).weight_bytes


@needs_compiler
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_heads_that_read_letters_are_tables_and_go_through_the_states_of_torch(weights):
    """Ten thousand letters, bit for bit; a state is a byte for each tracer, and no logit is computed."""
    options = {"num_states": 5, "num_tracers": 3, "state_size": 60, "input_size": 7, "num_layers": 1, "mlp": "none"}
    model = make(torch.float32, unit="mru", encoder="table", head="every", **options)
    module = write_c(model, weights=weights)
    x = torch.randint(7, (1, 10_000))
    ((_, found),) = run_module(module, [x[0].numpy()])
    unit = model.blocks[0].layer.units[0]
    expected = places(unit, state_trajectory(model, x)[0])
    assert torch.equal(torch.from_numpy(found["block_0_mru"]).long(), expected)
    assert len(expected.unique(dim=0)) > 20
    assert module.state_bytes == 4 * 3
    code = module.sources["model.c"]
    assert not re.search(r"\bmove\(|block_0_mru_weight|multiply", code)
    assert "static const uint8_t block_0_mru_table[140] = {" in code  # 7 letters, 4 heads, 5 states
    matrices = (1 if weights == "int8" else 4) * (8 * 60 + 2 * 8) + (4 * (8 + 2) if weights == "int8" else 0)
    assert module.weight_bytes == 140 + 12 + matrices + 4 * (8 + 8 + 2)  # the start; then biases and the norm


@needs_compiler
def test_of_equal_logits_the_lowest_state_is_gone_to_and_a_byte_holds_255_states():
    model = make(torch.float32, unit="mru", num_states=3, state_size=36, num_layers=1, norm="none", mlp="none")
    unit = model.blocks[0].layer.units[0]
    with torch.no_grad():  # small whole numbers, of which sums are exact in any order
        for parameter in (model.encoder.weight, model.encoder.bias, *unit.parameters()):
            parameter.copy_(torch.randint(-1, 2, parameter.shape))
    x = torch.randint(-1, 2, (1, 500, 3)).float()
    ((_, found),) = run_module(write_c(model), [x[0].numpy()], STRICT)
    logits = unit.recurrence.gates(unit._params("_l0"), model.encoder(x))[0].unflatten(-1, (-1, 3))
    largest = logits == logits.amax(-1, keepdim=True)
    assert (largest.sum(-1) > 1).float().mean() > 0.1
    expected = places(unit, state_trajectory(model, x)[0])
    assert torch.equal(torch.from_numpy(found["block_0_mru"]).long(), expected)
    model = make(torch.float32, unit="mru", num_states=255, num_tracers=1, num_layers=1, state_size=255, **LETTERS)
    ((_, found),) = run_module(write_c(model), [torch.randint(5, (300,)).numpy()], STRICT)
    assert found["block_0_mru"].max() > 200


@needs_compiler
@pytest.mark.parametrize("unit", ["bmru", "fq_bmru"])
def test_a_million_steps_keep_every_bit(unit):
    """What is written once is there at the end, whatever comes that does not reach a threshold."""
    model = make(torch.float32, unit=unit, hidden_size=8, num_layers=1, norm="none", head="every", input_size=1)
    with torch.no_grad():
        model.encoder.bias.zero_()
    x = torch.full((1, 1_000_000, 1), 1e-3)
    x[0, 0] = 30.0
    ((_, state),) = run_module(write_c(model), [x[0].numpy()])
    bits = state[f"block_0_{unit}"]
    assert (bits == bits[0]).all()
    with torch.no_grad():
        assert torch.equal(model(x[:, :1])[1].layers[0][0], model(x)[1].layers[0][0])


def test_a_module_that_differs_is_not_written(tmp_path, monkeypatch):
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    monkeypatch.setattr("remanent.export._source.quantize_rows", lambda weight, bits: quantize_rows(weight, 4))
    with pytest.raises(RuntimeError, match=r"what torch does to 0\.0001 in all of 8 sequences but 1, got"):
        export_c(make(torch.float32), tmp_path / "new", weights="int8")
    assert not (tmp_path / "new").exists()


def test_without_a_compiler_it_is_written_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    module = export_c(make(torch.float32), tmp_path / "new", name="mine")
    assert module.check is None
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["mine.c", "mine.h"]


@pytest.mark.parametrize(
    "name",
    [
        *("", "9lives", "a-b", "ä", "a b", "while", "class", "math", "main", "_x", "../x", None),
        *("stdio", "stdlib", "harness", "Chip", "empty", "nul", "nullptr"),
    ],
)
def test_a_name_must_be_an_identifier(name, tmp_path):
    with pytest.raises(ValueError, match="`name` must be a C identifier"):
        export_c(make(torch.float32), tmp_path / "new", name=name)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("unit", [*sorted(set(UNITS) - set(units_with_c())), "attention"])
def test_what_has_no_c_is_refused_by_name(unit, tmp_path):
    with pytest.raises(ValueError, match=rf"`unit` must be made of bmru, .* for C, got {unit}"):
        export_c(make(torch.float32, unit=f"bmru,{unit}", num_heads=2), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_bad_models_and_files_that_are_there_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`model` must be of float32 on the CPU, got torch.float64"):
        export_c(make(), tmp_path)
    with pytest.raises(ValueError, match="`weights` must be one of float32, int8, got 'int4'"):
        export_c(make(torch.float32), tmp_path, weights="int4")
    model = make(torch.float32)
    with torch.no_grad():
        model.head.bias[0] = torch.inf
    with pytest.raises(ValueError, match=r"`model` must hold finite weights, got another in head\.bias"):
        export_c(model, tmp_path)
    model = make(torch.float32, initial_state="learned")
    with torch.no_grad():
        model.blocks[1].layer.units[0].alpha_l0[0] = 0
    with pytest.raises(ValueError, match="`alpha` of block 1 must not be 0 where states start as learned"):
        export_c(model, tmp_path)
    with pytest.raises(ValueError, match=r"`epsilon` must be 0 for mru in C, got 0\.3"):
        export_c(make(torch.float32, unit="bmru+mru", epsilon=0.3, state_size=16), tmp_path)
    (tmp_path / "model.h").write_text("mine")
    with pytest.raises(FileExistsError, match=r"`model.h` must not exist yet"):
        export_c(make(torch.float32), tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
