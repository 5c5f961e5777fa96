"""Times what the library computes beside what others do, in one process and one case after the other."""

from remanent.bench.run import ALLOCATORS, SECTIONS, run_bench

__all__ = ["ALLOCATORS", "SECTIONS", "run_bench"]
