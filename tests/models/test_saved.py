"""Models that version 0.1 saved load and answer as they did then: whole, and from a state, step by step."""

from pathlib import Path

import numpy as np
import pytest
import torch

from remanent import SequenceModel

FOLDER = Path(__file__).parents[1] / "data" / "saved-0.1"
MODELS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
EXACT = {"bmru": (0, 1), "bmru-low": (0, 1), "lru,fq_bmru": (1,)}
"""Model to its blocks whose states are set or held.

No candidate of these models is nearer to its threshold than 1e-4 (`make.py` saw to it), so that the same steps write on
every processor, and what they write are bits of the file. All else is a sum of products, which processors round in
their own ways.
"""


def test_the_models_are_all_there():
    assert len(MODELS) == 8
    assert set(EXACT) <= set(MODELS)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_version_0_1_saved_answers_as_it_did(name):
    model = SequenceModel.load(FOLDER / name).eval()
    with np.load(FOLDER / name / "answers.npz") as file:
        saved = {key: torch.from_numpy(file[key]) for key in file}
    x, whole, stepped = saved.pop("x"), saved.pop("whole"), saved.pop("stepped")
    y, state = model(x)
    close(y, whole)
    first = x.shape[1] - stepped.shape[1]
    _, after = model(x[:, :first])
    outputs = []
    for x_t in x[:, first:].unbind(1):
        y, after = model.step(x_t, after)
        outputs.append(y)
    close(torch.stack(outputs, 1), stepped)
    for found in (state.named(), after.named()):
        assert {f"state.{key}" for key in found} == set(saved)
        for key, value in found.items():
            exact = key.startswith("layers.") and int(key.split(".")[1]) in EXACT.get(name, ())
            if exact or key in ("steps", "time"):
                assert torch.equal(value, saved[f"state.{key}"]), key
            else:
                close(value, saved[f"state.{key}"])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * max(1.0, expected.abs().max().item()))
