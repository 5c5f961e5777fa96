"""The scans on a GPU: how kernels are launched, and the Triton kernels."""
