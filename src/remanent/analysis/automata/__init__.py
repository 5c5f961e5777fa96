"""A trained model as a finite automaton: whether it is one, what it does, and whether it is right at every length."""

from remanent.analysis.automata.finite import check_finite
from remanent.analysis.automata.machine import Machine, Stepped
from remanent.analysis.automata.walk import OUTCOMES, Replay, Verdict, Walked, walk

__all__ = ["OUTCOMES", "Machine", "Replay", "Stepped", "Verdict", "Walked", "check_finite", "walk"]
