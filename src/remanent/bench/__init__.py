"""Benchmarks: the speed of the library beside that of others, and the cost of a model on a chip."""

from remanent.bench.chip import ChipScore, measure_chip
from remanent.bench.sections import ALLOCATORS, SECTIONS, run_bench

__all__ = ["ALLOCATORS", "SECTIONS", "ChipScore", "measure_chip", "run_bench"]
