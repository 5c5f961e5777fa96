"""A process that prints by how many bytes the memory of a case grows.

It is run as `python -m remanent.bench.peak_memory CASE B T D THREADS ALLOCATOR`, the last one "default" or "reuse".
"""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from remanent._allocator import reuse_freed_memory
from remanent.bench.length import prepare
from remanent.bench.passes import normal_inputs

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main() -> None:
    """Measures the case that the arguments name."""
    name, *shape, threads, allocator = sys.argv[1:]
    B, T, D = map(int, shape)
    torch.set_num_threads(int(threads))
    if allocator == "reuse":
        reuse_freed_memory()
    value, gate, grad = normal_inputs(3, 1, 8, D)
    prepare(name, value, gate.sigmoid_(), grad)()  # loads and compiles all that is independent of the shape
    value, gate, grad = normal_inputs(3, B, T, D)
    run = prepare(name, value, gate.sigmoid_(), grad)
    before = _start()
    run()
    print(_peak() - before)


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
