"""Recurrent units that never forget."""

from importlib.metadata import PackageNotFoundError, version

from remanent import models, ops, units
from remanent._memory import reuse_freed_memory
from remanent.models import Attention, Hybrid, ModelConfig, SequenceModel
from remanent.units import (
    BMRU,
    BRC,
    CELLS,
    CMRU,
    FQBMRU,
    GRU,
    LRU,
    LSTM,
    NBRC,
    UNITS,
    AlphaCMRU,
    AlphaCMRUCell,
    BMRUCell,
    BRCCell,
    CMRUCell,
    FQBMRUCell,
    GRUCell,
    LRUCell,
    LSTMCell,
    MinGRU,
    MinGRUCell,
    MinLSTM,
    MinLSTMCell,
    NBRCCell,
)

try:
    __version__ = version("remanent")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "unknown"
__all__ = [
    "BMRU",
    "BRC",
    "CELLS",
    "CMRU",
    "FQBMRU",
    "GRU",
    "LRU",
    "LSTM",
    "NBRC",
    "UNITS",
    "AlphaCMRU",
    "AlphaCMRUCell",
    "Attention",
    "BMRUCell",
    "BRCCell",
    "CMRUCell",
    "FQBMRUCell",
    "GRUCell",
    "Hybrid",
    "LRUCell",
    "LSTMCell",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "ModelConfig",
    "NBRCCell",
    "SequenceModel",
    "models",
    "ops",
    "reuse_freed_memory",
    "units",
]
