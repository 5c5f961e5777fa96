"""Writes the models beside this file, with inputs and answers, by the version of the library that is installed.

python tests/data/saved-0.1/make.py    # was run once, with version 0.1

A later version must load these models and answer the same, so they are never written again.
"""

from pathlib import Path

import numpy as np
import torch

from remanent import ModelConfig, SequenceModel

FOLDER = Path(__file__).parent
MODELS = {
    "bmru": {"unit": "bmru"},
    "bmru-low": {"unit": "bmru", "initial_state": "low", "head": "mean", "clock": "decay", "clock_size": 4},
    "bmru-annealing": {"unit": "bmru", "epsilon": 0.25, "initial_state": "learned"},
    "bmru+lru": {"unit": "bmru+lru", "r_min": 0.5, "r_max": 0.95, "norm": "layer", "mlp": "gelu", "gate": True},
    "lru,fq_bmru": {"unit": "lru,fq_bmru", "encoder": "embedding", "input_size": 5},
    "cmru+min_gru": {"unit": "cmru+min_gru", "initial_state": "learned", "join": "sum"},
    "alpha_cmru": {"unit": "alpha_cmru", "surrogate_width": 2.0},
    "gru": {"unit": "gru", "head": "last", "mlp": "none", "norm": "none"},
}
B, T, FIRST = 2, 24, 10
MARGIN = 1e-4


def nearest_threshold(model: SequenceModel, x: torch.Tensor) -> float:
    """How near a candidate comes to its threshold at any step of any latch."""
    found = [torch.inf]

    def look(unit: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        first_quadrant = hasattr(unit, "threshold_low_l0")
        if not first_quadrant and not hasattr(unit, "epsilon"):
            return
        gates = inputs[0] @ unit.weight_ih_l0.T + unit.bias_ih_l0
        if first_quadrant:
            low = unit.threshold_low_l0.abs()
            bounds = torch.stack([low, low + unit.threshold_width_l0.abs()])
            found.append((gates - bounds[:, None, None]).abs().min().item())
        else:
            candidate, threshold = gates.split(unit.hidden_size, dim=-1)[:2]
            found.append((candidate.abs() - threshold.abs()).abs().min().item())

    units = [unit for block in model.blocks for unit in block.layer.units]
    hooks = [unit.register_forward_pre_hook(look) for unit in units]
    model(x)
    for hook in hooks:
        hook.remove()
    return min(found)


@torch.no_grad()
def main() -> None:
    """Writes every model once."""
    for name, options in MODELS.items():
        seed = 0
        while True:  # until no candidate is so near its threshold that another processor could round it across
            torch.manual_seed(seed)
            sizes = {"input_size": 3, "output_size": 2, "hidden_size": 8, "num_layers": 2, "head": "every"}
            model = SequenceModel(ModelConfig(**(sizes | options))).eval()
            for key, parameter in model.named_parameters():
                if key.endswith(("alpha_l0", "h0_l0", "bias_ih_l0", "threshold_low_l0")):
                    parameter += 0.3 * torch.randn_like(parameter)
            tokens = model.config.encoder == "embedding"
            x = torch.randint(5, (B, T)) if tokens else 1.5 * torch.randn(B, T, 3)
            if nearest_threshold(model, x) > MARGIN:
                break
            seed += 1
        model.save(FOLDER / name)
        whole, state = model(x)
        _, first = model(x[:, :FIRST])
        stepped = []
        for x_t in x[:, FIRST:].unbind(1):
            y, first = model.step(x_t, first)
            stepped.append(y)
        states = {f"state.{key}": value.numpy() for key, value in state.named().items()}
        answers = {"x": x.numpy(), "whole": whole.numpy(), "stepped": torch.stack(stepped, 1).numpy()}
        np.savez_compressed(FOLDER / name / "answers.npz", **answers, **states)


if __name__ == "__main__":
    main()
