"""The section on a training step: its products are all that a model takes, and cases that cannot run say why."""

import json
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from remanent.bench import run_bench
from remanent.bench.models import training_step as section
from remanent.bench.models.products import Product, products_both, products_of

X = torch.randn(3, 37, 1, generator=torch.Generator().manual_seed(0))
EXERCISE = section.Exercise(X, torch.tensor([0, 9, 4]), 16, "eager")


def flops(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("unit", [*section.UNITS, "cmru", "min_lstm", "bmru,lru"])
def test_the_products_are_all_those_of_a_training_step(unit):
    model = section.make_model(unit, 16)
    products = products_of(lambda: model(X))
    expected = flops(section.training_step(model, model, EXERCISE))
    assert sum(product.flops for product in products) == expected
    assert flops(products_both(products)) == expected
    assert [product.input_gradient for product in products] == [False] + [True] * (len(products) - 1)


def test_a_product_says_its_sizes_and_is_run_with_its_gradients():
    first, second = nn.Linear(2, 5), nn.Linear(5, 3, bias=False)
    products = products_of(lambda: second(first(torch.randn(7, 4, 2))))
    assert products == [Product(28, 2, 5, True, False), Product(28, 5, 3, False, True)]
    assert [product.flops for product in products] == [2 * 28 * 2 * 5 * 2, 2 * 28 * 5 * 3 * 3]
    assert [tuple(grad.shape) for grad in products_both(products)()] == [(5, 2), (5,), (28, 5), (3, 5)]


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """A quick run of the section for one unit, without the packages that may be missing."""
    for name in ("mambapy", "mambapy.mamba", "minGRU_pytorch", "minGRU_pytorch.minGRU"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(section, "UNITS", ("bmru",))
    others = section.OTHER_MODELS
    transformer = others["Transformer"]._replace(compiles=False, most_steps=16)
    monkeypatch.setattr(section, "OTHER_MODELS", others | {"Transformer": transformer})

    def run():
        run_bench(["model"], tmp_path / "b", repeats=2, quick=True)
        return json.loads((tmp_path / "b" / "bench.json").read_text())["rows"]

    return run


def test_a_quick_trial_times_models_beside_their_products_and_says_what_is_missing(quick, tmp_path, capsys):
    rows = quick()
    shown = capsys.readouterr().out
    assert {p.name for p in (tmp_path / "b").iterdir()} == {"bench.json", "model.svg"}
    cases = ["bmru products", "bmru", "bmru compiled", *section.OTHER_MODELS]
    assert [row["case"] for row in rows] == cases * len(section.QUICK_SHAPES)
    by = {(row["case"], row["shape"]["T"]): row for row in rows}
    assert by["bmru", 16]["shape"] == {"B": 2, "T": 16, "D": 16, "blocks": 2}
    for T in (16, 32):
        assert by["minGRU-pytorch", T]["status"] == by["mambapy block", T]["status"] == "not installed"
        assert by["bmru products", T]["ratios"] == {"over its products": 1}
        assert set(by["bmru compiled", T]["ratios"]) == {"over its products", "over bmru"}
        assert by["bmru compiled", T]["compile_seconds"] > 0
        assert set(by["nn.GRU", T]["ratios"]) == {"over bmru"}
    assert by["Transformer", 16]["status"] == "measured"
    assert by["Transformer", 32]["status"].startswith("skipped: its cost grows with the square of the steps")
    assert by["bmru", 16]["parameters"] == sum(p.numel() for p in section.make_model("bmru", 16).parameters())
    for title in ("over its products", "over bmru", "parameters", "compile s"):
        assert title in shown


def test_a_model_that_cannot_be_compiled_says_why():
    exercise = EXERCISE._replace(compiler="no such compiler")
    case, seconds = section._compiled_case("bmru compiled", section.make_model("bmru", 16), exercise)
    assert (case.run, seconds) == (None, None)
    assert case.status.startswith("error: InvalidBackend")


def test_every_model_of_another_package_is_as_wide_and_as_deep_as_ours():
    for name, other in section.OTHER_MODELS.items():
        try:
            layers = other.layers(16, 2)
        except ModuleNotFoundError:
            continue
        model = section.LastStepModel(layers, 1, 16, 10)
        assert model(X).shape == (3, 10), name
        assert len(layers) * getattr(layers[0], "num_layers", 1) == 2, name


def test_a_step_of_the_transformer_sees_no_later_one():
    (layer,) = section.OTHER_MODELS["Transformer"].layers(16, 1)
    x = torch.randn(1, 6, 16)
    changed = x.clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(layer(changed)[:, :4], layer(x)[:, :4])
