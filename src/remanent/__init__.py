"""Recurrent units that never forget."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from remanent import models, ops, units
from remanent._allocator import reuse_freed_memory
from remanent.analysis import diagnose
from remanent.latches import EpsilonSchedule, fold_gate_norm, set_epsilon, set_write_rates
from remanent.models import Attention, CausalConv1d, Hybrid, ModelConfig, SequenceModel
from remanent.models.session import ENGINES, Engine
from remanent.models.shared.shipped import load
from remanent.units import registry
from remanent.units.registry import *  # noqa: F403 - every unit and cell, by the list that stands there


def _native_engine(model: Any, batch_size: int) -> Engine:
    from remanent.export.engine import native_engine  # not before it is asked for: exports take a while to import

    return native_engine(model, batch_size)


ENGINES["native"] = _native_engine

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
    "load",
    "models",
    "ops",
    "reuse_freed_memory",
    "set_epsilon",
    "set_write_rates",
    "units",
    *registry.__all__,
]
