"""Draws the machines that two small models learned, which it trains and proves first, within a minute on one core.

python docs/draw_automata.py [FOLDER]    # docs/pictures, where automata.md looks for them
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import torch

from remanent import EpsilonSchedule, ModelConfig, SequenceModel
from remanent.analysis import extract_automaton, prune, save_automaton
from remanent.tasks import GroupWord, Tomita, WordTask

BATCH, LONGEST = 128, 24
"""The number of words in a step, and the most letters in a word."""


class Learner(NamedTuple):
    """What learns an automaton.

    Attributes:
        task: the task, which gives words and answers.
        num_states: the states of a head.
        num_heads: the number of heads.
        steps: the number of steps.
        seed: what weights and words are drawn from.
    """

    task: WordTask
    num_states: int
    num_heads: int = 8
    steps: int = 400
    seed: int = 1


LEARNERS = {
    "automaton-tomita-4": Learner(Tomita(language=4), num_states=4),
    "automaton-s3": Learner(GroupWord(group="S3"), num_states=3),
}
"""The name of a picture to what learns what it shows."""


def train(learner: Learner) -> SequenceModel:
    """A model that has seen words and answers alone; words grow by half where nine of ten last answers are right."""
    task, K = learner.task, learner.num_states
    sizes = {"num_layers": 1, "hidden_size": 64, "num_states": K, "state_size": learner.num_heads * K * K}
    kinds = {"unit": "mru", "encoder": "table", "norm": "none", "mlp": "gelu", "head": "every"}
    torch.manual_seed(learner.seed)
    model = SequenceModel(ModelConfig(task.input_size, task.output_size, **sizes, **kinds))  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    epsilon = EpsilonSchedule(model, learner.steps, hold=0.6, ramp=0.2)
    generator = torch.Generator().manual_seed(learner.seed)
    length, score = 2, 0.0
    for _ in range(learner.steps):
        letters, answers = task.at_length(length).batch(BATCH, generator)
        logits = model(letters)[0]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        epsilon.step()
        right = (logits[:, -1].argmax(-1) == answers[:, -1]).float().mean().item()
        score = 0.9 * score + 0.1 * right
        if score > 0.9 and length < LONGEST:
            length, score = min(LONGEST, length * 3 // 2), 0.0
    return model.eval()


def draw(learner: Learner, path: Path) -> None:
    """Trains a model, drops the heads that are not needed, and writes the picture of the machine that it learned.

    Raises:
        RuntimeError: the model is not proved right, or its machine is not the smallest one of the task.
    """
    pruned = prune(train(learner), learner.task, readout_steps=300)
    machine = extract_automaton(pruned.model)
    if pruned.verdict.outcome != "right" or machine != learner.task.automaton.minimised():
        raise RuntimeError(f"the model of {learner.task.name} must be right at every length, got {pruned.verdict}")
    save_automaton(machine, path, letters=learner.task.letter_names)
    kept = f"{len(pruned.kept)} of {pruned.heads} heads"
    print(f"{path}: {machine.num_states} states, {kept}, {pruned.states} pairs, margin {pruned.margin:.2f}")


def main() -> None:
    """Writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "pictures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, learner in LEARNERS.items():
        draw(learner, options.folder / f"{name}.svg")


if __name__ == "__main__":
    main()
