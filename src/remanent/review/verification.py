"""Whether a finished run is right at every length: the walk through its model and its task's automaton, and proofs."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from remanent._files import new_folder, write_whole
from remanent._machine import versions
from remanent.analysis.automata import (
    Checked,
    Machine,
    Proof,
    Pruned,
    PruningError,
    Verdict,
    all_heads,
    check_finite,
    check_proof,
    prune,
    walk,
)
from remanent.models import SequenceModel
from remanent.models.saved import CONFIG_FILE
from remanent.records.configuration import Experiment
from remanent.records.identity import identity
from remanent.records.lines import append_line
from remanent.review.pruned import pruned_record, save_pruned
from remanent.tasks import Task, WordTask
from remanent.tasks.automata.automaton import Automaton
from remanent.training.folder import load_run

FOLDER = "verified"
"""The folder in that of a run which holds its proof, where no other one is named."""
PROOF_FILE = "proof.json"
"""The proof that a model is right at every length."""
RUN = "run"
"""The key in a proof's origin of the identity of the run that it is about."""


class Pruning(NamedTuple):
    """How a model is pruned before it is walked through; see `prune`.

    Attributes:
        readout_steps: for how many steps the readout may be trained again; 0 keeps it.
    """

    readout_steps: int = 0


@dataclass(frozen=True)
class Verified:
    """What `verify` found.

    Attributes:
        verdict: how the walk ended.
        record: the verdict as plain data, with what identifies the run, versions and the machine.
        proof: the file of the proof; None where the model is not right at every length.
        pruned: the model that was walked through instead of the run's; None if that was walked through itself.
        unpruned: why pruning gave no model; None if it did, or was not asked for.
        heads: how many K-state heads the run's model has.
        letter_names: what the task's letters are called, by their numbers.
    """

    verdict: Verdict
    record: dict[str, Any]
    proof: Path | None
    pruned: Pruned | None = None
    unpruned: str | None = None
    heads: int = 0
    letter_names: Sequence[str] = ()


def verify(
    run: Path,
    *,
    most_states: int,
    pruning: Pruning | None = None,
    out: Path | None = None,
    results: Path | None = None,
    data_dir: str | None = None,
) -> Verified:
    """Walks through the model of a finished run together with the automaton of its task; see `walk`.

    Args:
        run: the run's folder.
        most_states: the number of pairs of states after which the walk is given up, at least 1.
        pruning: how the model is pruned first; not at all if None. Where it cannot be, the whole model is walked
            through.
        out: the folder for the proof, which must not exist; `FOLDER` in the run's if None. It is made only if the
            model is right, and holds the pruned model as well.
        results: a file of JSON lines to which the record is appended; none if None.
        data_dir: the folder that holds the task's data now; None for the place that the configuration names.

    Raises:
        FileExistsError: the folder for the proof exists.
        FileNotFoundError: the run is not finished, or `out` would lie in a folder that does not exist.
        ValueError: the task declares no automaton, or the model is none; the message names every part at fault.
    """
    folder = run / FOLDER if out is None else out
    if folder.exists():
        kept = " (it holds a proof, which `--check` runs again)" if (folder / PROOF_FILE).is_file() else ""
        raise FileExistsError(f"`--out` must not exist yet, got {folder}{kept}; choose another folder")
    experiment, model = load_run(run, data_dir=data_dir)
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"`--out` must lie in a folder that exists, got {folder}")
    automaton = automaton_of(experiment.task)
    check_finite(model)
    torch.set_num_threads(experiment.training.threads)
    began = time.perf_counter()
    pruned, unpruned = _prune(model.eval(), experiment.task, pruning, most_states)
    machine = Machine(model if pruned is None else pruned.model)
    verdict = walk(machine, automaton, most_states=most_states) if pruned is None else pruned.verdict
    record = _record(run, experiment, verdict, time.perf_counter() - began)
    record |= _pruning_record(pruning, pruned, unpruned)
    proof = None
    if verdict.outcome == "right":
        proof = folder / PROOF_FILE
        with new_folder(folder) as staged:
            if pruned is not None:
                save_pruned(staged, experiment, pruned)
            proof_of_run = Proof.of(machine, automaton, verdict)
            origin = proof_of_run.origin | {RUN: record["identity"]}
            write_whole(staged / PROOF_FILE, dataclasses.replace(proof_of_run, origin=origin).to_json().encode())
    if results is not None:
        append_line(results, record)
    names = getattr(experiment.task, "letter_names", range(machine.num_letters))
    return Verified(verdict, record, proof, pruned, unpruned, len(all_heads(model)), [str(name) for name in names])


