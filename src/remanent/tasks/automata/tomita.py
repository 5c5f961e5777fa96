"""Tomita's languages: seven regular languages of zeros and ones, the benchmark of learned automata since 1982."""

from dataclasses import dataclass
from types import MappingProxyType

from remanent._options import check_at_least
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.automata.walks import Walk
from remanent.tasks.automata.words import LanguageTask

_AUTOMATA = {
    1: Automaton([[1, 0], [1, 1]], [1, 0]),
    2: Automaton([[2, 1], [0, 2], [2, 2]], [1, 0, 0]),
    # no odd block of ones yet: after an even block, in an odd one; then in an odd block of zeros, and after it
    3: Automaton([[0, 1], [2, 0], [3, 4], [2, 3], [4, 4]], [1, 1, 0, 1, 0]),
    4: Automaton([[1, 0], [2, 0], [3, 0], [3, 3]], [1, 1, 1, 0]),
    5: Automaton([[2, 1], [3, 0], [0, 3], [1, 2]], [1, 0, 0, 0]),
    6: Automaton([[2, 1], [0, 2], [1, 0]], [1, 0, 0]),
    7: Automaton([[0, 1], [2, 1], [2, 3], [4, 3], [4, 4]], [1, 1, 1, 1, 0]),
}
WALKS = MappingProxyType({language: Walk(automaton) for language, automaton in _AUTOMATA.items()})
"""The number of a language to the walk through its smallest automaton."""


@dataclass(frozen=True)
class Tomita(LanguageTask):
    r"""Tomita's languages: letters 0 and 1; the answer at every step is 1 where the word so far is in the language.

    1. $1^*$: ones alone;
    2. $(10)^*$;
    3. no odd block of zeros anywhere after an odd block of ones;
    4. no 000;
    5. an even number of zeros and an even number of ones;
    6. as many zeros as ones, modulo 3;
    7. $0^* 1^* 0^* 1^*$.

    A block is a run of equal letters, as long as it gets. Letters that cannot be undone, such as the first 0 in
    language 1, are drawn at step t with a probability that falls as 1 / t (`Walk`), all others alike, so that at every
    length some words can still belong to the language and others cannot; in languages 5 and 6 all letters are alike.
    The metric is the share of words that are right at every step.

    Args:
        language: the number of the language, 1 to 7.
        steps: T, the number of letters, at least 1.

    Raises:
        TypeError: an option is not an int.
        ValueError: `language` is not in [1, 7], or `steps` is below 1.

    Source: Tomita (1982), Dynamic construction of finite automata from examples using hill-climbing; language 3 as
    in Weiss, Goldberg, Yahav (2018), arXiv 1711.09576.

    >>> import torch
    >>> x, y = Tomita(language=6, steps=5).batch(2, torch.Generator().manual_seed(0))
    >>> torch.equal(y[:, -1], (x.sum(1) % 3 == (1 - x).sum(1) % 3).long())
    True
    """

    name = "tomita"

    language: int = 4
    steps: int = 64

    def __post_init__(self) -> None:
        check_at_least("language", self.language, 1)
        if self.language not in WALKS:
            raise ValueError(f"`language` must be in [1, {len(WALKS)}], got {self.language}")
        check_at_least("steps", self.steps, 1)

    @property
    def walk(self) -> Walk:
        """The walk through the smallest automaton of the language."""
        return WALKS[self.language]
