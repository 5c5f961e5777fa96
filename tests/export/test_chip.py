"""Trained models in C: on every example of a test set, on this machine and on an emulated Cortex-M4."""

import shutil

import numpy as np
import pytest
import torch

from cases import exhaustive, rarely
from model_cases import inputs, make
from real_data import NO_SPEECH, SPEECH
from remanent import ModelConfig
from remanent.export import run_on_chip, write_c
from remanent.export.c import run_module, step_outputs
from remanent.export.chip import MOST_BYTES, missing_tools
from remanent.records.configuration import fitting
from remanent.tasks import SequentialImage, SpokenDigits
from remanent.tasks.metrics import IGNORED
from remanent.training import Experiment, TrainingConfig, evaluate, start_run

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
needs_chip = pytest.mark.skipif(missing_tools() is not None, reason=f"needs {missing_tools()}")


def digits():
    task = SequentialImage(padding=8)
    return task, {"unit": "bmru+lru", "gate": True, "initial_state": "learned", "r_min": 0.5, "r_max": 0.95}


def spoken_digits():
    if not SPEECH.is_file():
        pytest.skip(NO_SPEECH)
    return SpokenDigits(data_dir=str(SPEECH)), {"unit": "bmru", "initial_state": "low"}


@pytest.fixture(
    scope="module", params=[digits, pytest.param(spoken_digits, marks=exhaustive)], ids=["digits", "spoken digits"]
)
def trained(request, tmp_path_factory):
    """A small model after a short training, and the test split, each example whole."""
    torch.use_deterministic_algorithms(True)
    task, options = request.param()
    config = ModelConfig(**fitting(task), hidden_size=24, **options)
    training = TrainingConfig(steps=250, learning_rate=1e-2, batch_size=32, threads=1)
    folder = tmp_path_factory.mktemp("trained") / "run"
    model = start_run(Experiment(task, config, training), folder, progress=False)
    x, target = zip(*task.stream("test", 0, task.split_size("test"), task.length), strict=True)
    return task, model, torch.cat(x, 1), target[-1]


def decisions(task, y, target):
    """The class of each example: that of the last step, or the vote over the frames at which it is asked."""
    if task.head != "every":
        return y[:, -1].argmax(-1)
    votes = torch.nn.functional.one_hot(y.argmax(-1), task.output_size)
    return (votes * (target != IGNORED)[..., None]).sum(1).argmax(-1)


def test_a_trained_model_decides_as_torch_does_on_every_example(trained):
    task, model, x, target = trained
    found = run_module(write_c(model), [sequence.numpy() for sequence in x])
    y = torch.from_numpy(np.stack([outputs for outputs, _ in found]))
    expected = step_outputs(model, x)
    near = (y - expected).abs().amax((1, 2)) <= 1e-4
    assert near.float().mean() >= 0.99  # a sum in another order may tip a threshold
    assert torch.equal(decisions(task, y, target), decisions(task, expected, target))


def test_states_of_a_latch_are_those_of_torch_at_nearly_every_step(trained):
    _, model, x, _ = trained
    module = write_c(model)
    found = run_module(module, [sequence.numpy() for sequence in x])
    state, different, count = None, 0, 0
    for t in range(x.shape[1]):
        with torch.no_grad():
            _, state = module.model.step(x[:, t], state)
        for i, block in enumerate(module.model.blocks):
            expected = state.layers[i][0][0] == block.layer.units[0].alpha_l0
            D = expected.shape[1]
            high = np.stack([states[f"block_{i}_bmru"][t] for _, states in found])
            high = np.unpackbits(high, axis=1, bitorder="little")[:, :D].astype(bool)
            different += (high != expected.numpy()).sum()
            count += high.size
    assert different <= 1e-4 * count, f"{different} of {count}"
    assert 0.01 < np.mean(high) < 0.99


def test_int8_loses_little(trained):
    """Of a short training, twice the point that is lost at most after a whole one (docs/export.md)."""
    task, model, _, _ = trained
    module = write_c(model, weights="int8")
    assert evaluate(model, task) > 0.5
    assert evaluate(model, task) - evaluate(module.model, task) <= 0.02


@needs_chip
@pytest.mark.parametrize(("weights", "count"), [("float32", 100), ("int8", 100), rarely("float32", None)])
def test_a_cortex_m4_decides_the_same(trained, weights, count):
    task, model, x, target = trained
    module = write_c(model, name="keyword", weights=weights)
    x, target = x[:count], target[:count]
    sequences = [sequence.numpy() for sequence in x]
    runs = [run_on_chip(module, sequences[i : i + 100]) for i in range(0, len(sequences), 100)]
    y = torch.from_numpy(np.stack([outputs for run in runs for outputs in run.outputs]))
    expected = step_outputs(module.model, x)
    assert torch.equal(decisions(task, y, target), decisions(task, expected, target))
    assert module.weight_bytes < runs[0].flash_bytes < module.weight_bytes + 8192
    assert runs[0].state_bytes + runs[0].stack_bytes <= 4096


@needs_chip
def test_instructions_are_counted_the_same_every_time_and_grow_with_the_model():
    small, large = (write_c(make(torch.float32, hidden_size=size, head="every")) for size in (8, 16))
    x = [inputs(small.model, 1, 20)[0].numpy()]
    runs = [run_on_chip(module, x) for module in (small, small, large)]
    assert runs[0].instructions == runs[1].instructions
    assert 2 < runs[2].instructions / runs[0].instructions < 4.5
    assert runs[0].most_instructions >= runs[0].instructions
    assert 0 < runs[0].stack_bytes < runs[2].stack_bytes


@needs_chip
def test_tokens_run_on_the_chip():
    model = make(torch.float32, encoder="embedding", input_size=11, unit="bmru+fq_bmru")
    x = inputs(model, 2, 9)
    run = run_on_chip(write_c(model), [tokens.numpy() for tokens in x])
    torch.testing.assert_close(torch.from_numpy(np.stack(run.outputs)), step_outputs(model, x), rtol=1e-4, atol=1e-4)


def test_a_chip_that_cannot_be_run_says_what_is_missing(monkeypatch):
    module = write_c(make(torch.float32))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=r"`PATH` must hold the tools in Debian's gcc-arm.*, got none of arm-"):
        run_on_chip(module, [np.zeros((1, 3), np.float32)])
    monkeypatch.setattr("remanent.export.chip.missing_tools", lambda: None)
    for sequences, size in (([], 0), ([np.zeros((MOST_BYTES, 3), np.float32)], 12 * MOST_BYTES)):
        with pytest.raises(ValueError, match=f"`sequences` must be of 1 to {MOST_BYTES} bytes in all, got {size}"):
            run_on_chip(module, sequences)
