"""Finished runs under review: measures of their memory, their robustness, and a page that shows them."""

from remanent.review.robustness import robustness

__all__ = ["robustness"]
