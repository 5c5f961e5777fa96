"""Pruning: the fewest K-state heads that a model's answers need, the readout trained again, and a smaller model."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.analysis.automata.heads import Head, all_heads, check_model, maps_reached, tables_of
from remanent.analysis.automata.joint import Examples, examples, joint_states, needed_heads
from remanent.analysis.automata.model_machine import Machine
from remanent.analysis.automata.readout import sees_letters, smallest_margin, train_readout
from remanent.analysis.automata.shrink import can_shrink, with_heads
from remanent.analysis.automata.walk import MOST_STATES, Verdict, walk
from remanent.models import SequenceModel
from remanent.tasks import IGNORED, WordTask

PIECE = 32
"""How many words are answered at a time, so that a head that is needed is soon known."""
MOST_WALKS = 8
"""How often heads are looked for again after the walk found a word on which those kept are wrong."""


class PruningError(ValueError):
    """A model cannot be pruned; the message says what stands against it."""


@dataclass(frozen=True)
class Pruned:
    """A model without the K-state heads that its answers do not need.

    Attributes:
        model: the new model, in evaluation mode; the old one is as it was.
        kept: the heads of the old model that move in the new one, in rising order. In a smaller model they are numbered
            from 0 in this order.
        maps: how many maps each of these reaches, up to 1,000; None for a head whose unit sees more than the letter.
        heads: how many heads the old model has.
        is_smaller: whether the new model has only the heads that are kept. If not, the others are there, but every
            input has the identity as their table: a model of several blocks or of units side by side has one width.
        readout_steps: how many steps the readout was trained for; 0 if it is the old one.
        verdict: what the walk through the new model and the task together ended with: right, or too many states.
    """

    model: SequenceModel
    kept: tuple[Head, ...]
    maps: tuple[int | None, ...]
    heads: int
    is_smaller: bool
    readout_steps: int
    verdict: Verdict

    @property
    def states(self) -> int:
        """How many states of the model and the task together were walked through."""
        return self.verdict.states

    @property
    def margin(self) -> float:
        """The smallest difference between the best and the second logit, over all states walked through."""
        return self.verdict.margin


def prune(
    model: SequenceModel,
    task: WordTask,
    *,
    readout_steps: int = 0,
    seed: int = 0,
    words: int = 256,
    length: int = 256,
    most_states: int = MOST_STATES,
) -> Pruned:
    """Finds the fewest K-state heads that the answers to a task need, and makes a model of them alone.

    In a model of one block, the answers depend on the states of the heads alone. These are walked through together with
    the task's automaton, as whole numbers: heads are enough where no two words lead them to the same states, but ask
    for different answers, whatever the lengths of the words. All others are dropped. If the readout then gives wrong
    answers, it is trained alone, on all reachable states at once.

    Where it is not to be trained, or other memory lies beside the heads, heads are frozen one at a time, those that
    reach the most maps first, and stay frozen where no answer to random words becomes wrong. A word on which the walk
    finds the result wrong is added to these, and it all begins again.

    Args:
        model: a model of tokens in evaluation mode that is a finite automaton, with K-state heads.
        task: the task whose answers it must give.
        readout_steps: for how many steps of AdamW the readout may be trained: everything after the unit of a model of
            one block. 0 keeps it as it is.
        seed: what the random words are drawn from.
        words: the number of random words, at least 1.
        length: the number of their letters, at least 1: many more than were trained with.
        most_states: the most states that are walked through, at least 1.

    Returns:
        The new model, with what was kept.

    Raises:
        TypeError: `model` is not a SequenceModel, or `task` not a task of words.
        ValueError: `model` is not finite, not in evaluation mode or does not fit the task, or an option is out of its
            range.
        PruningError: the model has no heads, none are enough, or it answers wrong without pruning.
    """
    _check(model, task, readout_steps, words, length, most_states)
    found = _by_states(model, task, readout_steps, most_states) if _reads_heads_alone(model) else None
    if found is None and readout_steps > 0:
        rule = "must have one block with one unit and no convolution, so that its readout can be trained alone"
        config = model.config
        got = f"num_layers={config.num_layers}, unit={config.unit!r}, conv_size={config.conv_size}"
        raise PruningError(
            f"`model` {rule}, got {got}; heads of such a model are frozen in place with `readout_steps` 0"
        )
    if found is None:
        drawn = task.at_length(length).batch(words, torch.Generator().manual_seed(seed))
        found = _by_words(model, task, Words(*drawn), most_states)
    heads, counts = all_heads(model), _counts(model)
    return Pruned(
        model=found.model,
        kept=found.kept,
        maps=tuple(counts.get(head) for head in found.kept),
        heads=len(heads),
        is_smaller=can_shrink(model) and len(found.kept) < len(heads),
        readout_steps=found.steps,
        verdict=found.verdict,
    )


class Words(NamedTuple):
    """Words and the right answers after each letter, both int64 (B, T)."""

    letters: Tensor
    answers: Tensor


class _Found(NamedTuple):
    model: SequenceModel
    kept: tuple[Head, ...]
    steps: int
    verdict: Verdict


def _reads_heads_alone(model: SequenceModel) -> bool:
    """Whether the answers depend on K-state heads of the letters, the last letter, and nothing else."""
    return can_shrink(model) and model.blocks[0].conv is None


def _by_states(model: SequenceModel, task: WordTask, readout_steps: int, most_states: int) -> _Found | None:
    """The heads that determine the answers; None where none do, or the readout is wrong and is not to be trained."""
    sizes = model.blocks[0].layer.units[0].recurrence.sizes  # type: ignore[union-attr, index]
    beside = sees_letters(model)
    numbers = needed_heads(tables_of(model), sizes, task.automaton, sees_letters=beside, most_states=most_states)
    if not numbers:
        if readout_steps > 0:
            rule = "must have heads whose states determine the answers"
            raise PruningError(f"`model` {rule}, got none with at most most_states={most_states} states")
        return None
    kept = tuple(Head(0, 0, number) for number in numbers)
    smaller, steps = with_heads(model, kept), 0
    joint = joint_states(tables_of(smaller), sizes, task.automaton, most_states)
    assert joint is not None
    asked = Examples(*(part.to(model.head.weight.device) for part in examples(joint, beside)))
    if not smallest_margin(smaller, asked) > 0:
        if readout_steps == 0:
            return None
        steps = train_readout(smaller, asked, readout_steps)
    verdict = walk(Machine(smaller), task.automaton, most_states=most_states)
    if verdict.outcome == "wrong":
        rule = f"must be enough for a readout that is right in {len(asked.answers)} cases"
        raise PruningError(f"`readout_steps` {rule}, got {readout_steps}, and a wrong answer after {verdict.word}")
    return _Found(smaller, kept, steps, verdict)


def _by_words(model: SequenceModel, task: WordTask, drawn: Words, most_states: int) -> _Found:
    """The heads without which an answer to some words is wrong, among them those words that the walk finds."""
    asked = [drawn]
    for _ in range(MOST_WALKS):
        for words in asked:
            if not _is_right(model, words):
                found = words.letters[0].tolist() if len(words.letters) == 1 else f"{words.letters.shape[1]} letters"
                raise PruningError(
                    f"`model` must answer right, got a wrong answer to a word of {found} without pruning"
                )
        kept = _needed_for(model, asked)
        smaller = with_heads(model, kept)
        verdict = walk(Machine(smaller), task.automaton, most_states=most_states)
        if verdict.word is None:
            return _Found(smaller, kept, 0, verdict)
        letters = torch.tensor([verdict.word])
        asked.insert(0, Words(letters, task.automaton.run(letters)))
    rule = "must answer right with fewer heads, or have its readout trained (`readout_steps`)"
    raise PruningError(f"`model` {rule}, got wrong answers in each of {MOST_WALKS} trials")


def _needed_for(model: SequenceModel, asked: list[Words]) -> tuple[Head, ...]:
    """The heads that are left where one after the other is frozen, if all answers to words stay right."""
    counts, kept = _counts(model), all_heads(model)
    for head in sorted(kept, key=lambda head: -counts.get(head, 0)):
        rest = [other for other in kept if other != head]
        if rest:
            smaller = with_heads(model, rest)
            if all(_is_right(smaller, words) for words in asked):
                kept = rest
    return tuple(kept)


@torch.no_grad()
def _is_right(model: SequenceModel, words: Words) -> bool:
    """Whether a model answers words right wherever it answers and is asked."""
    device = model.head.weight.device
    for x, y in zip(*(part.split(PIECE) for part in words), strict=True):
        asked = y if model.config.head == "every" else y[:, -1]
        found = model(x.to(device))[0].argmax(-1).cpu()
        if not bool(((found == asked) | (asked == IGNORED)).all()):
            return False
    return True


def _counts(model: SequenceModel) -> dict[Head, int]:
    """How many maps the heads of the first block reach, where their tables depend on the letter alone."""
    first = [head for head in all_heads(model) if head.block == 0]
    if not first or model.blocks[0].conv is not None:
        return {}
    counts = [
        count for unit in dict.fromkeys(head.unit for head in first) for count in maps_reached(tables_of(model, unit))
    ]
    return dict(zip(first, counts, strict=True))


def _check(model: SequenceModel, task: WordTask, readout_steps: int, words: int, length: int, most_states: int) -> None:
    check_model(model)
    if not isinstance(task, WordTask):
        raise TypeError(f"`task` must be a task of words, which has an automaton, got {type(task).__name__}")
    Machine(model)  # it raises unless the model is finite
    if not all_heads(model):
        raise PruningError(f"`model` must have K-state heads, got unit={model.config.unit!r}")
    if model.config.input_size != task.input_size or model.config.output_size < task.output_size:
        needs = f"{task.input_size} letters and {task.output_size} answers"
        found = f"{model.config.input_size} and {model.config.output_size}"
        raise ValueError(f"`model` must have the {needs} of the task, got {found}")
    check_at_least("readout_steps", readout_steps, 0)
    for name, value in (("words", words), ("length", length), ("most_states", most_states)):
        check_at_least(name, value, 1)
