"""Whole models as they are timed: a training step beside its own products and other packages, and one step."""
