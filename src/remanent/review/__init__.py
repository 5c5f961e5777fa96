"""What is measured and shown of finished runs: scores under disturbance, measures of memory, a page."""

from remanent.review.robustness import robustness

__all__ = ["robustness"]
