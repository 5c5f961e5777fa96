"""Recurrent units that never forget."""

from importlib.metadata import version

from remanent import models, ops, units
from remanent._allocator import reuse_freed_memory
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

__version__ = version("remanent")
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
