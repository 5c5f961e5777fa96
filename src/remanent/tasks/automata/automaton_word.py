"""Words that a user's own automaton answers: given in Python, in a file, or as a regular expression."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from remanent._identity import BY_CONTENT
from remanent._options import check_at_least, check_text
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.automata.regular_expressions import compile_pattern
from remanent.tasks.automata.walks import Walk
from remanent.tasks.automata.words import LanguageTask
from remanent.tasks.base import StoredTask

ENDS_IN_ABB = Automaton([[1, 0], [1, 2], [1, 3], [1, 0]], [0, 0, 0, 1])
"""Whether a word of a, letter 0, and b, letter 1, ends in abb: what is walked through where nothing else is given."""


@dataclass(frozen=True)
class AutomatonWord(LanguageTask, StoredTask[Walk]):
    """Words that an automaton of your own answers at every step.

    The automaton comes from one of `path`, `definition` and `pattern`; without any, it says whether a word of a and b
    ends in abb. Letters that cannot be undone are drawn at step t with a probability that falls as 1 / t (`Walk`), all
    others alike. The metric is the share of words that are right at every step.

    Args:
        path: a JSON file with the keys transitions, answers and start, as `Automaton.to_json` writes it.
        definition: the same as text; `AutomatonWord.of` writes it for an `Automaton`.
        pattern: a regular expression; the answer is 1 where the whole word so far matches, else 0. It is made of
            letters, `.` for any, `[ab]`, `(...)`, `a|b`, `a?`, `a*`, `a+` and `a{2,5}`, as automata-lib reads them; the
            empty word is `()`.
        letters: the letters of `pattern`, each a character; their places are the tokens.
        steps: T, the number of letters in a word, at least 1.

    Raises:
        TypeError: an option is of another type.
        ValueError: more than one automaton is given, the pattern is empty, or `steps` is below 1; when the automaton is
            first needed, its text or file does not hold one, or the pattern is none.
        FileNotFoundError: when the automaton is first needed, `path` names no file.
        ModuleNotFoundError: when a pattern is first needed, automata-lib is not installed.

    >>> import torch
    >>> count_to_three = Automaton([[0, 1], [1, 2], [2, 0]], answers=[0, 1, 2])
    >>> task = AutomatonWord.of(count_to_three, steps=8)
    >>> x, y = task.batch(2, torch.Generator().manual_seed(0))
    >>> torch.equal(y, x.cumsum(1) % 3)
    True
    """

    name = "automaton-word"

    path: str | None = field(default=None, metadata=BY_CONTENT)
    definition: str = ""
    pattern: str | None = None
    letters: str = "ab"
    steps: int = 64

    def __post_init__(self) -> None:
        check_text("path", self.path)
        check_text("pattern", self.pattern)
        given = {name: getattr(self, name) for name in ("path", "definition", "pattern")}
        for name in ("definition", "letters"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"`{name}` must be a str, got {getattr(self, name)!r}")
        check_at_least("steps", self.steps, 1)
        used = [f"{name}={value!r}" for name, value in given.items() if value]
        if len(used) > 1:
            raise ValueError(f"`path`, `definition` and `pattern` must not be given together, got {', '.join(used)}")
        if self.pattern == "":
            if not used:
                raise ValueError("`pattern` must not be empty (the empty word is `()`), got ''")
            object.__setattr__(self, "pattern", None)  # earlier versions wrote "" beside a path or a definition

    @classmethod
    def of(cls, automaton: Automaton, *, steps: int = 64) -> Self:
        """The task of an automaton, which the configuration of a run holds as text.

        Args:
            automaton: what answers; a user of the task needs no file for it.
            steps: the number of letters in a word, at least 1.
        """
        return cls(definition=automaton.to_json(), steps=steps)

    @property
    def walk(self) -> Walk:
        """The walk through the automaton that is given."""
        return self._data

    @property
    def letter_names(self) -> tuple[str, ...]:
        """The characters of a pattern; a and b where nothing is given; else numbers."""
        is_given = self.path is not None or bool(self.definition)
        return super().letter_names if is_given else tuple(self.letters if self.pattern else "ab")

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the automaton, where it comes from a file."""
        return "" if self.path is None else hashlib.sha256(self.automaton.to_json().encode()).hexdigest()

    def _load(self) -> Walk:
        if self.path is not None:
            if not Path(self.path).is_file():
                raise FileNotFoundError(f"`path` must name a file of an automaton, got {self.path}")
            return Walk(Automaton.from_json(Path(self.path).read_bytes(), self.path))
        if self.definition:
            return Walk(Automaton.from_json(self.definition, "`definition`"))
        return Walk(compile_pattern(self.pattern, self.letters) if self.pattern else ENDS_IN_ABB)
