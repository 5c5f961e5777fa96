"""Measures of a trained unit or model."""

from remanent.analysis.hysteresis import hysteresis_curve
from remanent.analysis.trajectory import state_trajectory

__all__ = ["hysteresis_curve", "state_trajectory"]
