"""The section on streaming: one more step after many, with a state of constant size and with a growing cache."""

from functools import partial

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from remanent.bench.timing import Case, Row, Settings, add_ratios, measure
from remanent.models import ModelConfig, ModelState, SequenceModel

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
