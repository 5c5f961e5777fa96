"""Draws the figure of memory.md: how much of a gradient reaches back through untrained units.

python docs/draw_memory.py    # docs/pictures/gradients.svg
"""

from pathlib import Path

import torch
from torch import Tensor

from remanent import BMRU, GRU, LRU, MinGRU
from remanent.analysis import gradient_by_lag
from remanent.report.figures import save_figure
from remanent.report.memory import gradient_against_lag
from remanent.units import RecurrentUnit

M, D, B, T = 8, 32, 16, 1000
PICTURES = Path(__file__).parent / "pictures"


def curves() -> dict[str, tuple[Tensor, Tensor]]:
    """Lags and norms of each unit, all of the same size and under the same inputs."""
    torch.manual_seed(0)
    x = torch.randn(B, T, M)
    units: dict[str, RecurrentUnit] = {}
    for epsilon in (1.0, 0.9, 0.5, 0.0):
        torch.manual_seed(1)
        units[f"BMRU, epsilon {epsilon:g}"] = BMRU(M, D, batch_first=True, epsilon=epsilon)
    for kind in (LRU, MinGRU, GRU):
        torch.manual_seed(1)
        units[kind.__name__] = kind(M, D, batch_first=True)
    return {name: gradient_by_lag(unit, x) for name, unit in units.items()}


def main() -> None:
    """Writes the figure."""
    figure = gradient_against_lag(curves(), title=f"untrained units of {D} channels, {T:,} random steps")  # type: ignore[arg-type]
    save_figure(figure, PICTURES / "gradients.svg")


if __name__ == "__main__":
    main()
