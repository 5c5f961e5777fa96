"""The section on length: time and memory of longer and longer sequences, with B T fixed."""

import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from remanent.bench import peers
from remanent.bench.passes import latch_both, layer_both, linear_both, normal_inputs
from remanent.bench.timing import Case, Row, Settings, measure
from remanent.units import BMRU

STEPS, WIDTH = 2**20, 64
"""The steps of all sequences together, B T, and the width D."""
LENGTHS = tuple(2**i for i in range(8, 21, 2))
"""The lengths T that are timed."""
QUICK_STEPS, QUICK_WIDTH, QUICK_LENGTHS = 2**14, 64, (16, 64)
"""The sizes of a quick trial."""
LONGEST = 20.0
"""The most seconds that a run of a layer with a loop over time may take; longer ones are skipped."""
CASES = ("latch_scan", "linear_scan", "BMRU", "nn.GRU", "jax associative_scan", "mambapy pscan")


def time_length(settings: Settings) -> list[Row]:
    """Times both passes and measures their memory; a loop over time is skipped where it would take too long."""
    steps, width = (QUICK_STEPS, QUICK_WIDTH) if settings.quick else (STEPS, WIDTH)
    lengths = QUICK_LENGTHS if settings.quick else LENGTHS
    rows: list[Row] = []
    for T in lengths:
        shape = (steps // T, T, width)
        group = measure("length", dict(zip("BTD", shape, strict=True)), _cases(shape, rows), settings.repeats)
        for row in group:
            if row.median and (not settings.quick or lengths[-1] == T):  # a process each, which takes seconds
                row.peak_bytes, row.note = measure_memory(row.case, shape, settings)
        rows += group
    return rows


def prepare(name: str, value: Tensor, gate: Tensor, grad: Tensor) -> Callable[[], object]:
    """The run of both passes of the case of a name; `gate`, in (0, 1), is its threshold or decay."""
    D = value.shape[-1]
    torch.manual_seed(0)
    if name == "latch_scan":
        return latch_both(value, gate, grad)
    if name == "linear_scan":
        return linear_both(gate, value, grad)
    if name == "BMRU":
        return layer_both(BMRU(D, D, batch_first=True), value, grad)
    if name == "nn.GRU":
        return layer_both(nn.GRU(D, D, batch_first=True), value, grad)
    return peers.SCANS[name](gate, value, grad).run


def measure_memory(name: str, shape: tuple[int, int, int], settings: Settings) -> tuple[int | None, str]:
    """The bytes that both passes need beside their inputs, measured in a new process; or None, and the reason."""
    arguments = [name, *map(str, shape), str(settings.threads), settings.allocator]
    command = [sys.executable, "-P", "-m", "remanent.bench.peak_memory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return int(done.stdout), ""
    last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return None, f"memory not measured: {last[:160]}"


def _cases(shape: tuple[int, int, int], earlier: list[Row]) -> list[Case]:
    value, gate, grad = normal_inputs(3, *shape)
    gate.sigmoid_()
    cases = []
    for name in CASES:
        too_long = _too_long(name, shape[1], earlier) if name == "nn.GRU" else None
        if too_long is not None:
            cases.append(Case(name, None, too_long))
            continue
        try:
            cases.append(Case(name, prepare(name, value, gate, grad)))
        except Exception as error:
            cases.append(Case(name, None, peers.reason(error)))
    return cases


def _too_long(name: str, T: int, earlier: list[Row]) -> str | None:
    """The reason to skip a length, if a time in proportion to that of the last length is too long; else None."""
    known = [row for row in earlier if row.case == name and row.median]
    if not known or not known[-1].median:
        return None
    seconds = known[-1].median * T / known[-1].shape["T"]
    if seconds < LONGEST:
        return None
    return f"skipped: could take up to {seconds:.0f} s by the time at {known[-1].shape['T']:,} steps"
