"""A process that prints by how many bytes the memory of a case grows.

It is run as `python -m remanent.bench.peak_memory CASE B T D THREADS ALLOCATOR`, the last one "default" or "reuse". A
case of the section on packed sequences is "packed" and a layer; T is then the length of the longest sequence.
"""

import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from remanent._allocator import reuse_freed_memory
from remanent.bench.length import prepare
from remanent.bench.packed import packed_forward, packed_input
from remanent.bench.passes import normal_inputs

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main() -> None:
    """Measures the case that the arguments name."""
    name, *shape, threads, allocator = sys.argv[1:]
    B, T, D = map(int, shape)
    torch.set_num_threads(int(threads))
    if allocator == "reuse":
        reuse_freed_memory()
    _prepare(name, 2, 40, D)()  # loads and compiles all that is independent of the shape
    run = _prepare(name, B, T, D)
    before = _start()
    run()
    print(_peak() - before)


def _prepare(name: str, B: int, T: int, D: int) -> Callable[[], object]:
    """A run of the case of a name with inputs of its own."""
    if name.startswith("packed "):
        return packed_forward(name.removeprefix("packed "), packed_input(B, T, 2 * D), D)
    value, gate, grad = normal_inputs(3, B, T, D)
    return prepare(name, value, gate.sigmoid_(), grad)


def _start() -> int:
    """The peak so far in bytes, reset to the memory in use where the system can do that."""
    with suppress(OSError):
        CLEAR.write_text("5")
    return _peak()


def _peak() -> int:
    # getrusage reports at least the peak of the process that started this one
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
