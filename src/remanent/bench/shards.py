"""The section on shared work: the same training step, and the same scan, in one process and in two."""

import multiprocessing
import tempfile
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from remanent.bench.passes import latch_both, normal_inputs
from remanent.bench.scaling import Device, Plan, count_layer, step_cost
from remanent.bench.timing import Case, Row, Settings, add_ratios, measure
from remanent.models import ModelConfig, SequenceModel
from remanent.ops import latch_scan

PROCESSES = 2
"""The number of processes that share the work."""
BLOCKS, WIDTH, INPUT_SIZE = 2, 64, 16
"""The sizes of the model whose training step is timed."""
SHAPES = ((8, 4096), (2, 65536))
"""The shapes (B, T) of the training step."""
QUICK_SHAPES = ((2, 64),)
"""The shapes (B, T) of a quick trial."""
SCAN_SHAPE, QUICK_SCAN_SHAPE = (16, 4096, 256), (2, 64, 8)
"""The shapes (B, T, D) of the latch scan, and of a quick trial of it."""


class RateSizes(NamedTuple):
    """The sizes with which the rates of a machine are measured.

    Attributes:
        products: the side of the square matrices that are multiplied.
        copies: how many numbers are copied.
        link: how many numbers are summed over the processes.
    """

    products: int
    copies: int
    link: int


RATE_SIZES = RateSizes(products=512, copies=2**24, link=2**22)
"""The sizes of a measurement."""
QUICK_RATE_SIZES = RateSizes(products=32, copies=2**10, link=2**10)
"""The sizes of a quick trial."""


def time_shards(settings: Settings) -> list[Row]:
    """Times one process and two, of one thread each, which share the batch or the time; and compares the modelled cost.

    Both processes meet before each run, and a shared run ends when both have ended.
    """
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as meeting:
        started = [
            context.Process(target=_work, args=(rank, str(Path(meeting) / "meeting"), settings, writer), daemon=True)
            for rank in range(PROCESSES)
        ]
        for process in started:
            process.start()
        writer.close()
        try:
            found: list[Row] = reader.recv()
        except EOFError:
            raise RuntimeError("the processes of the section shards ended before they sent their results") from None
        for process in started:
            process.join()
    return found


def _work(rank: int, meeting: str, settings: Settings, writer: Connection) -> None:
    """Runs one of the processes, the first of which sends the rows."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=PROCESSES)
    rows = _rates(rank, settings)
    device = device_of({row.case: row.median or float("nan") for row in rows}, _rate_sizes(settings))
    for B, T in QUICK_SHAPES if settings.quick else SHAPES:
        rows += _steps(rank, B, T, device, settings)
    rows += _scan(rank, *(QUICK_SCAN_SHAPE if settings.quick else SCAN_SHAPE), settings)
    dist.destroy_process_group()
    if rank == 0:
        writer.send(rows)


def _rates(rank: int, settings: Settings) -> list[Row]:
    """The rates of the machine that the model of the cost needs: products, copies, and what two processes send."""
    sizes = _rate_sizes(settings)
    a, b = torch.randn(2, sizes.products, sizes.products)
    source, target = torch.randn(2, sizes.copies)
    sent, little = torch.randn(sizes.link), torch.zeros(1)
    cases = [
        Case("product of matrices", _on_first(rank, lambda: a @ b)),
        Case("copy", _on_first(rank, lambda: target.copy_(source))),
        Case("sum over processes", _on_both(lambda: dist.all_reduce(sent))),
        Case("a number over processes", _on_both(lambda: dist.all_reduce(little))),
    ]
    return measure("shards", {"processes": PROCESSES}, cases, settings.repeats)


def device_of(seconds: dict[str, float], sizes: RateSizes = RATE_SIZES) -> Device:
    """One process as a device in the model of the cost.

    Args:
        seconds: the times of the section's first cases, by name.
        sizes: the sizes with which they were measured.
    """
    return Device(
        products=2 * sizes.products**3 / seconds["product of matrices"],
        copies=2 * 4 * sizes.copies / seconds["copy"],
        link=4 * sizes.link / seconds["sum over processes"],
        latency=seconds["a number over processes"],
        memory=float("inf"),
    )


def _rate_sizes(settings: Settings) -> RateSizes:
    return QUICK_RATE_SIZES if settings.quick else RATE_SIZES


def _steps(rank: int, B: int, T: int, device: Device, settings: Settings) -> list[Row]:
    """Times a training step of a model of BMRUs."""
    config = ModelConfig(INPUT_SIZE, INPUT_SIZE, hidden_size=WIDTH, num_layers=BLOCKS, unit="bmru", head="every")
    torch.manual_seed(0)
    model, x = SequenceModel(config), torch.randn(B, T, INPUT_SIZE)
    group = dist.group.WORLD
    cases = [
        Case("one process", _on_first(rank, partial(_step, model, x, None, False))),
        Case("two share the batch", _on_both(partial(_step, model, x.tensor_split(PROCESSES)[rank], None, True))),
        Case("two share the time", _on_both(partial(_step, model, x.tensor_split(PROCESSES, 1)[rank], group, True))),
    ]
    rows = measure("shards", {"B": B, "T": T, "D": WIDTH}, cases, settings.repeats)
    add_ratios(rows, "over one process", "one process")
    layer = count_layer(config)
    plans = (Plan(B, T), Plan(B, T, data=PROCESSES), Plan(B, T, time=PROCESSES))
    for row, plan in zip(rows, plans, strict=True):
        if row.median:
            row.ratios["computed over measured"] = step_cost(layer, BLOCKS, plan, device).seconds / row.median
    return rows


def _step(model: SequenceModel, x: torch.Tensor, group: Any, shared: bool) -> None:
    """Runs both passes; where work is `shared`, the gradients are summed over the processes."""
    model.zero_grad()
    y, _ = model(x, group=group)
    y.square().mean().backward()
    if shared:
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        dist.all_reduce(gradients)


def _scan(rank: int, B: int, T: int, D: int, settings: Settings) -> list[Row]:
    """Times both passes of the latch scan, whole and in two parts of time."""
    candidate, threshold = normal_inputs(2, B, T, D)
    grad = torch.ones_like(candidate)
    mine = [value.tensor_split(PROCESSES, 1)[rank].contiguous() for value in (candidate, threshold, grad)]
    leaves = [value.requires_grad_() for value in (mine[0], mine[1], torch.ones(D))]

    def sharded() -> None:
        torch.autograd.grad(latch_scan(*leaves, group=dist.group.WORLD), leaves, mine[2])

    cases = [
        Case("latch scan, one process", _on_first(rank, latch_both(candidate, threshold, grad))),
        Case("latch scan, two share the time", _on_both(sharded)),
    ]
    rows = measure("shards", {"B": B, "T": T, "D": D}, cases, settings.repeats)
    add_ratios(rows, "over one process", cases[0].name)
    return rows


def _on_first(rank: int, run: Callable[[], object]) -> Callable[[], object]:
    """The run on the first process alone, while the other one waits."""

    def alone() -> None:
        dist.barrier()
        if rank == 0:
            run()

    return alone


def _on_both(run: Callable[[], object]) -> Callable[[], object]:
    """The run on both processes."""

    def together() -> None:
        dist.barrier()
        run()
        dist.barrier()

    return together
