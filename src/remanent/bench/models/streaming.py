"""The sections on one step: after few or many others, and of cells, models and sessions beside torch and others."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from remanent.bench.timing import Case, Row, Settings, add_ratios, describe, measure
from remanent.export.onnx import step_runner
from remanent.models import ModelConfig, ModelState, SequenceModel
from remanent.units import CELLS

CONTEXTS = tuple(2**i for i in range(4, 17, 2))
"""The numbers of steps before the one that is timed."""
QUICK_CONTEXTS = (16, 64, 256, 1024)
"""The numbers of steps before, in a quick trial."""
CHUNK = 512
"""The steps that the models read at a time on the way to a context."""
LEAST_REPEATS = 50
"""The fewest times that a step, which is short, is timed."""
MODELS = ("bmru", "attention")
"""The units of the models."""
WIDTH, INPUT_SIZE, BLOCKS = 128, 16, 2
"""The sizes of the models."""
STEP_WIDTH = 64
"""The width of the cells and models in the section "step"."""
STEP_BATCHES = (1, 64)
"""The numbers of sequences side by side there."""
STEP_MODELS = ("bmru", "lru", "bmru+lru")
"""The units of the models there."""
IN_A_ROW = 10
"""How many steps of a cell are timed at once there."""
LEAST_STEPS = 200
"""The fewest times that a step is timed there: it takes microseconds, and some of them fall into a slow spell."""


def time_streaming(settings: Settings) -> list[Row]:
    """Times one step of a model of two blocks at a batch of 1, after longer and longer contexts."""
    torch.manual_seed(0)
    models: dict[str, SequenceModel] = {}
    states: dict[str, ModelState | None] = {}
    for unit in MODELS:
        config = ModelConfig(INPUT_SIZE, INPUT_SIZE, hidden_size=WIDTH, num_layers=BLOCKS, unit=unit)
        models[unit] = SequenceModel(config).eval()
        states[unit] = None
    rows: list[Row] = []
    x_t = torch.randn(1, INPUT_SIZE)
    filled = 0
    with torch.inference_mode():
        for context in QUICK_CONTEXTS if settings.quick else CONTEXTS:
            cases = []
            for unit, model in models.items():
                states[unit] = state = _fill(model, states[unit], context - filled)
                cases.append(Case(unit, partial(model.step, x_t, state), twice=True))
            filled = context
            shape = {"context": context, "B": 1, "D": WIDTH}
            group = measure("streaming", shape, cases, max(settings.repeats, LEAST_REPEATS))
            for row in group:
                row.bytes = sum(leaf.nbytes for leaf in tree_leaves(states[row.case]) if isinstance(leaf, Tensor))
            add_ratios(group, "over bmru", "bmru")
            rows += group
    return rows


def _fill(model: SequenceModel, state: ModelState | None, steps: int) -> ModelState | None:
    """The state after more steps of noise."""
    for x in torch.randn(1, steps, INPUT_SIZE).split(CHUNK, dim=1):
        _, state = model(x, state)
    return state


def time_step(settings: Settings) -> list[Row]:
    """Times one step without gradients: of cells beside `nn.GRUCell`, and of models of two blocks in all their forms.

    Each time follows a step that is not counted, so that caches are those of a stream; that of a cell is a mean over
    `IN_A_ROW` steps.
    """
    torch.manual_seed(0)
    width, repeats = (16, 2) if settings.quick else (STEP_WIDTH, max(settings.repeats, LEAST_STEPS))
    rows: list[Row] = []
    with torch.no_grad():
        for B in STEP_BATCHES:
            x = torch.randn(B, width)
            makers: dict[str, Callable[[int, int], nn.Module]] = {"nn.GRUCell": nn.GRUCell}
            makers |= {make.__name__: make for make in CELLS.values()}
            cells = {name: make(width, width) for name, make in makers.items()}
            cases = [
                Case(name, partial(_repeat, partial(cell, x, cell(x))), twice=True) for name, cell in cells.items()
            ]
            group = measure("step", {"B": B, "D": width}, cases, repeats)
            for row in group:
                times = (row.median, row.min, row.q25, row.q75)
                row.median, row.min, row.q25, row.q75 = (None if time is None else time / IN_A_ROW for time in times)
            add_ratios(group, "over nn.GRUCell", "nn.GRUCell")
            rows += group
            for unit in STEP_MODELS:
                rows += _time_model(unit, B, width, repeats, settings)
    return rows


def _repeat(step: Callable[[], object]) -> None:
    for _ in range(IN_A_ROW):
        step()


def _time_model(unit: str, B: int, width: int, repeats: int, settings: Settings) -> list[Row]:
    """One step of a model: `step`, sessions with both engines, and onnxruntime."""
    config = ModelConfig(width, width, hidden_size=width, num_layers=BLOCKS, unit=unit, head="every")
    model = SequenceModel(config).eval()
    x_t = torch.randn(B, width)
    _, state = model.step(x_t)
    names = f"{unit} model.step", f"{unit} session", f"{unit} native session", f"{unit} onnxruntime"
    cases = [Case(names[0], partial(model.step, x_t, state), twice=True)]
    for name, engine in zip(names[1:], ("torch", "native"), strict=False):
        session = model.stream(B, engine=engine)
        session.push(x_t[:, None])
        cases.append(Case(name, partial(session.push, x_t[:, None]), twice=True))
    try:
        cases.append(Case(names[3], step_runner(model, x_t, threads=settings.threads), twice=True))
    except ModuleNotFoundError:
        cases.append(Case(names[3], None, "not installed"))
    except Exception as error:
        cases.append(Case(names[3], None, describe(error)))
    group = measure("step", {"B": B, "D": width, "blocks": BLOCKS}, cases, repeats)
    add_ratios(group, "over model.step", names[0])
    add_ratios(group, "over onnxruntime", names[3])
    return group
