"""The robustness of a trained model to imprecise parameters, noisy inputs and weights of few bits."""

import copy
import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import count as count_from
from typing import Any

import torch
from torch import Tensor

from remanent._machine import commit, versions
from remanent._options import check_at_least, check_range
from remanent._terminal import progress_bar
from remanent.models import SequenceModel
from remanent.models.imprecise import check_bits, perturbed, quantized
from remanent.tasks import Task
from remanent.tasks.base import derive_seed
from remanent.training.evaluate import evaluate

NOISE = (0.05, 0.10, 0.15)
"""The default noise on parameters: r, three standard deviations of the relative error."""
INPUT_NOISE = (0.1, 0.2, 0.5)
"""The default noise on inputs: a standard deviation, relative to that of the inputs."""
BITS = (8, 4)
"""The default numbers of bits of weights."""
BATCH = 64
"""The sequences that run together; it is not an option, since the noise on an input depends on it."""


def robustness(
    model: SequenceModel,
    task: Task,
    *,
    noise: Sequence[float] = NOISE,
    input_noise: Sequence[float] | None = None,
    bits: Sequence[int] = BITS,
    draws: int = 5,
    seed: int = 0,
    length: int | None = None,
    split: str = "test",
    examples: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    r"""Scores a model as it was trained, and with its parameters, inputs or weights disturbed, one kind at a time.

    - Parameters: each is multiplied by $1 + \mathcal{N}(0, r / 3)$, as the model stores it (see `perturbed`); a draw
      is one set of errors, which holds for the whole split.
    - Inputs: $x + \mathcal{N}(0, s \sigma)$ with one $\sigma$, the standard deviation over all numbers of the
      examples at the training length. Every number of every step gets noise of its own, including padding and flags.
      Tokens cannot be disturbed.
    - Weights: matrices become integers of a few bits with a scale for each row (see `quantized`), vectors stay as
      they are.

    Each draw has a seed of its own, from `seed` and its number, which is the same for every size of noise.

    Args:
        model: a trained model, which is not changed.
        task: the task that it was trained on.
        noise: the sizes r of the noise on parameters, each at least 0.
        input_noise: the sizes s of the noise on inputs, each at least 0; None for `INPUT_NOISE`, or for no noise if
            inputs are tokens.
        bits: the numbers of bits of weights, each from 2 to 8.
        draws: how often each noise is drawn, at least 1.
        seed: the seed of all noise, at least 0.
        length: the length of the sequences, as the task counts it; the training length if None.
        split: "test" or "validation".
        examples: how many examples of the split are scored, from its beginning; all if None.
        progress: whether a progress bar is drawn, on stderr.

    Returns:
        Plain values, as JSON holds them: `score` as trained; `parameter_noise` and `input_noise`, with the `scores` of
        all draws for each `size`, their `mean` and their sample `std` (None for one draw); `weights`, with the `score`
        for each number of `bits`; `input_deviation`; task, unit, split and length; commit, versions and machine. A
        score that is not finite is None, and so is a mean over it. `input_noise` is None if inputs are tokens.

    Raises:
        ValueError: a value is out of its range, input noise is given for tokens, or no disturbance is given.
        TypeError: a value is of another type.

    >>> from remanent.tasks import CopyFirst
    >>> from remanent import ModelConfig
    >>> model = SequenceModel(ModelConfig(input_size=1, output_size=1, hidden_size=4, num_layers=1))
    >>> measured = robustness(model, CopyFirst(steps=5), noise=[0.0], input_noise=[], bits=[], draws=1)
    >>> measured["parameter_noise"][0]["scores"] == [measured["score"]]
    True
    """
    input_noise = _checked(task, noise, input_noise, bits, draws, seed)
    count = task.split_size(split) if examples is None else examples
    measured: dict[str, Any] = _about(model, task, split, count, length) | {"draws": draws, "seed": seed}
    model = copy.deepcopy(model)  # scoring changes its mode

    total = 1 + draws * (len(noise) + len(input_noise)) + len(bits)
    note, done = f"scoring {task.name} {model.config.unit} {total} times", count_from(1)
    with progress_bar(total) if progress else nullcontext(lambda *_: None) as show:

        def score(disturbed: SequenceModel, on_inputs: Callable[[Tensor], Tensor] | None = None) -> float | None:
            options = {"length": length, "split": split, "examples": count, "batch_size": BATCH}
            value = evaluate(disturbed, task, **options, noise=on_inputs)  # type: ignore[arg-type]
            show(next(done), note)
            return value if math.isfinite(value) else None

        def with_parameters(size: float, draw: int) -> float | None:
            return score(perturbed(model, size, _generator("parameters", seed, draw)))

        def with_inputs(size: float, draw: int) -> float | None:
            return score(model, _adder(size * deviation, _generator("inputs", seed, draw)))

        measured["score"] = score(model)
        measured["parameter_noise"] = [_level(size, draws, with_parameters) for size in noise]
        deviation = input_deviation(task, split, count) if input_noise else 0.0
        measured["input_deviation"] = deviation if input_noise else None
        measured["input_noise"] = None if task.tokens else [_level(size, draws, with_inputs) for size in input_noise]
        measured["weights"] = [{"bits": each, "score": score(quantized(model, each))} for each in bits]
    return measured | {"commit": commit(), **versions()}


def input_deviation(task: Task, split: str, examples: int) -> float:
    """The standard deviation over all numbers in the first examples of a split, at the training length.

    The same value is used at every length, so that a sensor does not become noisier as it is read for longer.
    """
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, examples, BATCH):
        stop = min(start + BATCH, examples)
        lengths = task.lengths(split, start, stop)
        for x, _ in task.stream(split, start, stop, task.length):
            wide = (x if lengths is None else x[torch.arange(x.shape[1]) < lengths[:, None]]).double()
            count += wide.numel()
            total += wide.sum().item()
            squares += wide.square().sum().item()
    return math.sqrt(max(0.0, squares / count - (total / count) ** 2))


