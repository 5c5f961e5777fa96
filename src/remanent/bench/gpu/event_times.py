"""Times on a GPU, by its own events: launched one by one, and replayed as a graph, which leaves the host out."""

import statistics
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

SECONDS = 0.15
"""How long a case is repeated for."""
COPIED = 2**28
"""Elements of the copy that sets the bandwidth."""


def clock(run: Callable[[], Any], device: str, *, graph: bool = True) -> dict[str, Any]:
    """The median time of a run in milliseconds, launched by the host and as a graph.

    Returns:
        "ms" and, where it could be captured, "graph_ms", else "graph_error"; "repeats" and "spread_ms", from the
        lower to the upper quartile of "ms".
    """
    if device != "cuda":
        start = time.perf_counter()
        run()
        return {"ms": 1e3 * (time.perf_counter() - start), "repeats": 1}
    found = _events(run)
    if graph:
        try:
            found["graph_ms"] = _events(_captured(run))["ms"]
        except Exception as error:
            found["graph_error"] = str(error).strip().splitlines()[0][:160]
            torch.cuda.synchronize()
    return found


@cache
def bandwidth(device: str, tiny: bool = False) -> float:
    """The bytes a second that a large copy reads and writes."""
    source = torch.randn(1024 if tiny else COPIED, device=device)
    target = torch.empty_like(source)
    times = clock(lambda: target.copy_(source), device, graph=False)
    return 2e3 * source.nbytes / times["ms"]


def _events(run: Callable[[], Any]) -> dict[str, Any]:
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    repeats = max(5, min(100, int(SECONDS / (time.perf_counter() - start + 1e-6))))
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for first, last in pairs:
        first.record()
        run()
        last.record()
    torch.cuda.synchronize()
    times = sorted(first.elapsed_time(last) for first, last in pairs)
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"ms": median, "spread_ms": high - low, "repeats": repeats}


def _captured(run: Callable[[], Any]) -> Callable[[], Any]:
    """The run as a graph; what it allocates is kept as long as the graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay
