"""The automaton that a model learned: all of its states, made into the smallest automaton that answers alike."""

import numpy as np

from remanent._options import check_at_least
from remanent.analysis.automata.model_machine import Machine
from remanent.analysis.automata.walk import MOST_STATES, NO_ANSWER, Walked, walk
from remanent.models import SequenceModel
from remanent.tasks import IGNORED, Automaton


def extract_automaton(model: SequenceModel, *, most_states: int = MOST_STATES) -> Automaton:
    """The smallest automaton that answers every word as a model does, after every letter.

    Every letter is tried in every state that the model reaches, with the model's own step; no task is asked. States
    that all words leave alike are one. The answer is the class of the largest logit.

    Args:
        model: a model in evaluation mode that is a finite automaton (`check_finite`).
        most_states: the number of the model's states after which it is given up, at least 1.

    Returns:
        The automaton, numbered as in `Automaton.reachable`, with `IGNORED` as the answer where no logit is larger than
        all others. A model does not answer before the first letter: the answer in the start state is that of a state
        in which all letters lead on alike, the smallest of several, and `IGNORED` where there is none.

    Raises:
        ValueError: the model is none, it is in training mode, or it has more than `most_states` states; the message
            says what is at fault, and how far the walk got.
        TypeError: `most_states` is not an int.

    Source: Moore (1956), Gedanken-experiments on sequential machines.

    >>> import torch
    >>> from remanent import ModelConfig
    >>> sizes = {"num_layers": 1, "hidden_size": 2, "state_size": 2, "num_states": 2, "num_tracers": 1}
    >>> config = ModelConfig(2, 2, unit="mru", encoder="table", norm="none", mlp="none", head="every", **sizes)
    >>> model = SequenceModel(config).eval()
    >>> with torch.no_grad():  # letter 0 holds, letter 1 flips, and the state is the answer
    ...     _ = model.blocks[0].layer.units[0].weight_ih_l0.copy_(torch.tensor([[1, 0], [0, 1], [0, 1], [1, 0]]))
    ...     for linear in (model.blocks[0].project, model.head):
    ...         _ = linear.weight.copy_(torch.eye(2)), linear.bias.zero_()
    >>> extract_automaton(model)
    Automaton(transitions=((0, 1), (1, 0)), answers=(0, 1), start=0)
    """
    check_at_least("most_states", most_states, 1)
    machine = Machine(model)
    letters = machine.num_letters
    asks_nothing = Automaton([[0] * letters], [IGNORED])
    verdict = walk(machine, asks_nothing, most_states=most_states)
    if verdict.outcome != "right":
        found = f"got {verdict.states:,} and more, in words of up to {verdict.length:,} letters"
        raise ValueError(f"`model` must have at most `most_states` = {most_states:,} states, {found}")
    return learned_automaton(verdict.walked)


def learned_automaton(walked: Walked) -> Automaton:
    """The smallest automaton that answers as a model does, from all that a whole walk met; see `extract_automaton`."""
    after, answers = walked.after.numpy(), walked.answers.numpy()
    # a state of the automaton is one of the model with the answer that was given on the way into it
    kinds = int(answers.max()) + 2
    keys, entered = np.unique(after * kinds + answers + 1, return_inverse=True)
    states, given = keys // kinds, keys % kinds - 1
    rows = 1 + entered.reshape(after.shape)  # state 0 is the start, into which nothing led yet
    given = np.where(given == NO_ANSWER, IGNORED, given)
    return _with_start(Automaton([*rows[[0, *states]].tolist()], [IGNORED, *given.tolist()]).minimised())


def _with_start(found: Automaton) -> Automaton:
    """The same, from the state with the smallest answer that leads on as the start state does, if there is one."""
    row = found.transitions[found.start]
    alike = [state for state, other in enumerate(found.transitions) if other == row and state != found.start]
    if not alike:
        return found
    first = min(alike, key=lambda state: (found.answers[state] == IGNORED, found.answers[state]))
    return Automaton(found.transitions, found.answers, first).reachable()
