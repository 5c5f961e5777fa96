"""The scans on the CPU: how they are cut for threads, how kernels are run, and the Numba kernels."""
