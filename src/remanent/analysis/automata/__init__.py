"""A trained model as a finite automaton: whether it is one, what it does, and whether it is right at every length."""

from remanent.analysis.automata.drawing import draw_automaton
from remanent.analysis.automata.extract import extract_automaton
from remanent.analysis.automata.finite import check_finite
from remanent.analysis.automata.graph_files import save_automaton
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
    "draw_automaton",
    "extract_automaton",
    "save_automaton",
    "walk",
]
