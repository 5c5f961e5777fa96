"""What a model learns in three minutes: permuted MNIST, padded to 1,000 steps."""

import math
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor

from remanent.bench.gpu.cases import Case, Settings
from remanent.models import ModelConfig, SequenceModel
from remanent.tasks import SequentialImage
from remanent.tasks.base import Task

UNIT = "bmru+lru"
"""The unit that keeps its accuracy at every length on this task (docs/results.md)."""
BATCH = 64
LEARNING_RATE, WEIGHT_DECAY, WARMUP, CLIP = 6e-3, 0.01, 0.1, 1.0
HOLD, RAMP = 0.05, 0.6
"""The shares of the steps in which epsilon stays at 1 and then falls to 0: those of the recipe `permuted-mnist`."""
TRIAL = 30
"""Steps that are timed first, to know how many fit."""


def cases(settings: Settings) -> list[Case]:
    """One training, tested at the length of training and at ten times that."""
    return [Case("permuted MNIST, padded to 1,000 steps", partial(_learn, settings), limit=settings.learn_seconds + 60)]


def _learn(settings: Settings) -> dict[str, Any]:
    task: Task
    if settings.tiny:
        from remanent.tasks import FlipFlop

        task = FlipFlop(steps=20)
        config = ModelConfig(task.input_size, task.output_size, 8, encoder="embedding", head="every")
    else:
        task = SequentialImage(dataset="mnist", reading="pixel", permuted=True, padding=216, data_dir=settings.data_dir)
        config = ModelConfig(1, 10, unit=UNIT, r_min=0.5, r_max=0.95, clock="sinusoid", clock_span=784)
    start = time.perf_counter()
    draw = torch.Generator().manual_seed(0)
    _train(_model(config, settings), task, settings, 2 if settings.tiny else TRIAL, draw)  # compiles kernels
    begin = time.perf_counter()
    trial = 2 if settings.tiny else TRIAL
    _train(_model(config, settings), task, settings, trial, draw)
    rate = trial / (time.perf_counter() - begin)
    left = settings.learn_seconds - (time.perf_counter() - start)
    steps = 3 if settings.tiny else max(100, int(rate * left))
    model, begin = _model(config, settings), time.perf_counter()
    losses = _train(model, task, settings, steps, draw)
    seconds = time.perf_counter() - begin
    scores = (
        {}
        if settings.tiny
        else {str(k): _accuracy(model, task, settings, k, n) for k, n in ((216, 10_000), (2160, 1000))}
    )
    return {
        "unit": config.unit,
        "parameters": sum(p.numel() for p in model.parameters()),
        "training steps": steps,
        "batch": BATCH,
        "training seconds": seconds,
        "steps a second": steps / seconds,
        "losses": losses,
        "accuracy by empty steps": scores,
    }


def _model(config: ModelConfig, settings: Settings) -> SequenceModel:
    torch.manual_seed(0)
    return SequenceModel(config).to(settings.device)


def _train(model: SequenceModel, task: Task, settings: Settings, steps: int, draw: torch.Generator) -> list[float]:
    """Trains by the recipe in so many steps, and returns some losses."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    rising, kept = max(1, round(WARMUP * steps)), []
    for step in range(steps):
        share = (
            (step + 1) / rising
            if step < rising
            else 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
        )
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * share
        model.set_epsilon(1.0 if step / steps < HOLD else max(0.0, 1 - (step / steps - HOLD) / RAMP))
        x, y = task.batch(4 if settings.tiny else BATCH, draw)
        loss = task.loss(model(x.to(settings.device, non_blocking=True))[0], y.to(settings.device, non_blocking=True))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        if step % max(1, steps // 40) == 0 or step == steps - 1:
            kept.append(round(loss.item(), 4))
            assert math.isfinite(kept[-1]), f"the loss is {kept[-1]} in step {step}"
    model.set_epsilon(0.0)
    return kept


@torch.inference_mode()
def _accuracy(model: SequenceModel, task: Task, settings: Settings, padding: int, count: int) -> float:
    """The share of right answers in the test split's first images, with so many empty steps after each."""
    right, batch = 0, 250
    for start in range(0, count, batch):
        answer, target = _answer(model, task, settings, start, min(start + batch, count), padding)
        right += int((answer.argmax(-1) == target).sum())
    return right / count


def _answer(
    model: SequenceModel, task: Task, settings: Settings, start: int, stop: int, padding: int
) -> tuple[Tensor, Tensor]:
    state, output, target = None, None, None
    for x, y in task.stream("test", start, stop, padding):
        output, state = model(x.to(settings.device), state)
        target = y
    assert output is not None
    assert target is not None
    return output, target.to(settings.device)
