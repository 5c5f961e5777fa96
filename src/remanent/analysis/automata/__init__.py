"""A trained model as a finite automaton: whether it is one, what it does, whether it is right, and what of it is needed."""

from remanent.analysis.automata.finite import check_finite
from remanent.analysis.automata.heads import maps_reached, tables_of
from remanent.analysis.automata.machine import Machine, Stepped
from remanent.analysis.automata.walk import OUTCOMES, Replay, Verdict, Walked, walk

__all__ = [
    "OUTCOMES",
    "Machine",
    "Replay",
    "Stepped",
    "Verdict",
    "Walked",
    "check_finite",
    "maps_reached",
    "tables_of",
    "walk",
]
