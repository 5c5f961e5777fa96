"""Draws how one channel of every unit, with parameters set by hand, answers a step and two pulses.

python docs/draw_units.py [FOLDER]    # docs/pictures, where units.md looks for them
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from remanent import UNITS, Attention
from remanent.report.figures import response, save_figure

T = 240
EVENTS = {"pulse": (20, 22, 1.0), "step": (70, 130, 1.0), "pulse down": (180, 182, -1.0)}
"""What the input does: from which step to which, and its height."""


def signal() -> Tensor:
    """The input (1, T, 1): at 1 for two steps, then for sixty, then at -1 for two, else 0."""
    x = torch.zeros(1, T, 1)
    for first, last, height in EVENTS.values():
        x[:, first:last] = height
    return x


def fill(unit: nn.Module, values: dict[str, list[float] | list[list[float]]]) -> nn.Module:
    """Sets parameters by hand, the others to zero."""
    with torch.no_grad():
        for name, parameter in unit.named_parameters():
            parameter.zero_()
            if name in values:
                parameter.copy_(torch.tensor(values[name]))
    return unit


def logit(p: float) -> float:
    """The number whose sigmoid is p."""
    return math.log(p / (1 - p))


RADIUS, ANGLE = 0.97, 0.15
ALPHA_LATCH = {"weight_ih_l0": [[1.0], [0.0], [0.1]], "bias_ih_l0": [0.0, 0.5, 0.35]}
LATCH = {"weight_ih_l0": [[1.0], [0.0]], "bias_ih_l0": [0.0, 0.5], "alpha_l0": [1.0]}
CHANNELS: dict[str, tuple[int, dict[str, list[float] | list[list[float]]]]] = {
    "bmru": (1, LATCH),
    "alpha_bmru": (1, ALPHA_LATCH),
    "cmru": (1, LATCH),
    "alpha_cmru": (1, ALPHA_LATCH),
    "fq_bmru": (
        1,
        {
            "weight_ih_l0": [[1.0]],
            "bias_ih_l0": [1.0],
            "threshold_low_l0": [0.5],
            "threshold_width_l0": [1.0],
            "alpha_l0": [1.0],
        },
    ),
    "mru": (  # one head of three states: an input of 1 moves it to the next, of -1 to the one before
        3,
        {
            "weight_ih_l0": [[0.0], [1.0], [-1.0], [-1.0], [0.0], [1.0], [1.0], [-1.0], [0.0]],
            "bias_ih_l0": [0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.5],
        },
    ),
    "lru": (
        1,
        {
            "weight_ih_l0": [[1.0], [0.0]],
            "nu_log_l0": [math.log(-math.log(RADIUS))],
            "theta_log_l0": [math.log(ANGLE)],
            "gamma_log_l0": [math.log(1 - RADIUS**2) / 2],
            "weight_ho_l0": [[1.0], [0.0]],
        },
    ),
    "min_gru": (1, {"weight_ih_l0": [[1.0], [0.0]], "bias_ih_l0": [0.0, logit(0.1)]}),
    "min_lstm": (1, {"weight_ih_l0": [[1.0], [0.0], [0.0]], "bias_ih_l0": [0.0, 3.0, logit(0.1)]}),
    "brc": (1, {"weight_ih_l0": [[0.0], [0.0], [3.0]], "bias_ih_l0": [1.0, logit(0.5), 0.0]}),
    "nbrc": (  # a second, slow channel, itself a latch, makes the first one bistable once the step has set it
        2,
        {
            "weight_ih_l0": [[0.0], [0.0], [0.0], [0.0], [3.0], [1.2]],
            "weight_hh_l0": [[0.0, 1.5], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
            "bias_ih_l0": [0.0, 1.0, logit(0.5), logit(0.9), 0.0, -0.3],
        },
    ),
    "gru": (1, {"weight_ih_l0": [[0.0], [0.0], [2.0]], "bias_ih_l0": [0.0, logit(0.95), 0.0]}),
    "lstm": (
        1,
        {
            "weight_ih_l0": [[0.0], [0.0], [2.0], [0.0]],
            "bias_ih_l0": [logit(0.05), logit(0.95), 0.0, 2.0],
        },
    ),
}
"""Unit to its number of channels, of which the first is drawn, and its parameters."""
OPTIONS = {"mru": {"num_states": 3, "num_tracers": 1}}
"""Unit to the options that it is made with, if it has some that are not at their defaults."""


def respond(name: str) -> Tensor:
    """What the first channel of a unit puts out, (T,)."""
    with torch.no_grad():
        if name == "attention":
            values = {"project_in.weight": [[0.0]] * 4 + [[1.0]] * 2, "project_out.weight": [[1.0, 0.0], [0.0, 1.0]]}
            return fill(Attention(1, 2), values)(signal())[0][0, :, 0]
        channels, values = CHANNELS[name]
        make: Callable[..., nn.Module] = UNITS[name]
        return fill(make(1, channels, batch_first=True, **OPTIONS.get(name, {})), values)(signal())[0][0, :, 0]


def main() -> None:
    """Writes a picture for every unit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "pictures")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*CHANNELS, "attention"):
        save_figure(response(signal()[0, :, 0], respond(name)), folder / f"{name}.svg")


if __name__ == "__main__":
    main()
