"""A trained model as a finite automaton: whether it is one, what it does, whether it is right, and what it needs."""

from remanent.analysis.automata.extract import extract_automaton
from remanent.analysis.automata.finite import check_finite
from remanent.analysis.automata.graph_files import save_automaton
from remanent.analysis.automata.heads import Head, all_heads, freeze, maps_reached, tables_of
from remanent.analysis.automata.model_machine import Machine, Stepped
from remanent.analysis.automata.picture.drawing import draw_automaton
from remanent.analysis.automata.proof import Proof
from remanent.analysis.automata.proof_check import Checked, check_proof
from remanent.analysis.automata.prune import Pruned, PruningError, prune
from remanent.analysis.automata.walk import OUTCOMES, Replay, Verdict, Walked, walk

__all__ = [
    "OUTCOMES",
    "Checked",
    "Head",
    "Machine",
    "Proof",
    "Pruned",
    "PruningError",
    "Replay",
    "Stepped",
    "Verdict",
    "Walked",
    "all_heads",
    "check_finite",
    "check_proof",
    "draw_automaton",
    "extract_automaton",
    "freeze",
    "maps_reached",
    "prune",
    "save_automaton",
    "tables_of",
    "walk",
]
