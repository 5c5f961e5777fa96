"""Whether units and models give on the GPU what they give on the CPU: passes, chunks, steps, training, and seeds."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils._pytree import tree_leaves, tree_map

from remanent.bench.gpu.cases import Case, Settings
from remanent.bench.gpu.problems import distance
from remanent.models import CausalConv1d, ModelConfig, SequenceModel
from remanent.tasks import FlipFlop
from remanent.units import UNITS, RecurrentUnit

FOLLOWED = ("mru", "alpha_bmru", "bmru", "cmru", "lru", "min_gru", "bmru+lru")
"""Units whose training is compared with the CPU's."""
STEPS = 50
MODELS: dict[str, dict[str, Any]] = {
    "mru": {"unit": "mru"},
    "alpha_bmru": {"unit": "alpha_bmru"},
    "mru, between": {"unit": "mru", "epsilon": 0.4, "hard_readout": True},
    "bmru behind a convolution": {"unit": "bmru", "conv_size": 4, "write_span": None},
    "bmru+lru": {"unit": "bmru+lru"},
    **{name: {"unit": name} for name in UNITS if name not in ("mru", "alpha_bmru")},
    "attention": {"unit": "attention"},
}
"""Name to options of the configuration; first what was added last."""
NEWEST = (
    *("model of mru", "model of alpha_bmru", "model of mru, between", "model of bmru behind a convolution"),
    *("packed: mru", "packed: bmru", "packed: lru", "packed: convolution", "training follows the CPU: mru"),
)
"""Cases of what was added last."""
PACKED: dict[str, Callable[[], RecurrentUnit]] = {
    **{name: partial(unit, 3, 16) for name, unit in UNITS.items()},
    "convolution": partial(CausalConv1d, 3, 4),
}
"""Name to what makes a unit of 3 inputs."""


def cases(settings: Settings) -> list[Case]:
    """All checks of units and models."""
    models, followed = (("bmru",), ("bmru",)) if settings.tiny else (tuple(MODELS), FOLLOWED)
    packed = ("alpha_bmru", "convolution") if settings.tiny else tuple(PACKED)
    found = [Case(f"model of {name}", partial(_model, settings, name), limit=120) for name in models]
    found += [Case(f"packed: {name}", partial(_packed, settings, name)) for name in packed]
    found += [
        Case(f"training follows the CPU: {name}", partial(_training, settings, name), limit=120) for name in followed
    ]
    found += [
        Case(f"one seed, the same bits: {name}", partial(_same_bits, settings, name), limit=120) for name in followed
    ]
    found.append(Case("model compiled", partial(_compiled, settings), limit=150))
    found.append(Case("model under autocast", partial(_autocast, settings)))
    return found


def _make(settings: Settings, dtype: torch.dtype, options: dict[str, Any]) -> tuple[SequenceModel, SequenceModel]:
    """The same model on the device and on the CPU."""
    torch.manual_seed(0)
    config = ModelConfig(input_size=3, output_size=2, hidden_size=32, head="every", **options)
    here, there = SequenceModel(config).to(dtype), SequenceModel(config).to(dtype)
    there.load_state_dict(here.state_dict())
    return there.to(settings.device), here


def _model(settings: Settings, name: str) -> dict[str, Any]:
    """Forward, chunks and steps, resets and gradients: in float64 as on the CPU, in float32 but for flipped gates."""
    B, T = (2, 40) if settings.tiny else (3, 300)
    model, other = _make(settings, torch.float64, MODELS[name])
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(B, T, 3, generator=draw, dtype=torch.float64)
    reset = torch.rand(B, T, generator=draw) < 0.02
    found, wanted = model(x.to(settings.device), reset=reset.to(settings.device))[0], other(x, reset=reset)[0]
    largest = {"forward": distance(found, wanted)}
    weight = torch.randn(wanted.shape, generator=draw, dtype=torch.float64)
    (found * weight.to(settings.device)).sum().backward()
    (wanted * weight).sum().backward()
    largest["gradients"] = _gradients_apart(model, other)
    with torch.no_grad():
        whole = model(x.to(settings.device))[0]
        largest["chunks"] = distance(_in_chunks(model, x.to(settings.device)), whole)
        largest["steps"] = distance(_in_steps(model, x[:, :40].to(settings.device)), whole[:, :40])
    limit = 1e-6 if name == "attention" else 1e-8
    assert all(value <= limit for value in largest.values()), f"over {limit}: {largest}"
    single, _ = _make(settings, torch.float32, MODELS[name])
    with torch.no_grad():
        y = single(x.float().to(settings.device))[0]
        chunks = _in_chunks(single, x.float().to(settings.device))
    shares = {"float32": _share_apart(y, whole), "float32 chunks": _share_apart(chunks, y)}
    return {"largest": largest, "share of answers further apart than 1e-3": shares}


