"""The section on streaming: one more step after many, with a state of one size and with a cache that grows."""

from functools import partial

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from remanent.bench.timing import Case, Row, Settings, add_ratios, measure
from remanent.models import ModelConfig, ModelState, SequenceModel

CONTEXTS = tuple(2**i for i in range(4, 17, 2))
QUICK_CONTEXTS = (16, 64, 256, 1024)
CHUNK = 512
"""Steps that a context is filled by at a time."""
LEAST_REPEATS = 50
MODELS = ("bmru", "attention")
WIDTH, INPUT_SIZE, BLOCKS = 128, 16, 2


def time_streaming(settings: Settings) -> list[Row]:
    """One step of a model of two blocks at a batch of 1, after contexts that grow."""
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
    """The state after so many more steps."""
    for x in torch.randn(1, steps, INPUT_SIZE).split(CHUNK, dim=1):
        _, state = model(x, state)
    return state
