"""A latch and a linear unit of a user's own get what the built-in units get: training, streams, pages, exports."""

import json
import re
import shutil
from dataclasses import dataclass
from types import MappingProxyType

import pytest
import torch

from remanent import ModelConfig, SequenceModel
from remanent.analysis import hysteresis_curve, write_statistics
from remanent.analysis.portrait import has_latches
from remanent.cli import main
from remanent.export import export_c, export_onnx, write_c
from remanent.export._compare import judge
from remanent.ops import row_linear
from remanent.tasks import CopyFirst
from remanent.training import Experiment, TrainingConfig, load_run, start_run
from remanent.units import (
    BMRU,
    CELLS,
    UNITS,
    LatchRecurrence,
    LinearRecurrence,
    RecurrentUnit,
    StateIsOutput,
    StepData,
    make_cell,
)
from remanent.units.latching.bmru import BMRURecurrence


@dataclass(eq=False)
class SquashedRecurrence(LatchRecurrence):
    """A latch whose candidate is bounded."""

    def gates(self, p, x):
        candidate, threshold = row_linear(x, p["weight_ih"], p.get("bias_ih")).chunk(2, dim=-1)
        return (torch.cat([2 * torch.tanh(candidate), threshold], dim=-1),)


class Squashed(RecurrentUnit):
    """A bounded latch.

    Args:
        epsilon: how much of the old state a write keeps.
    """

    recurrence_type = SquashedRecurrence

    def __init__(
        self, input_size, hidden_size, *, batch_first=False, epsilon=0.0, width=1.0, initial_state="zeros", dtype=None
    ):
        recurrence = SquashedRecurrence(epsilon, width, initial_state)
        super().__init__(recurrence, input_size, hidden_size, batch_first=batch_first, dtype=dtype)


@dataclass(eq=False)
class LeakyRecurrence(LinearRecurrence, StateIsOutput):
    """A leaky integrator, which a model gives its first rate."""

    start_rate: float = 0.9
    config_fields = MappingProxyType({"start_rate": "r_max"})

    def shapes(self, M, D, bias):
        return {"weight_ih": (D, M), "rate": (D,)}

    def initialise(self, p):
        p["weight_ih"].normal_(0, p["weight_ih"].shape[1] ** -0.5)
        p["rate"].fill_(self.start_rate)

    def gates(self, p, x):
        return p["rate"], row_linear(x, p["weight_ih"])


class Leaky(RecurrentUnit):
    """A leaky integrator."""

    recurrence_type = LeakyRecurrence

    def __init__(self, input_size, hidden_size, *, batch_first=False, start_rate=0.9):
        super().__init__(LeakyRecurrence(start_rate), input_size, hidden_size, batch_first=batch_first)


@pytest.fixture(autouse=True, scope="module")
def registered():
    """Both units have names while these tests run."""
    UNITS.update(squashed=Squashed, leaky=Leaky)
    yield
    for name in ("squashed", "leaky"):
        del UNITS[name]


