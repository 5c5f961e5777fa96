"""Recurrent units that never forget."""

from importlib.metadata import PackageNotFoundError, version

from remanent import models, ops, units
from remanent._allocator import reuse_freed_memory
from remanent.analysis import diagnose
from remanent.latches import EpsilonSchedule, fold_gate_norm, set_epsilon, set_write_rates
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
    "EpsilonSchedule",
    "Hybrid",
    "ModelConfig",
    "SequenceModel",
    "diagnose",
    "fold_gate_norm",
    "models",
    "ops",
    "reuse_freed_memory",
    "set_epsilon",
    "set_write_rates",
    "units",
    *registry.__all__,
]