def _checked(
    task: Task,
    noise: Sequence[float],
    input_noise: Sequence[float] | None,
    bits: Sequence[int],
    draws: int,
    seed: int,
) -> Sequence[float]:
    """Checks the options of `robustness`, and gives its input noise where that is None."""
    if task.tokens and input_noise:
        given = ", ".join(map(str, input_noise))
        raise ValueError(
            f"`input_noise` must not be given for the task {task.name}, whose inputs are tokens, got {given}"
        )
    if input_noise is None:
        input_noise = () if task.tokens else INPUT_NOISE
    for name, sizes in (("noise", noise), ("input_noise", input_noise)):
        for size in sizes:
            check_range(name, size, 0, math.inf)
    for each in bits:
        check_bits(each)
    if not (noise or input_noise or bits):
        raise ValueError("`noise`, `input_noise` or `bits` must name at least one size, got none")
    check_at_least("draws", draws, 1)
    check_at_least("seed", seed, 0)
    return input_noise


def _about(model: SequenceModel, task: Task, split: str, examples: int, length: int | None) -> dict[str, Any]:
    return {
        "task": task.name,
        "unit": model.config.unit,
        "metric": task.metric,
        "chance": task.chance,
        "split": split,
        "examples": examples,
        "length": task.length if length is None else length,
        "length_name": task.length_name,
    }


def _level(size: float, draws: int, score: Callable[[float, int], float | None]) -> dict[str, Any]:
    """The scores of all draws of noise of one size, with their mean and standard deviation."""
    scores = [score(size, draw) for draw in range(draws)]
    finite = [value for value in scores if value is not None]
    whole = len(finite) == draws
    return {
        "size": size,
        "scores": scores,
        "mean": statistics.fmean(finite) if whole else None,
        "std": statistics.stdev(finite) if whole and draws > 1 else None,
    }


def _generator(kind: str, seed: int, draw: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed("robustness", kind, seed, draw))


def _adder(deviation: float, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    return lambda x: x + deviation * torch.randn(x.shape, generator=generator, dtype=x.dtype)
