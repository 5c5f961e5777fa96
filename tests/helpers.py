"""Comparisons that several test files use."""

from torch import Tensor


def assert_close(actual: Tensor, expected: Tensor, tolerance: float, name: str) -> None:
    """Same dtype and shape, and the largest difference within `tolerance` of the largest value."""
    assert actual.dtype == expected.dtype, name
    assert actual.shape == expected.shape, name
    wide = expected.cdouble() if expected.is_complex() else expected.double()
    error = (actual - wide).abs().max() / wide.abs().max().clamp(min=1e-300)
    assert error <= tolerance, f"{name}: relative error {error:.2e}"