@pytest.fixture(scope="module")
def run_folder(registered, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "run"
    model = ModelConfig(1, 1, hidden_size=8, unit="squashed+leaky", initial_state="low", r_max=0.95)
    training = TrainingConfig(steps=12, batch_size=4, checkpoint_every=6, threads=1)
    start_run(Experiment(CopyFirst(steps=20), model, training), folder, progress=False)
    return folder


def make(seed=0, **options):
    torch.manual_seed(seed)
    sizes = {"input_size": 1, "output_size": 1, "hidden_size": 8, "head": "every"}
    return SequenceModel(ModelConfig(**(sizes | options))).eval()


def test_a_latch_of_ones_own_is_annealed_and_starts_low(run_folder):
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    epsilons = [line["epsilon"] for line in lines if "epsilon" in line]
    assert (epsilons[0], epsilons[-1]) == (1, 0)
    _, model = load_run(run_folder)
    for block in model.blocks:
        latch, leaky = block.layer.units
        assert (latch.recurrence.epsilon, latch.recurrence.initial_state) == (0, "low")
        assert leaky.recurrence.start_rate == 0.95
    assert (model.epsilon, model.shares_time) == (0, True)
    model.set_epsilon(0.5)
    assert [block.layer.units[0].recurrence.epsilon for block in model.blocks] == [0.5, 0.5]
    assert make(unit="leaky", initial_state="low").epsilon is None


def test_it_streams_to_the_same_bits():
    model = make(unit="squashed", initial_state="learned")
    x = torch.randn(2, 100, 1)
    with torch.no_grad():
        whole, _ = model(x)
    session = model.stream(2)
    assert torch.equal(torch.cat([session.push(part) for part in x.split(7, dim=1)], 1), whole)
    assert all(recurrence.exact_states and recurrence.finite_states for recurrence in model.recurrences)


def test_its_hysteresis_and_its_writes_are_measured():
    torch.manual_seed(0)
    unit = Squashed(1, 4)
    _, state, threshold = hysteresis_curve(unit, 0, points=11)
    assert (threshold, state.unique().tolist()) == (1, [-1, 1])
    (writes,) = write_statistics(unit, torch.randn(3, 200, 1))
    assert writes.rate.max() > 0
    assert has_latches(make(unit="leaky,squashed"))
    assert not has_latches(make(unit="leaky"))
    with pytest.raises(TypeError, match=r"`unit` must run a latch's scan, .* got Leaky"):
        hysteresis_curve(Leaky(1, 4), 0)


def test_it_has_a_report_and_a_row_in_the_table(run_folder, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["report", str(run_folder), "-o", str(out)]) == 0
    text = out.read_text()
    assert "squashed+leaky" in text
    assert text.count("<figure><img") == 4  # learning, states, the latch's loop, gradients
    folder = tmp_path / "trained"
    tiny = ["--task.steps=12", "--model.hidden_size=8", "--model.unit=squashed+leaky"]
    tiny += [f"--training.{key}" for key in ("steps=4", "batch_size=4", "checkpoint_every=2", "threads=1")]
    assert main(["train", "copy-first", "--quiet", "--out", str(folder), *tiny]) == 0
    capsys.readouterr()
    assert main(["table", str(folder)]) == 0
    assert "squashed+leaky" in capsys.readouterr().out


def test_onnx_gives_what_it_gives_and_a_latch_may_be_tipped_once(tmp_path):
    pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    model = make(unit="squashed+leaky", initial_state="low", num_layers=1)
    checks = export_onnx(model, tmp_path)
    assert [check.file for check in checks] == ["model.onnx", "model-step.onnx"]
    assert all(check.largest < 1e-5 for check in checks)
    largest = torch.zeros(8).numpy()
    largest[3] = 0.5
    assert judge(model, "it", largest, 8, 1e-5).tipped == 1
    with pytest.raises(RuntimeError, match="sequences but 0, got 1"):
        judge(make(unit="leaky"), "it", largest, 8, 1e-5)


@pytest.mark.parametrize("unit", ["squashed", "leaky"])
def test_c_is_refused_by_name(unit, tmp_path):
    with pytest.raises(ValueError, match=rf"`unit` must be made of bmru, .* for C, got {unit}$"):
        export_c(make(unit=f"bmru,{unit}"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command_refuses_c_in_one_line(run_folder, capsys):
    assert main(["export", str(run_folder), "--format", "c"]) == 2
    error = capsys.readouterr().err
    assert "`unit` must be made of bmru" in error
    assert "for C, got squashed" in error
    assert "Traceback" not in error


def test_a_step_of_a_kind_that_c_does_not_know_is_refused_with_its_kind(monkeypatch):
    def step_data(self, p):
        return StepData("leak", p["rate"].shape[0], p["weight_ih"], None, {"rate": p["rate"]})

    monkeypatch.setattr(LeakyRecurrence, "step_data", step_data)
    with pytest.raises(ValueError, match="for C, got leaky, whose step is of the kind 'leak'"):
        write_c(make(unit="leaky"))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_unit_of_ones_own_with_a_known_step_has_c(monkeypatch):
    class Narrow(BMRU):
        """A BMRU by another name."""

    monkeypatch.setitem(UNITS, "narrow", Narrow)
    module = write_c(make(unit="narrow", initial_state="low"), name="it")
    assert module.check.largest < 1e-5
    assert module.state_bytes == 2  # a byte of bits for each of two blocks


def test_a_unit_that_hides_its_options_is_refused(monkeypatch):
    class Hiding(RecurrentUnit):
        """A BMRU whose class does not say so."""

        def __init__(self, input_size, hidden_size, *, batch_first=False):
            super().__init__(BMRURecurrence(), input_size, hidden_size, batch_first=batch_first)

    monkeypatch.setitem(UNITS, "hiding", Hiding)
    with pytest.raises(TypeError, match=r"`UNITS\['hiding'\]` must declare `recurrence_type = BMRURecurrence`"):
        make(unit="hiding")


def test_it_has_a_cell_with_its_options():
    cell = make_cell(Squashed)
    assert cell.__name__ == "SquashedCell"
    assert cell.__module__ == Squashed.__module__
    assert "epsilon: how much of the old state a write keeps." in cell.__doc__
    unit = Squashed(3, 5, epsilon=0.25, initial_state="low", dtype=torch.float64)
    one = cell(3, 5, epsilon=0.25, initial_state="low", dtype=torch.float64)
    one.load_state_dict({key.removesuffix("_l0"): value for key, value in unit.state_dict().items()})
    x = torch.randn(2, 3, dtype=torch.float64)
    assert torch.equal(one(x), unit.step(x)[1][0])
    assert set(CELLS) == set(UNITS) - {"squashed", "leaky"}


def two_tensors(self, p, x):
    return row_linear(x, p["weight_ih"], p.get("bias_ih")).chunk(2, dim=-1)


def bare_tensor(self, p, x):
    return row_linear(x, p["weight_ih"])


@pytest.mark.parametrize(
    ("unit", "recurrence", "gates", "message"),
    [
        (
            Squashed,
            SquashedRecurrence,
            two_tensors,
            "one tensor (..., 2 D), candidate and threshold side by side, got 2",
        ),
        (Squashed, SquashedRecurrence, bare_tensor, "side by side, got one tensor that is in no tuple"),
        (Leaky, LeakyRecurrence, bare_tensor, "two tensors, the factor of the state and what is added, got one tensor"),
    ],
)
def test_gates_of_another_form_are_rejected_in_words_of_the_unit(unit, recurrence, gates, message, monkeypatch):
    monkeypatch.setattr(recurrence, "gates", gates)
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        unit(4, 8, batch_first=True)(torch.randn(2, 5, 4))
    assert str(raised.value).startswith(f"`gates` of {recurrence.__name__} must return a tuple of ")


def test_an_option_that_a_class_does_not_take_is_named(monkeypatch):
    class Bounded(RecurrentUnit):
        recurrence_type = SquashedRecurrence

        def __init__(self, input_size, hidden_size, *, epsilon=0.0):
            super().__init__(SquashedRecurrence(epsilon), input_size, hidden_size)

    monkeypatch.setitem(UNITS, "bounded", Bounded)
    with pytest.raises(TypeError) as raised:
        make(unit="bounded")
    words = "got no `batch_first`, `width`, `initial_state`"
    assert str(raised.value) == f"`UNITS['bounded']` must take the arguments that a model gives a unit, {words}"
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_an_error_inside_a_class_is_not_taken_for_a_missing_option(monkeypatch):
    def fails(input_size, hidden_size, **options):
        raise TypeError("it is the unit's own")

    fails.recurrence_type = SquashedRecurrence
    monkeypatch.setitem(UNITS, "failing", fails)
    with pytest.raises(TypeError, match="it is the unit's own"):
        make(unit="failing")
