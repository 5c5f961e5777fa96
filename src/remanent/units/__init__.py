"""Recurrent units: the equations of each, one family per file, around layers, batches and checks that all share."""

from remanent.units import registry
from remanent.units.base import RecurrentUnit
from remanent.units.cell import RecurrentCell, make_cell
from remanent.units.latching.gate_norm import GATE_NORMS
from remanent.units.latching.set_or_hold import LatchRecurrence
from remanent.units.linear_recurrence import LinearRecurrence
from remanent.units.recurrence import LatchGates, Recurrence, ScanRecurrence, StateIsOutput
from remanent.units.registry import *  # noqa: F403 - every unit and cell, by the list that stands there
from remanent.units.registry import UNITS
from remanent.units.step_data import STEPS, StepData


def recurrence_of(name: str) -> type[Recurrence]:
    """The class of the equations of a unit in `UNITS`; `Recurrence` itself for a unit that declares none."""
    return getattr(UNITS[name], "recurrence_type", Recurrence)


def initial_states() -> tuple[str, ...]:
    """Every initial state that a unit in `UNITS` has."""
    return tuple(dict.fromkeys(state for name in UNITS for state in recurrence_of(name).initial_states))


__all__ = [
    "GATE_NORMS",
    "STEPS",
    "LatchGates",
    "LatchRecurrence",
    "LinearRecurrence",
    "Recurrence",
    "RecurrentCell",
    "RecurrentUnit",
    "ScanRecurrence",
    "StateIsOutput",
    "StepData",
    "initial_states",
    "make_cell",
    "recurrence_of",
    *registry.__all__,
]
