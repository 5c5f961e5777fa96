"""Draws the figures of memory.md: how much of a gradient reaches back through untrained units.

python docs/draw_memory.py    # docs/pictures/gradients.svg and gradients-width.svg
"""

from pathlib import Path

import torch
from torch import Tensor

from remanent import BMRU, GRU, LRU, MinGRU
from remanent.analysis import gradient_by_lag
from remanent.report.figures import save_figure
from remanent.report.memory_figures import gradient_against_lag
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


def width_curves() -> dict[str, tuple[Tensor, Tensor]]:
    """The same of two layers and one, for three widths of the surrogate."""
    torch.manual_seed(0)
    x = torch.randn(B, T, M)
    units: dict[str, RecurrentUnit] = {}
    for layers in (1, 2):
        for width in (0.2, 1.0, 5.0):
            torch.manual_seed(1)
            options = {"num_layers": layers, "batch_first": True, "epsilon": 0.9, "width": width}
            units[f"{layers} layer{'s' * (layers - 1)}, width {width:g}"] = BMRU(M, D, **options)  # type: ignore[arg-type]
    return {name: gradient_by_lag(unit, x) for name, unit in units.items()}


def main() -> None:
    """Writes the figures."""
    size = f"of {D} channels, {T:,} random steps"
    save_figure(gradient_against_lag(curves(), title=f"untrained units {size}"), PICTURES / "gradients.svg")
    figure = gradient_against_lag(width_curves(), title=f"BMRU, epsilon 0.9, {size}")
    save_figure(figure, PICTURES / "gradients-width.svg")


if __name__ == "__main__":
    main()
