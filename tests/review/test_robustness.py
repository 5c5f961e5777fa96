"""Scores under noise and with few bits: what is disturbed, by how much, and that nothing else is."""

import math

import pytest
import torch

from remanent import ModelConfig, SequenceModel
from remanent.models.imprecise import perturbed, quantized
from remanent.records.configuration import fitting
from remanent.review import robustness
from remanent.review.robustness import input_deviation
from remanent.tasks import CopyFirst, Denoising, ListOps, Parity, SequentialImage
from remanent.tasks.base import derive_seed, read_whole
from remanent.training import evaluate
from remanent.units import UNITS

NUMBERS = [CopyFirst(steps=8), Denoising(20, 2), SequentialImage(padding=4)]
TOKENS = [Parity(steps=6), ListOps(min_tokens=5, max_tokens=12)]


def make(task, unit="bmru"):
    torch.manual_seed(0)
    return SequenceModel(ModelConfig(**fitting(task), unit=unit, hidden_size=8, num_layers=1, num_heads=2))


def seeing(task):
    """A model that keeps what it read, and the list of it."""
    seen = []

    class Seeing(SequenceModel):
        def forward(self, x, state=None, *, reset=None):
            seen.append(x.clone())
            return super().forward(x, state, reset=reset)

    return Seeing(ModelConfig(**fitting(task), hidden_size=8, num_layers=1)), seen


@pytest.mark.parametrize("unit", [*UNITS, "attention", "bmru+lru"])
def test_every_unit_is_scored_as_it_is_by_hand(unit):
    task = CopyFirst(steps=8)
    model = make(task, unit).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measured = robustness(model, task, noise=[0, 0.15], input_noise=[0, 0.5], draws=2, seed=3, examples=5)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    plain = evaluate(make(task, unit), task, examples=5)
    assert measured["score"] == plain
    for kind in ("parameter_noise", "input_noise"):
        none, some = measured[kind]
        assert none["scores"] == [plain, plain]
        assert len({plain, *some["scores"]}) == 3
    for i, score in enumerate(measured["parameter_noise"][1]["scores"]):
        generator = torch.Generator().manual_seed(derive_seed("robustness", "parameters", 3, i))
        assert evaluate(perturbed(model, 0.15, generator), task, examples=5) == score
    scores = {level["bits"]: level["score"] for level in measured["weights"]}
    assert scores == {bits: evaluate(quantized(model, bits), task, examples=5) for bits in (8, 4)}
    assert len({plain, *scores.values()}) == 3


@pytest.mark.parametrize("task", TOKENS, ids=repr)
def test_tokens_bear_no_noise(task):
    measured = robustness(make(task), task, draws=1, examples=5)
    assert measured["input_noise"] is None
    assert measured["input_deviation"] is None
    assert [level["size"] for level in measured["parameter_noise"]] == [0.05, 0.10, 0.15]
    with pytest.raises(ValueError, match=f"`input_noise` must not be given for the task {task.name}, .* got 0.1, 0.2"):
        robustness(make(task), task, input_noise=[0.1, 0.2])


@pytest.mark.parametrize("task", NUMBERS, ids=repr)
def test_inputs_get_normal_noise_of_a_share_of_their_deviation_everywhere(task):
    model, seen = seeing(task)
    clean, _ = read_whole(task, "test", 0, 100, task.length)
    sigma = clean.double().std(correction=0).item()
    assert input_deviation(task, "test", 100) == pytest.approx(sigma, rel=1e-6)
    measured = robustness(model, task, noise=[], input_noise=[0.5], bits=[], draws=1, examples=100)
    assert measured["input_deviation"] == pytest.approx(sigma, rel=1e-6)
    half = len(seen) // 2
    pieces, position = [], 0
    for before, after in zip(seen[:half], seen[half:], strict=True):
        pieces.append((after - before).flatten(0, 1) / (0.5 * sigma))
        position += before.shape[0] * before.shape[1]
    assert position == clean.shape[0] * clean.shape[1]
    errors = torch.cat(pieces)
    assert errors.std().item() == pytest.approx(1, abs=0.1)
    assert errors.mean().item() == pytest.approx(0, abs=0.1)
    assert (errors.std(0) > 0.8).all()  # every feature
    assert errors.unique().numel() > 0.99 * errors.numel()  # every step its own, of zeros too


