"""Compiled and half-precise steps: near the plain ones, with exact states, and rejected where they cannot be."""

import dataclasses
import json

import pytest
import torch

from cases import exhaustive, rarely
from helpers import compiles
from remanent import ModelConfig, SequenceModel
from remanent.distributed.ranks import Part, Ranks
from remanent.records.configuration import Experiment, fitting
from remanent.tasks import Parity
from remanent.training import Launch, TrainingConfig, start_run
from remanent.training.experiment import ExperimentModule
from remanent.training.sharing import check_fit
from remanent.training.steps import compiling
from remanent.units import UNITS

TASK = Parity(steps=9)
TRAINING = TrainingConfig(
    steps=4, batch_size=8, learning_rate=1e-3, checkpoint_every=4, anneal_hold=0.0, anneal_ramp=0.5, threads=1
)


def experiment(unit="bmru", options=None, **training):
    sizes = {"hidden_size": 8, "num_layers": 1} | (options or {})
    model = ModelConfig(**fitting(TASK), unit=unit, **sizes)
    return Experiment(TASK, model, dataclasses.replace(TRAINING, **training))


def losses(asked, folder):
    start_run(asked, folder, progress=False)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@compiles
@pytest.mark.parametrize(
    ("unit", "backend"),
    [
        ("bmru", "aot_eager"),
        *(rarely(unit, "aot_eager") for unit in (*UNITS, "bmru+lru", "attention") if unit != "bmru"),
        *(rarely(unit, "inductor") for unit in ("bmru", "lru")),
    ],
)
def test_a_compiled_step_has_the_loss_and_the_gradients_of_the_plain_one(unit, backend, monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", backend)
    module = ExperimentModule(experiment(unit, {"conv_size": 3, "num_layers": 2, "hidden_size": 16}, compile=True))
    x, target = TASK.batch(8, torch.Generator().manual_seed(0))
    found = []
    for run in (module.compiled, module.model):
        module.model.zero_grad()
        loss = TASK.loss(run(x)[0], target)
        loss.backward()
        found.append((loss.detach(), [p.grad for p in module.model.parameters()]))
    (loss, grads), (expected, right) = found
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    largest = max(grad.abs().max() for grad in right if grad is not None)
    for (name, _), one, other in zip(module.model.named_parameters(), grads, right, strict=True):
        assert (one is None) == (other is None), name
        if one is not None:
            assert (one - other).abs().max() <= 1e-4 * largest, name


COMPILED = [
    *((unit, "aot_eager") for unit in (*UNITS, "bmru+lru", "attention")),
    ("bmru", "inductor"),
]


@exhaustive
@compiles
@pytest.mark.parametrize(("unit", "backend"), COMPILED)
def test_a_compiled_training_is_that_of_the_plain_model(unit, backend, tmp_path, monkeypatch):
    torch.compiler.reset()
    monkeypatch.setattr(compiling, "BACKEND", backend)
    found = losses(experiment(unit, compile=True), tmp_path / "compiled")
    assert found == pytest.approx(losses(experiment(unit), tmp_path / "plain"), rel=1e-3)


@pytest.mark.parametrize(
    "unit", ["bmru", pytest.param("mru", marks=exhaustive), pytest.param("fq_bmru+lru", marks=exhaustive)]
)
def test_products_in_bfloat16_leave_states_exact(unit, tmp_path):
    options = {"gate_norm": "batch"} if unit == "bmru" else {"num_states": 2} if unit == "mru" else {}
    found = losses(experiment(unit, options, precision="bf16-mixed"), tmp_path / "half")
    plain = losses(experiment(unit, options), tmp_path / "plain")
    assert found == pytest.approx(plain, rel=0.05)
    assert found != plain
    model = SequenceModel.load(tmp_path / "half")
    assert all(value.dtype == torch.float32 for value in model.state_dict().values() if value.is_floating_point())
    x, _ = TASK.batch(16, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        _, state = model(x)
        _, held = model(x[:, :4], model(x[:, :5])[1])
    if unit == "bmru":
        (unit,) = model.blocks[0].layer.units
        for h in (state.layers[0][0], held.layers[0][0]):
            assert h.dtype == torch.float32
            assert torch.equal(h.abs(), unit.alpha_l0.abs().expand_as(h) * (h != 0))


def test_running_statistics_are_as_exact_under_autocast():
    torch.manual_seed(0)
    x, units = torch.randn(4, 9, 3), []
    for half in (False, True):
        torch.manual_seed(1)
        units.append(UNITS["bmru"](3, 5, gate_norm="batch", batch_first=True).train())
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            units[-1](x)
    for (name, one), other in zip(units[0].named_buffers(), units[1].buffers(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"precision": "16"}, ValueError, "`precision` must be one of 32-true, bf16-mixed, 16-mixed, got '16'"),
        ({"compile": 1}, TypeError, "`compile` must be a bool, got 1"),
        ({"compile": True, "length_jitter": 2.0}, ValueError, "`compile` must be False with `curriculum_start` or"),
    ],
)
def test_steps_that_cannot_be_are_rejected(options, error, message):
    with pytest.raises(error, match=message):
        TrainingConfig(**options)


@pytest.mark.parametrize(
    ("training", "ranks", "message"),
    [
        ({"precision": "16-mixed"}, {}, "`training.precision` must be 32-true or bf16-mixed on the CPU, got 16-mixed"),
        (
            {"precision": "bf16-mixed"},
            {"launch": Launch(strategy="fsdp")},
            "`training.precision` must be 32-true with the",
        ),
        ({"compile": True}, {"launch": Launch(strategy="fsdp")}, "`training.compile` must be False with the strategy"),
        ({"compile": True}, {"time": Part(0, 2)}, "`training.compile` must be False with `time_shards`, got True with"),
    ],
)
def test_steps_that_the_processes_cannot_take_are_rejected(training, ranks, message):
    with pytest.raises(ValueError, match=message):
        check_fit(experiment(**training), Ranks(**ranks))


def test_without_a_compiler_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match=r"`training.compile` must be False without the C\+\+ compiler no-such-com"):
        start_run(experiment(compile=True), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
