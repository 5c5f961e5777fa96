"""Recurrent units that never forget."""

from importlib.metadata import version

from remanent import models, ops, units
from remanent.models import Hybrid, ModelConfig, SequenceModel
from remanent.units import BMRU, LRU, UNITS

__version__ = version("remanent")
__all__ = ["BMRU", "LRU", "UNITS", "Hybrid", "ModelConfig", "SequenceModel", "models", "ops", "units"]
