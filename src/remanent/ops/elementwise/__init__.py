"""What treats each step alone between two products, in one pass over memory forward and one backward."""

from remanent.ops.elementwise.sum_norm import SumAndNorm, add_rms_norm
from remanent.ops.elementwise.taps import weighted_sum, weighted_taps

__all__ = ["SumAndNorm", "add_rms_norm", "weighted_sum", "weighted_taps"]
