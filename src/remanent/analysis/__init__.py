"""Measures of a unit or a trained model: what it can hold, for how long, and how far back its gradients reach."""

from remanent.analysis.attractors import Attractors, find_attractors, vaa
from remanent.analysis.automata import (
    Checked,
    Machine,
    Proof,
    Pruned,
    PruningError,
    Verdict,
    check_finite,
    check_proof,
    draw_automaton,
    extract_automaton,
    maps_reached,
    prune,
    save_automaton,
    tables_of,
    walk,
)
from remanent.analysis.diagnosis import Diagnosis, Finding, LayerDiagnosis, diagnose
from remanent.analysis.gradients import LagGradient, gradient_by_lag
from remanent.analysis.horizon import memory_horizon
from remanent.analysis.hysteresis import hysteresis_curve, input_loop
from remanent.analysis.trajectory import state_trajectory
from remanent.analysis.writes import Writes, write_statistics, write_watch

__all__ = [
    "Attractors",
    "Checked",
    "Diagnosis",
    "Finding",
    "LagGradient",
    "LayerDiagnosis",
    "Machine",
    "Proof",
    "Pruned",
    "PruningError",
    "Verdict",
    "Writes",
    "check_finite",
    "check_proof",
    "diagnose",
    "draw_automaton",
    "extract_automaton",
    "find_attractors",
    "gradient_by_lag",
    "hysteresis_curve",
    "input_loop",
    "maps_reached",
    "memory_horizon",
    "prune",
    "save_automaton",
    "state_trajectory",
    "tables_of",
    "vaa",
    "walk",
    "write_statistics",
    "write_watch",
]
