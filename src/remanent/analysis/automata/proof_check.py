"""The check of a proof, which runs every state that it lists through a model again and trusts nothing else in it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from remanent.analysis.automata.model_machine import Machine, Part
from remanent.analysis.automata.proof import Proof, origin_of
from remanent.analysis.automata.walk import CHUNK, Decided, Walked, check_same_letters, decide
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.metrics import IGNORED


@dataclass(frozen=True)
class Checked:
    """What the check of a proof found.

    Attributes:
        holds: whether the model is right at every length.
        difference: the first thing in which the model, or the task, is not as the proof says; None where it holds.
        states: P, how many pairs of states the proof lists.
        margin: the smallest difference between the logit of a right answer and the largest other one, found now;
            None where the proof does not hold.
        notes: what is other than where the proof was made, and does not matter by itself: weights, dtype, versions.
    """

    holds: bool
    difference: str | None
    states: int
    margin: float | None
    notes: tuple[str, ...]


def check_proof(proof: Proof, machine: Machine, automaton: Automaton) -> Checked:
    """Checks a proof by a model itself: every listed state is run again on every letter.

    The start states must be listed, every letter must lead to the state that is listed for it, every pair must lead to
    listed pairs, and every answer that the automaton asks for must be right. Then the model is right at every length,
    whoever wrote the proof. The hash of the weights is compared, but decides nothing. Where the model has another
    dtype, the listed states are taken in that dtype.

    Args:
        proof: the proof.
        machine: the model that it is checked with.
        automaton: what gives the right answers, which must be that of the proof.

    Raises:
        ValueError: the model does not read the automaton's letters, or cannot give its answers.
    """
    check_same_letters(machine, automaton)
    difference, margin = _misfit(proof, machine, automaton), math.inf
    if difference is None:
        difference, margin = _walk_again(proof, machine, automaton)
    notes = _notes(proof.origin, origin_of(machine.model))
    holds = difference is None
    return Checked(holds, difference, len(proof.walked.pairs), margin if holds else None, notes)


def _misfit(proof: Proof, machine: Machine, automaton: Automaton) -> str | None:
    """Why a proof is not about this task or a model of this form."""
    if proof.automaton != automaton:
        sizes = [f"{each.num_states} states and {each.num_letters} letters" for each in (proof.automaton, automaton)]
        return f"the automaton of the proof, of {sizes[0]}, is not that of the task, of {sizes[1]}"
    forms = [[(part.name, part.shape) for part in parts] for parts in (proof.parts, machine.parts)]
    if forms[0] != forms[1]:
        return f"the states of the proof are {_shown(forms[0])}, those of the model {_shown(forms[1])}"
    return None


def _shown(form: list[tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in form)


def _walk_again(proof: Proof, machine: Machine, automaton: Automaton) -> tuple[str | None, float]:
    """The first difference, None if there is none; and the smallest margin."""
    given = _cast(proof.walked.states, proof.parts, machine.parts)
    walked = proof.walked._replace(states=given)
    starts = (given == machine.start).all(1).nonzero().flatten().tolist()
    if not any([start, automaton.start] in walked.pairs.tolist() for start in starts):
        return "the start states of the model and the automaton are not among the pairs", math.inf
    found = []
    chunk = max(1, CHUNK // machine.num_letters)
    for begin in range(0, len(given), chunk):
        try:
            logits, after = machine.step(given[begin : begin + chunk])
        except ValueError as error:  # such as a state that is not one-hot
            return f"the model takes no state as those from {begin} on: {error}", math.inf
        other = (after != given[walked.after[begin : begin + chunk]]).any(-1)
        if other.any():
            state, letter = other.nonzero()[0].tolist()
            place = f"letter {letter} leads from state {begin + state} of the model"
            return f"{place} to another state than listed", math.inf
        found.append(decide(logits))
    return _check_pairs(walked, automaton, Decided(*map(np.concatenate, zip(*found, strict=True))))


def _check_pairs(walked: Walked, automaton: Automaton, decided: Decided) -> tuple[str | None, float]:
    """The first pair whose letters lead out of the pairs or to a wrong answer; and the smallest margin.

    What is listed as an answer that is not asked for is not compared, since nothing rests on it.
    """
    model, task = walked.pairs.numpy().T
    nexts = np.array(automaton.transitions)[task]
    S, targets = automaton.num_states, np.array(automaton.answers)[nexts]
    asked = targets != IGNORED
    left = ~np.isin(walked.after.numpy()[model] * S + nexts, model * S + task)
    answers, listed = decided.answers[model], walked.answers.numpy()[model]
    wrong, misstated = asked & (answers != targets), asked & (listed != targets)
    bad = left | wrong | misstated
    if not bad.any():
        return None, float(decided.margins[model][asked].min(initial=math.inf))
    pair, letter = np.argwhere(bad)[0].tolist()
    place = f"letter {letter} in pair {pair} (state {model[pair]} of the model, {task[pair]} of the automaton)"
    target = targets[pair, letter]
    if left[pair, letter]:
        return f"{place} leads to a pair that is not listed", math.inf
    if wrong[pair, letter]:
        return f"{place} is answered with {answers[pair, letter]}, not {target}", math.inf
    return f"{place} is listed with the answer {listed[pair, letter]}, not {target}", math.inf


def _cast(states: Tensor, given: tuple[Part, ...], wanted: tuple[Part, ...]) -> Tensor:
    """States (N, W) in the dtypes of another model of the same form."""
    rows = zip(states.split([part.bytes for part in given], dim=1), given, wanted, strict=True)
    return torch.cat([part.clone().view(a.dtype).to(b.dtype).view(torch.uint8) for part, a, b in rows], dim=1)


def _notes(then: dict[str, Any], now: dict[str, Any]) -> tuple[str, ...]:
    """What differs between the origin of a proof and now, in sentences."""
    notes = []
    if then.get("weights") != now["weights"]:
        notes.append("The weights are not those that the proof was made with (their hash differs); the walk decides.")
    names = ("dtype", "device", "backend", "packages", "python", "platform", "processor")
    return (
        *notes,
        *(f"The proof was made with {n} {then.get(n)}, not {now[n]}." for n in names if then.get(n) != now[n]),
    )