def _gradients_apart(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(distance(a.grad, b.grad) for a, b in pairs if a.grad is not None and b.grad is not None)


def _packed(settings: Settings, name: str) -> dict[str, Any]:
    """Packed sequences with resets, each to a state of its own, in float64 as on the CPU: outputs and gradients."""
    torch.manual_seed(0)
    here = PACKED[name]().double()
    there = copy.deepcopy(here).to(settings.device)
    lengths, T = ([5, 2], 5) if settings.tiny else ([7, 100, 33], 100)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(T, len(lengths), 3, generator=draw, dtype=torch.float64)
    reset = torch.rand(len(lengths), T, generator=draw) < 0.1
    with torch.no_grad():
        state = here(x)[1]
        after = tree_map(lambda part: part.unsqueeze(2).expand(-1, -1, T, -1), state)
    largest, found = {}, []
    for unit, device in ((there, settings.device), (here, "cpu")):
        start, restart = (tree_map(lambda part, to=device: part.to(to), given) for given in (state, after))
        packed = pack_padded_sequence(x.to(device), torch.tensor(lengths), enforce_sorted=False)
        y, h = unit(packed, start, reset=reset.to(device), reset_state=restart)
        y.data.square().sum().backward()
        found.append((y.data, *tree_leaves(h)))
    for i, (one, other) in enumerate(zip(*found, strict=True)):
        largest["outputs" if i == 0 else f"state {i}"] = distance(one, other)
    largest["gradients"] = _gradients_apart(there, here)
    assert all(value <= 1e-8 for value in largest.values()), f"{largest}"
    return {"largest": largest}


def _share_apart(found: Tensor, wanted: Tensor) -> float:
    """The share of values apart by more than 1e-3 of the largest: where a gate flipped, or more is wrong."""
    apart = (found.double() - wanted.double()).abs() > 1e-3 * wanted.abs().max()
    return float(apart.double().mean())


def _in_chunks(model: SequenceModel, x: Tensor) -> Tensor:
    parts, state = [], None
    for chunk in x.split(37, dim=1):
        y, state = model(chunk, state)
        parts.append(y)
    return torch.cat(parts, dim=1)


def _in_steps(model: SequenceModel, x: Tensor) -> Tensor:
    parts, state = [], None
    for x_t in x.unbind(1):
        y_t, state = model.step(x_t, state)
        parts.append(y_t)
    return torch.stack(parts, dim=1)


def _train(model: SequenceModel, device: str, steps: int, task: FlipFlop) -> list[float]:
    """The losses of a short training, with epsilon falling where there is one."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for step in range(steps):
        x, y = task.batch(16, torch.Generator().manual_seed(step))
        if model.epsilon is not None and not model.config.unit.startswith("cmru"):
            model.set_epsilon(max(0.0, 1 - 2 * step / steps))
        loss = task.loss(model(x.to(device))[0], y.to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _task_model(task: FlipFlop, unit: str) -> SequenceModel:
    torch.manual_seed(0)
    return SequenceModel(
        ModelConfig(task.input_size, task.output_size, 16, unit=unit, encoder="embedding", head="every")
    )


def _training(settings: Settings, unit: str) -> dict[str, Any]:
    """The losses follow those of the CPU to 1e-3."""
    task, steps = FlipFlop(steps=64), 3 if settings.tiny else STEPS
    there = _train(_task_model(task, unit).to(settings.device), settings.device, steps, task)
    here = _train(_task_model(task, unit), "cpu", steps, task)
    apart = [abs(a - b) for a, b in zip(there, here, strict=True)]
    found = {"first loss": here[0], "last loss": here[-1], "furthest apart": max(apart)}
    assert max(apart) <= 1e-3, f"the losses are apart by {max(apart):.2e} in step {apart.index(max(apart))}: {found}"
    return found


def _same_bits(settings: Settings, unit: str) -> dict[str, Any]:
    """Two trainings from one seed end with the same weights."""
    task, steps = FlipFlop(steps=64), 3 if settings.tiny else STEPS
    models = []
    for _ in range(2):
        models.append(_task_model(task, unit).to(settings.device))
        _train(models[-1], settings.device, steps, task)
    for (name, one), other in zip(models[0].state_dict().items(), models[1].state_dict().values(), strict=True):
        assert torch.equal(one, other), f"{name} differs"
    return {"steps": steps}


def _compiled(settings: Settings) -> dict[str, Any]:
    """A compiled model answers as the model does, and so do its gradients."""
    if settings.tiny:
        return {"skipped": "takes a compiler"}
    model, _ = _make(settings, torch.float64, MODELS["bmru+lru"])
    x = torch.randn(2, 200, 3, dtype=torch.float64, device=settings.device)
    wanted = model(x)[0]
    gradients = torch.autograd.grad(wanted.square().sum(), list(model.parameters()))
    found = torch.compile(model)(x)[0]
    largest = {"forward": distance(found, wanted)}
    again = torch.autograd.grad(found.square().sum(), list(model.parameters()))
    largest["gradients"] = max(distance(a, b) for a, b in zip(again, gradients, strict=True))
    assert all(value <= 1e-8 for value in largest.values()), f"{largest}"
    return {"largest": largest}


def _autocast(settings: Settings) -> dict[str, Any]:
    """Under autocast products are in bfloat16; losses stay near, and gradients are finite."""
    shares = {}
    for unit in ("bmru",) if settings.tiny else ("mru", "bmru", "lru", "min_gru", "bmru+lru"):
        model, _ = _make(settings, torch.float32, {"unit": unit})
        x = torch.randn(2, 40 if settings.tiny else 200, 3, device=settings.device)
        with torch.autocast(settings.device, torch.bfloat16):
            y = model(x)[0]
        F.mse_loss(y.float(), torch.zeros_like(y, dtype=torch.float32)).backward()
        assert y.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        with torch.no_grad():
            wanted = model(x)[0]
        shares[unit] = float((y.detach().float() - wanted).square().mean() / wanted.square().mean())
        assert shares[unit] <= 0.3, f"the mean square apart is {shares}"
    return {"mean square apart, relative": shares}