def test_a_longer_input_is_as_noisy():
    task = SequentialImage(padding=4)
    short, long = (
        robustness(make(task), task, noise=[], bits=[], draws=1, examples=8, length=length) for length in (4, 400)
    )
    assert short["input_deviation"] == long["input_deviation"]
    assert (short["length"], long["length"]) == (4, 400)


def test_the_same_seed_gives_the_same_table_and_more_draws_and_sizes_change_none():
    task, global_state = CopyFirst(steps=8), torch.get_rng_state()
    model = make(task)
    torch.set_rng_state(global_state)
    options = {"noise": [0.1], "input_noise": [0.2], "bits": [4], "examples": 70}
    first = robustness(model, task, **options, draws=2)
    assert first == robustness(model, task, **options, draws=2)
    assert torch.equal(torch.get_rng_state(), global_state)
    more = robustness(model, task, **options | {"noise": [0.3, 0.1], "input_noise": [0.5, 0.2]}, draws=3)
    other = robustness(model, task, **options, draws=2, seed=1)
    for kind in ("parameter_noise", "input_noise"):
        assert more[kind][1]["scores"][:2] == first[kind][0]["scores"]
        assert not set(other[kind][0]["scores"]) & set(first[kind][0]["scores"])
    assert other["weights"] == first["weights"]


def test_mean_and_deviation_are_those_of_the_draws():
    task = CopyFirst(steps=8)
    (level,) = robustness(make(task), task, noise=[0.5], input_noise=[], bits=[], draws=4, examples=5)[
        "parameter_noise"
    ]
    scores = torch.tensor(level["scores"], dtype=torch.float64)
    assert level["mean"] == pytest.approx(scores.mean().item(), rel=1e-9)
    assert level["std"] == pytest.approx(scores.std().item(), rel=1e-9)
    (level,) = robustness(make(task), task, noise=[0.5], input_noise=[], bits=[], draws=1, examples=5)[
        "parameter_noise"
    ]
    assert level["std"] is None


def test_a_score_that_is_not_finite_is_none_and_so_is_a_mean_over_it():
    task = CopyFirst(steps=8)
    model = make(task)
    with torch.no_grad():
        model.head.weight.fill_(1e38)
    measured = robustness(model, task, noise=[0.1], input_noise=[0.1], draws=2, examples=5)
    assert measured["score"] is None
    assert measured["weights"][0]["score"] is None
    for kind in ("parameter_noise", "input_noise"):
        assert measured[kind] == [{"size": 0.1, "scores": [None, None], "mean": None, "std": None}]


def test_the_split_is_another_and_its_first_examples_alone_are_scored():
    task = CopyFirst(steps=8)
    model = make(task)
    measured = robustness(model, task, noise=[], bits=[4], input_noise=[], split="validation", examples=7, length=12)
    expected = evaluate(model, task, split="validation", examples=7, length=12)
    assert measured["score"] == expected
    assert (measured["split"], measured["examples"], measured["length"]) == ("validation", 7, 12)
    assert robustness(model, task, noise=[], bits=[4], input_noise=[])["examples"] == task.split_size("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": [0.1, -0.1]}, r"`noise` must be in \[0, inf\), got -0.1"),
        ({"input_noise": [math.nan]}, r"`input_noise` must be in \[0, inf\), got nan"),
        ({"bits": [8, 9]}, "`bits` must be at most 8, got 9"),
        ({"bits": [1]}, "`bits` must be at least 2, got 1"),
        ({"draws": 0}, "`draws` must be at least 1, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"examples": 0}, "`examples` must be at least 1, got 0"),
        ({"length": 0}, "`length` must be at least 1, got 0"),
        ({"split": "train"}, "`split` must be one of validation, test, got 'train'"),
        ({"noise": [], "input_noise": [], "bits": []}, "must name at least one size, got none"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    task = CopyFirst(steps=8)
    with pytest.raises(ValueError, match=message):
        robustness(make(task), task, **{"examples": 5, **options})
