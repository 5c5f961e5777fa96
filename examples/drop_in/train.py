"""Trains a classifier of sequences in a loop of plain PyTorch, with any unit in the place of `torch.nn.GRU`.

What helps a latch to learn is an option each, so that its worth can be measured. A line with every option, the versions
and the score is appended to a file. Without a width, a unit gets the parameters of a GRU of 64.

python train.py --unit gru --rate 5e-3
python train.py --unit bmru --write-rates --initial-state low --taps 4 --gate-norm batch --anneal
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from remanent import UNITS, CausalConv1d, EpsilonSchedule, set_write_rates
from remanent._machine import versions
from remanent.tasks import TASKS, Task
from remanent.tasks.base import read_whole
from remanent.tasks.metrics import METRICS

TASK = {
    "mnist-rows": ("sequential-image", {"dataset": "mnist", "reading": "row", "padding": 0}),
    "digit-rows": ("sequential-image", {"dataset": "digits", "reading": "row", "padding": 0}),
    "spoken-digits": ("spoken-digits", {}),
}
"""Name to a task, and its options."""
GRU_SIZE = 64
"""The width of the GRU whose parameters the other units may have."""


class Classifier(nn.Module):
    """A unit of two layers, perhaps with a short convolution before it, and a linear map of its last output or all."""

    def __init__(self, rnn: nn.Module, task: Task, taps: int = 0) -> None:
        super().__init__()
        self.every = task.head == "every"
        self.conv = CausalConv1d(rnn.input_size, taps, batch_first=True) if taps else None
        self.rnn = rnn
        self.head = nn.Linear(rnn.hidden_size, task.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, classes), or (B, T, classes) where every step is asked, from sequences (B, T, M)."""
        x = x if self.conv is None else self.conv(x)[0]
        y, _ = self.rnn(x)
        return self.head(y if self.every else y[:, -1])


def make(options: argparse.Namespace, task: Task) -> Classifier:
    """The classifier, with torch's own GRU for "gru"."""
    chosen = {"initial_state": options.initial_state, "gate_norm": options.gate_norm}
    given = {name: value for name, value in chosen.items() if value is not None}
    if options.write_span is not None:
        given["write_span"] = None if options.write_span == "none" else int(options.write_span)
    kind = nn.GRU if options.unit == "gru" else UNITS[options.unit]

    def of_width(size: int) -> Classifier:
        rnn = kind(task.input_size, size, 2, batch_first=True, **given)
        return Classifier(rnn, task, options.taps)

    width = options.hidden_size
    if width is None:
        gru = nn.GRU(task.input_size, GRU_SIZE, 2)
        budget = parameters(Classifier(gru, task))
        with torch.device("meta"):  # they are only counted
            fitting = [size for size in range(4, 8 * GRU_SIZE, 4) if parameters(of_width(size)) <= budget]
        width = GRU_SIZE if options.unit == "gru" else max(fitting)
    torch.manual_seed(options.seed)
    return of_width(width)


def parameters(model: nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(p.numel() for p in model.parameters())


def train(options: argparse.Namespace, task: Task) -> tuple[Classifier, dict[str, float]]:
    """The trained classifier, and what the training took."""
    model = make(options, task)
    generator = torch.Generator().manual_seed(options.seed)
    first, _ = task.batch(options.batch_size, torch.Generator().manual_seed(options.seed))
    if options.write_rates:
        set_write_rates(model, first)
    schedule = EpsilonSchedule(model, options.steps, hold=0.0, ramp=options.ramp) if options.anneal else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, total_steps=options.steps)
    start, loss = time.perf_counter(), torch.tensor(torch.nan)
    for _ in range(options.steps):
        x, y = task.batch(options.batch_size, generator)
        loss = task.loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rates.step()
        if schedule is not None:
            schedule.step()
    return model.eval(), {"seconds": time.perf_counter() - start, "loss": loss.item()}


@torch.no_grad()
def accuracy(model: Classifier, task: Task, split: str) -> float:
    """The share of a split that is classified right."""
    metric, size, right = METRICS[task.metric], task.split_size(split), 0.0
    for start in range(0, size, 500):
        x, y = read_whole(task, split, start, min(start + 500, size), task.length)
        scores, _ = metric.finish(metric.tally(model(x), y))
        right += float(scores.sum())
    return right / size


def arguments() -> argparse.ArgumentParser:
    """The options of a training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASK, default="mnist-rows", help="what is classified")
    parser.add_argument("--unit", choices=sorted(UNITS), default="bmru", help="the unit; gru is torch's own")
    parser.add_argument("--hidden-size", type=int, help="the width of both layers; else a GRU's number of parameters")
    parser.add_argument("--steps", type=int, default=4800, help="how many optimiser steps")
    parser.add_argument("--batch-size", type=int, default=50, help="how many sequences in a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="the highest learning rate, of one cycle")
    parser.add_argument("--seed", type=int, default=0, help="the seed of weights and batches")
    parser.add_argument("--write-span", help="the span of the unit's first write rates, or none for thresholds of 1")
    parser.add_argument("--write-rates", action="store_true", help="set write rates on the first batch")
    parser.add_argument("--initial-state", help="the initial state of the unit, such as low")
    parser.add_argument("--taps", type=int, default=0, help="the steps of a convolution before the unit; 0 for none")
    parser.add_argument("--gate-norm", help="how the gates of a latch are normalised: layer or batch")
    parser.add_argument("--anneal", action="store_true", help="take epsilon from 1 to 0")
    parser.add_argument("--ramp", type=float, default=0.4, help="the share of the steps in which epsilon falls")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=VALUE", help="options of the task")
    parser.add_argument("--out", type=Path, help="the file that a line of JSON is appended to")
    return parser


def main(given: list[str] | None = None) -> None:
    """Trains once with the options given, those of the command line if None, and appends what was found."""
    options = arguments().parse_args(given)
    torch.set_num_threads(options.threads)
    name, fixed = TASK[options.task]
    own = {key: json.loads(value) for key, value in (item.split("=", 1) for item in options.set)}
    task = TASKS[name](**fixed, **own)
    model, took = train(options, task)
    found = {
        **{key: value for key, value in vars(options).items() if key != "out"},
        "width": model.rnn.hidden_size,
        "parameters": parameters(model),
        **{split: accuracy(model, task, split) for split in ("validation", "test")},
        **took,
        "versions": versions(),
    }
    print(json.dumps(found))
    if options.out is not None:
        with options.out.open("a") as file:
            file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
