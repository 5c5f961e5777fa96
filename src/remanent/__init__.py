"""Recurrent units that never forget."""

from importlib.metadata import PackageNotFoundError, version

from remanent import models, ops, units
from remanent._allocator import reuse_freed_memory
from remanent.models import Attention, CausalConv1d, Hybrid, ModelConfig, SequenceModel
from remanent.units import registry
from remanent.units.registry import *  # noqa: F403 - every unit and cell, by the list that stands there

try:
    __version__ = version("remanent")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "unknown"
__all__ = [
    "Attention",
    "CausalConv1d",
    "Hybrid",
    "ModelConfig",
    "SequenceModel",
    "models",
    "ops",
    "reuse_freed_memory",
    "units",
    *registry.__all__,
]
