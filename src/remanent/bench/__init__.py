"""Times what the library computes beside what others do, and measures what a model costs on a chip."""

from remanent.bench.chip import ChipScore, measure_chip
from remanent.bench.run import ALLOCATORS, SECTIONS, run_bench

__all__ = ["ALLOCATORS", "SECTIONS", "ChipScore", "measure_chip", "run_bench"]
