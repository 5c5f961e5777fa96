"""Recurrent units: the equations of each, one family a file, around one machine for all."""

from collections.abc import Callable

from remanent.units.base import RecurrentUnit
from remanent.units.bmru import BMRU, BMRUCell, LatchRecurrence
from remanent.units.brc import BRC, NBRC, BRCCell, NBRCCell
from remanent.units.cell import RecurrentCell, make_cell
from remanent.units.cmru import CMRU, AlphaCMRU, AlphaCMRUCell, CMRUCell
from remanent.units.fq_bmru import FQBMRU, FQBMRUCell
from remanent.units.lru import LRU, LRUCell
from remanent.units.min_rnn import MinGRU, MinGRUCell, MinLSTM, MinLSTMCell
from remanent.units.recurrence import LatchGates, LinearRecurrence, Recurrence, ScanRecurrence, StateIsOutput
from remanent.units.step_data import STEPS, StepData
from remanent.units.torch_rnn import GRU, LSTM, GRUCell, LSTMCell

UNITS: dict[str, Callable[..., RecurrentUnit]] = {
    "bmru": BMRU,
    "cmru": CMRU,
    "alpha_cmru": AlphaCMRU,
    "fq_bmru": FQBMRU,
    "lru": LRU,
    "min_gru": MinGRU,
    "min_lstm": MinLSTM,
    "brc": BRC,
    "nbrc": NBRC,
    "gru": GRU,
    "lstm": LSTM,
}
"""Name to class, for configurations and the command line."""

CELLS: dict[str, Callable[..., RecurrentCell]] = {
    "bmru": BMRUCell,
    "cmru": CMRUCell,
    "alpha_cmru": AlphaCMRUCell,
    "fq_bmru": FQBMRUCell,
    "lru": LRUCell,
    "min_gru": MinGRUCell,
    "min_lstm": MinLSTMCell,
    "brc": BRCCell,
    "nbrc": NBRCCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
}
"""Name to the class that runs one step of the unit of that name."""


def initial_states() -> tuple[str, ...]:
    """Every initial state that a unit in `UNITS` has."""
    kinds = [getattr(unit, "recurrence_type", Recurrence) for unit in UNITS.values()]
    return tuple(dict.fromkeys(state for kind in kinds for state in kind.initial_states))


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
    "STEPS",
    "UNITS",
    "AlphaCMRU",
    "AlphaCMRUCell",
    "BMRUCell",
    "BRCCell",
    "CMRUCell",
    "FQBMRUCell",
    "GRUCell",
    "LRUCell",
    "LSTMCell",
    "LatchGates",
    "LatchRecurrence",
    "LinearRecurrence",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "NBRCCell",
    "Recurrence",
    "RecurrentCell",
    "RecurrentUnit",
    "ScanRecurrence",
    "StateIsOutput",
    "StepData",
    "initial_states",
    "make_cell",
]
