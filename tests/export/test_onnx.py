"""ONNX: every unit, whole and by steps, at lengths that were not traced; bad input and wrong graphs write nothing."""

import json

import numpy as np
import pytest
import torch

from cases import rarely
from model_cases import RECURRENT, inputs, make
from remanent.export import export_onnx, time_graph
from remanent.export._compare import judge
from remanent.models import Names
from remanent.units import UNITS

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
ort = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

MODELS = [
    rarely({"head": "every", "hidden_size": 64, "num_layers": 2}),
    {"unit": RECURRENT, "hidden_size": 3 * len(UNITS), "num_layers": 1, "encoder": "embedding", "input_size": 11}
    | {"gate_norm": "batch"},
    {
        "unit": "bmru+lru",
        "head": "every",
        "norm": "layer",
        "mlp": "gelu",
        "gate": True,
        "initial_state": "learned",
        "conv_size": 3,
    },
    {"unit": "lru,fq_bmru", "head": "mean", "clock": "sinusoid", "clock_size": 4, "clock_span": 9}
    | {"norm": "none", "mlp": "none", "gate_norm": "layer"},
    {"unit": "attention", "num_heads": 2, "head": "every", "num_layers": 1},
    rarely({"unit": "attention", "num_heads": 2, "head": "every", "num_layers": 2}),
    rarely({"unit": "mru", "encoder": "table", "input_size": 5, "head": "every", "num_layers": 1, "epsilon": 0.3}),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, the folder of its graphs and their comparisons; each model is exported once."""
    made = {}

    def export(options):
        key = str(options)
        if key not in made:
            model, folder = make(torch.float32, **options), tmp_path_factory.mktemp("made") / "new"
            made[key] = model, folder, export_onnx(model, folder, name="it")
        return made[key]

    return export


def run(path, **feed):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    named = {i.name: feed[i.name] for i in session.get_inputs()}
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, named), strict=True))


@pytest.mark.parametrize("options", MODELS, ids=lambda o: o.get("unit", "bmru"))
def test_a_file_gives_what_torch_does_at_any_length(options, exported):
    model, folder, checks = exported(options)
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(check.file for check in checks)
    assert all(check.largest < 1e-5 and check.tipped == 0 for check in checks)
    for B, T in ((1, 1), (2, 7), (1, 10_000) if "attention" not in options.get("unit", "") else (1, 500)):
        x = inputs(model, B, T)
        with torch.no_grad():
            expected, _ = model(x)
        y = run(folder / "it.onnx", x=x.numpy())["y"]
        torch.testing.assert_close(torch.from_numpy(y), expected, rtol=1e-5, atol=1e-5)
    graph = onnx.load(folder / "it.onnx").graph
    scans = sum(node.op_type == "Scan" for node in graph.node)
    units = sum(len(names) for names in model.config.layers)
    (y,) = graph.output
    free = [[d.dim_param for d in value.type.tensor_type.shape.dim] for value in (graph.input[0], y)]
    assert free[0][:2] == ["batch", "steps"]
    assert free[1][:2] == (["batch", "steps"] if options.get("head") == "every" else ["batch", ""])
    assert scans == (units if "attention" not in model.config.unit else 0)
    assert b"site-packages" not in (folder / "it.onnx").read_bytes()  # no paths of the machine that wrote it


def test_a_step_carries_states_and_starts_streams_anew(exported):
    (options,) = [options for options in MODELS if isinstance(options, dict) and options.get("unit") == "bmru+lru"]
    assert (options["head"], options["initial_state"]) == ("every", "learned")
    model, folder, _ = exported(options)
    x, reset = inputs(model, 2, 12), torch.zeros(2, 12, dtype=torch.bool)
    reset[:, 0] = reset[1, 5] = True
    with torch.no_grad():
        expected, state = model(x, reset=reset)
    real = {name: torch.view_as_real(v) if v.is_complex() else v for name, v in state.named().items()}
    assert {"layers.0.0", "layers.1.1", "windows.1"} <= real.keys()
    carried = {name: np.full(value.shape, np.nan, np.float32) for name, value in real.items()}
    for t in range(12):
        after = run(folder / "it-step.onnx", x=x[:, t].numpy(), reset=reset[:, t].numpy(), **carried)
        y = after.pop("y")
        carried = {name.removesuffix(".next"): value for name, value in after.items()}
        np.testing.assert_allclose(y, expected[:, t], rtol=1e-5, atol=1e-5)
    graph = onnx.load(folder / "it-step.onnx").graph
    assert {d.dim_param for value in (*graph.input, *graph.output) for d in value.type.tensor_type.shape.dim} == {
        *("", "batch")
    }
    assert 1e-6 < time_graph(folder / "it-step.onnx").seconds < 1
    np.testing.assert_array_equal(carried["layers.1.0"], state.layers[1][0])
    np.testing.assert_allclose(carried["layers.1.1"], torch.view_as_real(state.layers[1][1]), rtol=1e-4, atol=1e-5)


def test_a_file_holds_the_names_of_inputs_and_classes(tmp_path):
    import onnx

    model = make(torch.float32, input_size=2, output_size=3)
    model.names = Names(("a", "größe"), ("x", "y", "z"))
    export_onnx(model, tmp_path)
    for file in tmp_path.glob("*.onnx"):
        found = {entry.key: json.loads(entry.value) for entry in onnx.load(file).metadata_props}
        assert found == {"features": ["a", "größe"], "classes": ["x", "y", "z"]}


def test_a_graph_that_differs_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("remanent.export._scans._fade", lambda h, added, *decay: (added[0] + 0.5 * h[0],))
    with pytest.raises(RuntimeError, match="what torch does to 1e-05 in all of 24 sequences but 0, got"):
        export_onnx(make(torch.float32, unit="min_gru", num_layers=1), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("unit", "tipped", "passes"), [("bmru+lru", 1, True), ("bmru", 2, False), ("lru", 1, False)])
def test_a_latch_may_be_tipped_in_one_sequence(unit, tipped, passes):
    largest = np.full(24, 1e-7)
    largest[:tipped] = 0.7
    model = make(torch.float32, unit=unit)
    if passes:
        assert judge(model, "it", largest, 9, 1e-5) == ("it", 24, 9, tipped, 1e-7)
        return
    with pytest.raises(RuntimeError, match=f"got {tipped} further away, at most 0.7"):
        judge(model, "it", largest, 9, 1e-5)


def test_bad_input_is_refused_and_nothing_written(tmp_path):
    model = make(torch.float32)
    for name in ("", "a/b", ".."):
        with pytest.raises(ValueError, match="`name` must be a file's name without a folder"):
            export_onnx(model, tmp_path, name=name)
    with pytest.raises(ValueError, match=r"`model` must be of float32 on the CPU, got torch.float64"):
        export_onnx(make(), tmp_path)
    (tmp_path / "model-step.onnx").write_text("mine")
    with pytest.raises(FileExistsError, match=r"`model-step.onnx` must not exist yet"):
        export_onnx(model, tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
