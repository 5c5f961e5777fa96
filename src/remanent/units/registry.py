"""The built-in units and their cells by name: the one list of them, which `remanent` and `remanent.units` export."""

from collections.abc import Callable

from remanent.units.base import RecurrentUnit
from remanent.units.brc import BRC, NBRC, BRCCell, NBRCCell
from remanent.units.cell import RecurrentCell
from remanent.units.latching.bmru import BMRU, BMRUCell
from remanent.units.latching.cmru import CMRU, AlphaBMRU, AlphaBMRUCell, AlphaCMRU, AlphaCMRUCell, CMRUCell
from remanent.units.latching.fq_bmru import FQBMRU, FQBMRUCell
from remanent.units.latching.mru import MRU, MRUCell
from remanent.units.lru import LRU, LRUCell
from remanent.units.min_rnn import MinGRU, MinGRUCell, MinLSTM, MinLSTMCell
from remanent.units.torch_rnn import GRU, LSTM, GRUCell, LSTMCell

__all__ = [
    "BMRU",
    "BRC",
    "CELLS",
    "CMRU",
    "FQBMRU",
    "GRU",
    "LRU",
    "LSTM",
    "MRU",
    "NBRC",
    "UNITS",
    "AlphaBMRU",
    "AlphaBMRUCell",
    "AlphaCMRU",
    "AlphaCMRUCell",
    "BMRUCell",
    "BRCCell",
    "CMRUCell",
    "FQBMRUCell",
    "GRUCell",
    "LRUCell",
    "LSTMCell",
    "MRUCell",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "NBRCCell",
]

UNITS: dict[str, Callable[..., RecurrentUnit]] = {
    "bmru": BMRU,
    "alpha_bmru": AlphaBMRU,
    "cmru": CMRU,
    "alpha_cmru": AlphaCMRU,
    "fq_bmru": FQBMRU,
    "mru": MRU,
    "lru": LRU,
    "min_gru": MinGRU,
    "min_lstm": MinLSTM,
    "brc": BRC,
    "nbrc": NBRC,
    "gru": GRU,
    "lstm": LSTM,
}
"""Name to class, for configurations and the command line. Add a unit of your own to use it there by its name."""

CELLS: dict[str, Callable[..., RecurrentCell]] = {
    "bmru": BMRUCell,
    "alpha_bmru": AlphaBMRUCell,
    "cmru": CMRUCell,
    "alpha_cmru": AlphaCMRUCell,
    "fq_bmru": FQBMRUCell,
    "mru": MRUCell,
    "lru": LRUCell,
    "min_gru": MinGRUCell,
    "min_lstm": MinLSTMCell,
    "brc": BRCCell,
    "nbrc": NBRCCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
}
"""Name of a unit to the class that runs one step of it."""
