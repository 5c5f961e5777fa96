"""Finished runs under review: their memory, robustness and rightness at every length, and a page that shows them."""

from remanent.review.robustness import robustness
from remanent.review.verification import Verified, check, verify

__all__ = ["Verified", "check", "robustness", "verify"]
