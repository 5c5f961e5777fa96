"""What all tests share: NaN in every uninitialised tensor, and the worked cases."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from crew import crew  # noqa: F401 (a fixture of several files)

torch.set_num_threads(1)  # tests run side by side
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # else a pool of processes imports torch to call g++
DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def fill_uninitialised_memory() -> Iterator[None]:
    """An element that a kernel forgets to write becomes NaN, and the test fails."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def vectors():
    """Loads a worked case: name -> tensors by key."""

    def load(name: str) -> dict[str, torch.Tensor]:
        with np.load(DATA / f"{name}.npz") as file:
            return {key: torch.from_numpy(file[key]) for key in file}

    return load
