"""Whether a finished run is right at every length: the walk through its model and its task's automaton, and proofs."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from remanent._files import new_folder, write_whole
from remanent._machine import versions
from remanent.analysis.automata import Checked, Machine, Proof, Verdict, check_proof, walk
from remanent.models import SequenceModel
from remanent.models.saved import CONFIG_FILE
from remanent.records.configuration import Experiment
from remanent.records.identity import identity
from remanent.records.lines import append_line
from remanent.tasks import Task
from remanent.tasks.automata.automaton import Automaton
from remanent.training.folder import load_run

FOLDER = "verified"
"""The folder in that of a run which holds its proof, where no other one is named."""
PROOF_FILE = "proof.json"
"""The proof that a model is right at every length."""


@dataclass(frozen=True)
class Verified:
    """What `verify` found.

    Attributes:
        verdict: how the walk ended.
        record: the verdict as plain data, with what identifies the run, versions and the machine.
        proof: the file of the proof; None where the model is not right at every length.
    """

    verdict: Verdict
    record: dict[str, Any]
    proof: Path | None


def verify(
    run: Path, *, most_states: int, out: Path | None = None, results: Path | None = None, data_dir: str | None = None
) -> Verified:
    """Walks through the model of a finished run together with the automaton of its task; see `walk`.

    Args:
        run: the run's folder.
        most_states: the number of pairs of states after which the walk is given up, at least 1.
        out: the folder for the proof, which must not exist; `FOLDER` in the run's if None. It is made only if the
            model is right.
        results: a file of JSON lines to which the record is appended; none if None.
        data_dir: the folder that holds the task's data now; None for the place that the configuration names.

    Raises:
        FileExistsError: the folder for the proof exists.
        FileNotFoundError: the run is not finished, or `out` would lie in a folder that does not exist.
        ValueError: the task declares no automaton, or the model is none; the message names every part at fault.
    """
    folder = run / FOLDER if out is None else out
    if folder.exists():
        raise FileExistsError(f"`--out` must not exist yet, got {folder}; choose another folder")
    experiment, model = load_run(run, data_dir=data_dir)
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"`--out` must lie in a folder that exists, got {folder}")
    automaton = automaton_of(experiment.task)
    torch.set_num_threads(experiment.training.threads)
    began = time.perf_counter()
    machine = Machine(model.eval())
    verdict = walk(machine, automaton, most_states=most_states)
    record = _record(run, experiment, verdict, time.perf_counter() - began)
    proof = None
    if verdict.outcome == "right":
        proof = folder / PROOF_FILE
        with new_folder(folder) as staged:
            write_whole(staged / PROOF_FILE, Proof.of(machine, automaton, verdict).to_json().encode())
    if results is not None:
        append_line(results, record)
    return Verified(verdict, record, proof)


def check(run: Path, proof: Path, *, data_dir: str | None = None) -> Checked:
    """Checks a proof with the model of a finished run, or with the model that was saved beside the proof.

    Args:
        run: the run's folder.
        proof: the file of the proof.
        data_dir: the folder that holds the task's data now; None for the place that the configuration names.

    Raises:
        FileNotFoundError: the run is not finished, or there is no such file.
        ValueError: the task declares no automaton, the model is none, or the file does not hold a proof.
    """
    experiment, model = load_run(run, data_dir=data_dir)
    automaton = automaton_of(experiment.task)
    if not proof.is_file():
        raise FileNotFoundError(f"`--check` must name the file of a proof, got {proof}")
    if (proof.parent / CONFIG_FILE).is_file():
        model = SequenceModel.load(proof.parent)
    torch.set_num_threads(experiment.training.threads)
    return check_proof(Proof.from_json(proof.read_bytes(), str(proof)), Machine(model.eval()), automaton)


def automaton_of(task: Task) -> Automaton:
    """The automaton that a task declares.

    Raises:
        ValueError: it declares none.
    """
    automaton = getattr(task, "automaton", None)
    if not isinstance(automaton, Automaton):
        raise ValueError(f"the run's task must have an `automaton`, which tells what is right, got {task.name}")
    return automaton


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
        "margin": verdict.margin if verdict.margin < float("inf") else None,
        "seconds": round(seconds, 3),
        **versions(),
    }