def check(run: Path, proof: Path, *, data_dir: str | None = None) -> Checked:
    """Checks a proof with the model of a finished run, or with the one that was pruned from it, beside the proof.

    Args:
        run: the run's folder.
        proof: the file of the proof.
        data_dir: the folder that holds the task's data now; None for the place that the configuration names.

    Raises:
        FileNotFoundError: the run is not finished, or there is no such file.
        ValueError: the task declares no automaton, the model is none, the file does not hold a proof, or the model
            beside it was pruned from another run.
    """
    experiment, model = load_run(run, data_dir=data_dir)
    automaton = automaton_of(experiment.task)
    if not proof.is_file():
        raise FileNotFoundError(f"`--check` must name the file of a proof, got {proof}")
    read = Proof.from_json(proof.read_bytes(), str(proof))
    notes: tuple[str, ...] = ()
    if (proof.parent / CONFIG_FILE).is_file():
        if read.origin.get(RUN) != identity(experiment.to_dict()):
            rule = f"`--check` must name a proof of {run}, or one without a model beside it"
            raise ValueError(f"{rule}, got {proof}, whose model was pruned from another run")
        model = SequenceModel.load(proof.parent)
        notes = (f"the model is the pruned one in {proof.parent}, not the run's own",)
    torch.set_num_threads(experiment.training.threads)
    found = check_proof(read, Machine(model.eval()), automaton)
    return dataclasses.replace(found, notes=(*notes, *found.notes))


def automaton_of(task: Task) -> Automaton:
    """The automaton that a task declares.

    Raises:
        ValueError: it declares none.
    """
    automaton = getattr(task, "automaton", None)
    if not isinstance(automaton, Automaton):
        raise ValueError(f"the run's task must have an `automaton`, which tells what is right, got {task.name}")
    return automaton


def _prune(
    model: SequenceModel, task: Task, pruning: Pruning | None, most_states: int
) -> tuple[Pruned | None, str | None]:
    """The pruned model, or why there is none; neither where it is not asked for."""
    if pruning is None:
        return None, None
    if not isinstance(task, WordTask):
        raise ValueError(f"pruning needs a task of words (`WordTask`), got {task.name}")
    try:
        return prune(model, task, readout_steps=pruning.readout_steps, most_states=most_states), None
    except PruningError as error:
        return None, str(error)


def _pruning_record(pruning: Pruning | None, pruned: Pruned | None, unpruned: str | None) -> dict[str, Any]:
    """What a record says about the pruning that was asked for."""
    if pruning is None:
        return {}
    if pruned is None:
        return {"pruned": None, "unpruned": unpruned}
    return {"pruned": pruned_record(pruned)}


def _record(run: Path, experiment: Experiment, verdict: Verdict, seconds: float) -> dict[str, Any]:
    config = experiment.to_dict()
    return {
        "run": str(run),
        "identity": identity(config),
        "task": config["task"],
        "model": config["model"],
        "unit": experiment.model.unit,
        "seed": experiment.training.seed,
        "outcome": verdict.outcome,
        "states": verdict.states,
        "length": verdict.length,
        "word": verdict.word,
        "replay": None if verdict.replay is None else verdict.replay._asdict(),
        "margin": verdict.margin if verdict.outcome != "wrong" and verdict.margin < float("inf") else None,
        "seconds": round(seconds, 3),
        **versions(),
    }
