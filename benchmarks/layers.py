"""Times a layer of every unit beside torch's GRU and LSTM, forward and backward: `python benchmarks/layers.py [B T D]`.

Plain, with lengths, with resets, and packed; all on one thread, the same input, medians over repeats that
alternate between the units.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from remanent import UNITS

REPEATS = 5
WAYS = ("plain", "lengths", "reset", "packed")


def cases(B: int, T: int, D: int) -> dict[str, dict[str, Callable[[], None]]]:
    """Unit to way to what is timed."""
    torch.manual_seed(0)
    x = torch.randn(B, T, D)
    lengths = torch.full((B,), T)
    lengths[0] = T - T // 40
    reset = torch.zeros(B, T, dtype=torch.bool)
    reset[:, T // 2] = True
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)

    def both(unit: nn.Module, input: Any, options: dict[str, Any]) -> None:
        y, _ = unit(input, **options)
        (y if isinstance(y, torch.Tensor) else y.data).sum().backward()

    makers: dict[str, Callable[..., nn.Module]] = {**UNITS, "torch GRU": nn.GRU, "torch LSTM": nn.LSTM}
    timed = {}
    for name, make in makers.items():
        unit = make(D, D, batch_first=True)
        calls: dict[str, tuple[Any, dict[str, Any]]] = {"plain": (x, {}), "packed": (packed, {})}
        if name in UNITS:
            calls |= {"lengths": (x, {"lengths": lengths}), "reset": (x, {"reset": reset})}
        timed[name] = {way: (lambda u=unit, c=call: both(u, *c)) for way, call in calls.items()}
    return timed


def main() -> None:
    """Prints one line a unit: its median milliseconds, each way."""
    B, T, D = map(int, sys.argv[1:4]) if len(sys.argv) > 3 else (8, 1024, 256)
    torch.set_num_threads(1)
    timed = cases(B, T, D)
    times: dict[tuple[str, str], list[float]] = {(name, way): [] for name, ways in timed.items() for way in ways}
    for repeat in range(REPEATS + 1):  # the first is not counted
        for name, way in times:
            start = time.perf_counter()
            timed[name][way]()
            if repeat:
                times[name, way].append(1e3 * (time.perf_counter() - start))
    print(f"(B, T, D) = {(B, T, D)} to {D}, float32, one thread, torch {torch.__version__}, forward and backward in ms")
    print(f"{'':12}" + "".join(f"{way:>10}" for way in WAYS))
    for name, ways in timed.items():
        shown = [f"{statistics.median(times[name, way]):10.1f}" if way in ways else f"{'-':>10}" for way in WAYS]
        print(f"{name:12}" + "".join(shown))


if __name__ == "__main__":
    main()
