"""Recurrent units that never forget."""

from importlib.metadata import version

from remanent import models, ops, units
from remanent._allocator import reuse_freed_memory
from remanent.models import Attention, Hybrid, ModelConfig, SequenceModel
from remanent.units import registry
from remanent.units.registry import *  # noqa: F403 - every unit and cell, by the list that stands there

__version__ = version("remanent")
__all__ = [
    "Attention",
    "Hybrid",
    "ModelConfig",
    "SequenceModel",
    "models",
    "ops",
    "reuse_freed_memory",
    "units",
    *registry.__all__,
]
