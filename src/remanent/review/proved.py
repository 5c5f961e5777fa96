"""What a page says of the proofs that lie in the folders of runs, with pictures of the machines that were learned."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from remanent.analysis.automata import Proof, draw_automaton
from remanent.analysis.automata.extract import learned_automaton
from remanent.analysis.automata.proof import weights_hash
from remanent.models import SequenceModel
from remanent.models.saved import CONFIG_FILE
from remanent.report.page import Picture, Section, Table
from remanent.report.tables import DASH
from remanent.review.verification import FOLDER, PROOF_FILE
from remanent.tasks import Automaton, Task

MOST_STATES = 30
"""The most states of a learned machine that the page has a picture of."""
TEXT = f"""A walk through every state that the model and the task reach together, with every letter tried in each, found
no wrong answer, so the model is right for words of every length. The margin is the smallest lead of the right logit.
The learned machine is the smallest automaton that answers as the model does; it is drawn with up to {MOST_STATES}
states. This is what the proofs say; remanent verify RUN --check RUN/{FOLDER}/{PROOF_FILE} runs all of it again."""
"""The text above the table of proofs."""
OUTDATED = "the proof is of other weights or another task"
"""What stands in place of a verdict where the proof is not of the model that the folder holds."""


@dataclass(frozen=True)
class StoredProof:
    """A proof in the folder of a run.

    Attributes:
        states: how many pairs of states of the model and the task were walked through.
        margin: the smallest lead of the logit of a right answer.
        parameters: the number of parameters of the pruned model that the proof is of; None if it is of the run's own.
        machine: the machine that the model learned.
        is_smallest: whether that is the smallest automaton of the task.
        letter_names: what its letters are called; None for their numbers.
        is_current: whether the weights and the task are those that the proof is of.
    """

    states: int
    margin: float
    parameters: int | None
    machine: Automaton
    is_smallest: bool
    letter_names: Sequence[str] | None
    is_current: bool


def read_proof(run: Path, model: SequenceModel, task: Task) -> StoredProof | None:
    """Reads the proof in the folder of a run.

    Args:
        run: the folder.
        model: its model.
        task: its task.

    Returns:
        The proof; None where there is none, or the task declares no automaton.

    Raises:
        ValueError: the file holds no proof.
    """
    folder = run / FOLDER
    automaton = getattr(task, "automaton", None)
    if automaton is None or not (folder / PROOF_FILE).is_file():
        return None
    proof = Proof.from_json((folder / PROOF_FILE).read_bytes(), str(folder / PROOF_FILE))
    is_pruned = (folder / CONFIG_FILE).is_file()
    walked = SequenceModel.load(folder) if is_pruned else model
    machine = learned_automaton(proof.walked)
    return StoredProof(
        states=len(proof.walked.pairs),
        margin=proof.margin,
        parameters=sum(p.numel() for p in walked.parameters()) if is_pruned else None,
        machine=machine,
        is_smallest=machine == automaton.minimised(),
        letter_names=getattr(task, "letter_names", None),
        is_current=proof.automaton == automaton and proof.origin.get("weights") == weights_hash(walked),
    )


def proof_sections(proofs: Mapping[str, Mapping[int, StoredProof]]) -> list[Section]:
    """The section about proofs, by unit and seed; none without any."""
    rows, pictures = [], []
    for unit, by_seed in proofs.items():
        for seed, proof in by_seed.items():
            rows.append([unit, str(seed), *(_cells(proof) if proof.is_current else [OUTDATED, *[DASH] * 4])])
        current = [(seed, proof) for seed, proof in by_seed.items() if proof.is_current]
        drawn = [(seed, proof) for seed, proof in current if proof.machine.num_states <= MOST_STATES]
        pictures += [_picture(unit, seed, proof) for seed, proof in drawn[:1]]
    header = ["unit", "seed", "verdict", "pairs of states", "margin", "learned machine", "pruned model"]
    return [Section("Proofs", [TEXT], [Table("Proofs", header, rows)], pictures)] if rows else []


def _cells(proof: StoredProof) -> list[str]:
    margin = f"{proof.margin:.3g}" if math.isfinite(proof.margin) else DASH
    machine = _states(proof.machine) + (", the smallest for the task" if proof.is_smallest else "")
    pruned = DASH if proof.parameters is None else f"{proof.parameters:,} parameters"
    return ["right at every length", f"{proof.states:,}", margin, machine, pruned]


def _picture(unit: str, seed: int, proof: StoredProof) -> Picture:
    machine = proof.machine
    figure = draw_automaton(machine, letters=proof.letter_names)
    caption = f"{unit}, seed {seed}: the machine that it learned, with its answer in each state and letters at arrows."
    alt = f"A graph of {_states(machine)}, with arrows for {machine.num_letters:,} letters."
    return Picture(figure, caption, alt)


def _states(machine: Automaton) -> str:
    return f"{machine.num_states:,} state" + ("" if machine.num_states == 1 else "s")
