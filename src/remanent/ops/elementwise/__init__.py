"""What treats each step alone between two products, in one pass over memory forward and one backward."""

from remanent.ops.elementwise.sum_norm import SumAndNorm, add_rms_norm

__all__ = ["SumAndNorm", "add_rms_norm"]
