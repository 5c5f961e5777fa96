"""What all tests share: NaN in every uninitialised tensor, the worked cases, and `--part`."""

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from crew import crew  # noqa: F401 (a fixture of several files)

torch.set_num_threads(1)  # tests run side by side
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # else a pool of processes imports torch to call g++
DATA = Path(__file__).parent / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", help="which share of the exhaustive tests to run, such as 2/3")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the `exhaustive` tests whose names fall into the part that was asked for, and all others."""
    if not (part := config.getoption("part")):
        return
    given = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", part)
    if not given or int(given[1]) > int(given[2]):
        raise pytest.UsageError(f"--part must be K/N with 1 <= K <= N, got {part}")
    number, of = int(given[1]), int(given[2])

    def left_out(item: pytest.Item) -> bool:
        elsewhere = zlib.crc32(item.nodeid.encode()) % of != number - 1
        return elsewhere and item.get_closest_marker("exhaustive") is not None

    config.hook.pytest_deselected(items=[item for item in items if left_out(item)])
    items[:] = [item for item in items if not left_out(item)]


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
