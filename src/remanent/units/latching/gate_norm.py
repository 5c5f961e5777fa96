"""Gates of latches that are normalised before their gain and bias: what a layer keeps for it, and computes."""

import torch
from torch import Tensor

from remanent.ops import row_linear
from remanent.ops.normalisation import Moments, fold_moments, normalise_step
from remanent.units.recurrence import Params

GATE_NORMS = ("none", "layer", "batch")
"""The choices of `gate_norm`."""
GATE_NORM_NAMES = ("gate_gain", "gate_mean", "gate_variance")
"""What a layer with `gate_norm="batch"` has beside the others: a parameter and two buffers."""
THRESHOLD_GAIN = 0.5
"""The gain of a threshold at first; that of a candidate is 1."""
MOMENTUM = 0.1
"""How much of a batch's statistics the running ones take in."""


def gain_shapes(gate_norm: str, size: int) -> dict[str, tuple[int, ...]]:
    """The shape of the gain, where gates are normalised."""
    return {} if gate_norm == "none" else {"gate_gain": (size,)}


def moment_buffers(gate_norm: str, size: int) -> dict[str, Tensor]:
    """The running statistics, where gates are normalised by them, with their first values."""
    return {"gate_mean": torch.zeros(size), "gate_variance": torch.ones(size)} if gate_norm == "batch" else {}


def reset_gate_norm(p: Params, D: int) -> None:
    """Fills gain and running statistics with their first values; the gates after the first D are thresholds."""
    if "gate_gain" in p:
        p["gate_gain"].fill_(1)[D:] = THRESHOLD_GAIN
    if "gate_mean" in p:
        p["gate_mean"].zero_()
        p["gate_variance"].fill_(1)


def observe_moments(p: Params, moments: Moments) -> Params:
    """The parameters with the moments of a batch in the place of the running ones, which take them in."""
    with torch.no_grad():
        p["gate_mean"].lerp_(moments.mean, MOMENTUM)
        p["gate_variance"].lerp_(moments.variance, MOMENTUM)
    return p | {"gate_mean": moments.mean, "gate_variance": moments.variance}


def settle_moments(p: Params, moments: Moments) -> None:
    """Puts the moments of a batch into the running ones."""
    p["gate_mean"].copy_(moments.mean)
    p["gate_variance"].copy_(moments.variance)


def normalised_linear(x: Tensor, p: Params, parts: int) -> Tensor:
    """The projection of inputs (..., M) to gates, of which the first `parts` are normalised, with gain and bias.

    Gates after them get their bias alone. Each step is computed by itself: any cut of a sequence gives its bits.
    """
    weight, bias, gain = p["weight_ih"], p.get("bias_ih"), p["gate_gain"]
    size = gain.shape[0]
    if "gate_mean" in p:
        return row_linear(x, *_folded(p), exact=True)
    gates = row_linear(x, weight, None, exact=True)
    if size == weight.shape[0]:
        return normalise_step(gates, parts, gain, bias)
    normed = normalise_step(gates[..., :size], parts, gain, None if bias is None else bias[:size])
    rest = gates[..., size:] if bias is None else gates[..., size:] + bias[size:]
    return torch.cat([normed, rest], dim=-1)


def plain_gates(p: Params, gate_norm: str) -> tuple[Params, Tensor | None]:
    """The parameters with statistics folded into weight and bias; and the gain, where steps are still normalised."""
    if gate_norm != "batch":
        return p, p.get("gate_gain")
    weight, bias = _folded(p)
    kept = {name: value for name, value in p.items() if name not in GATE_NORM_NAMES}
    return kept | {"weight_ih": weight, "bias_ih": bias}, None


def _folded(p: Params) -> tuple[Tensor, Tensor]:
    """The weight and the bias that give gates normalised by mean and variance, with their gain and bias."""
    weight, bias, gain = p["weight_ih"], p.get("bias_ih"), p["gate_gain"]
    size = gain.shape[0]
    moments = Moments(p["gate_mean"], p["gate_variance"])
    factor, shift = fold_moments(moments, gain, None if bias is None else bias[:size])
    if size < weight.shape[0]:
        factor = torch.cat([factor, torch.ones_like(weight[size:, 0])])
        shift = torch.cat([shift, torch.zeros_like(weight[size:, 0]) if bias is None else bias[size:]])
    return weight * factor[:, None], shift
