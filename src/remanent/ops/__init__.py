"""Pure functions on tensors: the scans and their single steps, surrogates, and a linear map that is exact by row."""

from remanent.ops.feedback import feedback_scan
from remanent.ops.heads.lookup import lookup_scan
from remanent.ops.latch import latch_scan, latch_scan_joint
from remanent.ops.linear import linear_scan
from remanent.ops.projection import plain_products, row_linear
from remanent.ops.reference import feedback_step, latch_step, linear_step, transition_step
from remanent.ops.surrogates import surrogate_sign, surrogate_slope, write_gate
from remanent.ops.transition import transition_scan

__all__ = [
    "feedback_scan",
    "feedback_step",
    "latch_scan",
    "latch_scan_joint",
    "latch_step",
    "linear_scan",
    "linear_step",
    "lookup_scan",
    "plain_products",
    "row_linear",
    "surrogate_sign",
    "surrogate_slope",
    "transition_scan",
    "transition_step",
    "write_gate",
]
