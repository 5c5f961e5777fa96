"""A trained model as a finite automaton: whether it is one, what it does, and whether it is right at every length."""

from remanent.analysis.automata.finite import check_finite
from remanent.analysis.automata.model_machine import Machine, Stepped
from remanent.analysis.automata.proof import Proof
from remanent.analysis.automata.proof_check import Checked, check_proof
from remanent.analysis.automata.walk import OUTCOMES, Replay, Verdict, Walked, walk

__all__ = [
    "OUTCOMES",
    "Checked",
    "Machine",
    "Proof",
    "Replay",
    "Stepped",
    "Verdict",
    "Walked",
    "check_finite",
    "check_proof",
    "walk",
]
