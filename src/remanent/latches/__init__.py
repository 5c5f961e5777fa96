"""The latches anywhere in a module: their layers as they run, their epsilon, and how often they are written."""

from remanent.latches.annealing import EpsilonSchedule, set_epsilon
from remanent.latches.folding import fold_gate_norm
from remanent.latches.layer_runs import LayerRun, watch_layers
from remanent.latches.write_rates import WriteRates, set_write_rates

__all__ = [
    "EpsilonSchedule",
    "LayerRun",
    "WriteRates",
    "fold_gate_norm",
    "set_epsilon",
    "set_write_rates",
    "watch_layers",
]
