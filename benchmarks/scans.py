"""Times the scans against the floor that memory sets: `python benchmarks/scans.py [B T D]`.

The floor is the bytes a pass must read and write over the bandwidth of a copy, measured in the same
run and on the same number of threads (one: the kernels use one). Medians over alternating repeats.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from remanent.ops import latch_scan, linear_scan

REPEATS = 21


def cases(B: int, T: int, D: int) -> dict[str, tuple[Callable[[], object], int]]:
    """Name to (what to time, how many (B, T, D) arrays it must move at least)."""
    torch.manual_seed(0)
    candidate, threshold, value, grad = (torch.randn(B, T, D) for _ in range(4))
    alpha, decay = torch.ones(D), torch.rand(D)
    leaves = [v.clone().requires_grad_() for v in (candidate, threshold, alpha)]
    linear_leaves = [decay.clone().requires_grad_(), value.clone().requires_grad_()]

    def latch_both(backend: str) -> None:
        torch.autograd.grad(latch_scan(*leaves, backend=backend), leaves, grad)

    def linear_both(backend: str) -> None:
        torch.autograd.grad(linear_scan(*linear_leaves, backend=backend), linear_leaves, grad)

    timed: dict[str, tuple[Callable[[], object], int]] = {}
    for backend in ("cpu", "portable"):
        timed |= {
            f"latch forward, {backend}": (lambda b=backend: latch_scan(candidate, threshold, alpha, backend=b), 3),
            f"latch forward + backward, {backend}": (lambda b=backend: latch_both(b), 3 + 6),
            f"linear forward, {backend}": (lambda b=backend: linear_scan(decay, value, backend=b), 2),
            f"linear forward + backward, {backend}": (lambda b=backend: linear_both(b), 2 + 3),
        }
    return timed


def main() -> None:
    """Prints one line a case: its median, its floor, and the ratio."""
    B, T, D = map(int, sys.argv[1:4]) if len(sys.argv) > 3 else (8, 1024, 256)
    torch.set_num_threads(1)
    source, target = torch.randn(8, B, T, D), torch.empty(8, B, T, D)
    timed = cases(B, T, D)
    times: dict[str, list[float]] = {name: [] for name in (*timed, "copy")}
    for _ in range(REPEATS):
        for name, (run, _arrays) in (*timed.items(), ("copy", (lambda: target.copy_(source), 16))):
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    copy = statistics.median(times["copy"]) / 16
    print(f"(B, T, D) = {(B, T, D)}, float32, one thread; copy {4 * B * T * D / copy / 1e9:.1f} GB/s each way")
    for name, (_, arrays) in timed.items():
        median = statistics.median(times[name])
        floor = arrays * copy
        print(f"{name:36} {1e3 * median:8.2f} ms   floor {1e3 * floor:6.2f} ms   ratio {median / floor:6.1f}")


if __name__ == "__main__":
    main()
