"""Grids of runs: combinations, jobs, workers, storage."""
