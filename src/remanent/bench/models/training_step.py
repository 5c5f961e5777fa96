"""The section on a model's training step: beside its own matrix products, compiled and not, and other packages."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanent.bench import peers
from remanent.bench.models.other_models import OTHER_MODELS, LastStepModel, OtherModel
from remanent.bench.models.products import products_both, products_of
from remanent.bench.passes import Run, both_passes
from remanent.bench.timing import Case, Row, Settings, add_ratios, describe, measure
from remanent.models import ModelConfig, SequenceModel

SHAPES = ((64, 300), (4, 4096), (1, 65536))
"""The batches and lengths (B, T) that are timed."""
QUICK_SHAPES = ((2, 16), (1, 32))
"""Those of a quick trial."""
WIDTH, QUICK_WIDTH, BLOCKS = 64, 16, 2
"""The width of all models, that of a quick trial, and the number of their blocks."""
INPUT_SIZE, CLASSES = 1, 10
"""The features of a step, and the classes between which the head decides after the last step."""
UNITS = ("bmru", "lru", "bmru+lru", "min_gru", "fq_bmru", "alpha_bmru", "mru")
"""The units of our models; the first is that with which other packages are compared."""
DRAWN = ("bmru", "lru", *OTHER_MODELS)
"""The cases that are drawn."""
LONGEST = 30.0
"""The seconds after which a case is not repeated: a loop over 65,536 steps takes many."""
COMPILER, QUICK_COMPILER = "inductor", "eager"
"""The backend of `torch.compile`, and that of a quick trial, which traces models but needs no C++ compiler."""


class Exercise(NamedTuple):
    """What all models of a length are given.

    Attributes:
        x: the inputs (B, T, INPUT_SIZE).
        targets: the classes (B,).
        width: the width of the models.
        compiler: the backend of `torch.compile`.
    """

    x: Tensor
    targets: Tensor
    width: int
    compiler: str


@dataclass(frozen=True)
class Contender:
    """A case with what its row says beside the times.

    Attributes:
        case: the case.
        products: the case of the products with which it is compared; "" for none.
        parameters: the number of the model's parameters; None for products.
        compile_seconds: how long the first step of a compiled model took.
    """

    case: Case
    products: str = ""
    parameters: int | None = None
    compile_seconds: float | None = None


def time_model(settings: Settings) -> list[Row]:
    """Times forward pass, loss and backward pass of models of two blocks that read a sequence and answer once.

    A model's products are its calls of `F.linear`, forward and backward. All cases of a length run in turn.
    """
    import torch._dynamo

    rows: list[Row] = []
    for B, T in QUICK_SHAPES if settings.quick else SHAPES:
        torch.compiler.reset()  # else torch would compile no more than a few models of a class
        torch.manual_seed(0)
        width, compiler = (QUICK_WIDTH, QUICK_COMPILER) if settings.quick else (WIDTH, COMPILER)
        exercise = Exercise(torch.randn(B, T, INPUT_SIZE), torch.randint(CLASSES, (B,)), width, compiler)
        contenders: list[Contender] = []
        with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):  # it would run a model as it is in silence
            for unit in UNITS:
                contenders += _ours(unit, exercise)
            for name, other in OTHER_MODELS.items():
                contenders += _others(name, other, exercise)
            rows += _measured(contenders, {"B": B, "T": T, "D": width, "blocks": BLOCKS}, settings)
    return rows


def microseconds_a_step(rows: Sequence[Row]) -> dict[str, dict[int, float]]:
    """For the models of `DRAWN`, at each length, the time divided by all steps of all sequences, in microseconds."""
    times: dict[str, dict[int, float]] = {}
    for row in rows:
        if row.case in DRAWN and row.median:
            times.setdefault(row.case, {})[row.shape["T"]] = 1e6 * row.median / (row.shape["B"] * row.shape["T"])
    return times


def make_model(unit: str, width: int) -> SequenceModel:
    """Our model of a unit."""
    config = ModelConfig(INPUT_SIZE, CLASSES, hidden_size=width, num_layers=BLOCKS, unit=unit)
    return SequenceModel(config)


def training_step(forward: Callable[[Tensor], object], model: nn.Module, exercise: Exercise) -> Run:
    """A run of a model's forward pass, by `forward`, of the loss, cross-entropy, and of the backward pass."""

    def loss() -> Tensor:
        y = forward(exercise.x)
        answers = y[0] if isinstance(y, tuple) else y
        assert isinstance(answers, Tensor)
        return F.cross_entropy(answers, exercise.targets)

    return both_passes(loss, list(model.parameters()), torch.ones(()))


def _ours(unit: str, exercise: Exercise) -> list[Contender]:
    model = make_model(unit, exercise.width)
    name = f"{unit} products"
    alone = Case(name, products_both(products_of(lambda: model(exercise.x))))
    return [Contender(alone, name), *_eager_and_compiled(unit, model, exercise, products=name)]


def _others(name: str, other: OtherModel, exercise: Exercise) -> list[Contender]:
    steps, width = exercise.x.shape[1], exercise.width
    if other.most_steps is not None and steps > other.most_steps:
        why = f"skipped: its cost grows with the square of the steps, of which there are over {other.most_steps:,}"
        return [Contender(Case(name, None, why))]
    try:
        model = LastStepModel(other.layers(width, BLOCKS), INPUT_SIZE, width, CLASSES)
    except Exception as error:
        return [Contender(Case(name, None, peers.reason(error)))]
    return _eager_and_compiled(name, model, exercise, compiles=other.compiles)


def _eager_and_compiled(
    name: str, model: nn.Module, exercise: Exercise, *, products: str = "", compiles: bool = True
) -> list[Contender]:
    count = sum(parameter.numel() for parameter in model.parameters())
    eager = Case(name, training_step(model, model, exercise), longest=LONGEST)
    contenders = [Contender(eager, products, count)]
    if compiles:
        case, seconds = _compiled_case(f"{name} compiled", model, exercise)
        contenders.append(Contender(case, products, count, seconds))
    return contenders


def _compiled_case(name: str, model: nn.Module, exercise: Exercise) -> tuple[Case, float | None]:
    """The case of a compiled model, and the seconds of its first step, in which torch compiles it."""
    start = time.perf_counter()
    try:
        forward = torch.compile(model.forward, dynamic=False, backend=exercise.compiler)
        run = training_step(forward, model, exercise)
        run()
    except Exception as error:
        return Case(name, None, describe(error)), None
    return Case(name, run, longest=LONGEST), time.perf_counter() - start


def _measured(contenders: Sequence[Contender], shape: dict[str, int], settings: Settings) -> list[Row]:
    rows = measure("model", shape, [contender.case for contender in contenders], settings.repeats)
    groups: dict[str, list[Row]] = {}
    for row, contender in zip(rows, contenders, strict=True):
        row.parameters, row.compile_seconds = contender.parameters, contender.compile_seconds
        if contender.products:
            groups.setdefault(contender.products, []).append(row)
    for products, group in groups.items():
        add_ratios(group, "over its products", products)
    add_ratios([row for row in rows if row.parameters], f"over {UNITS[0]}", UNITS[0])
    return rows
