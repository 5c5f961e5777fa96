"""Regular expressions as automata that say whether a word matches."""

from functools import lru_cache
from typing import Any

from remanent.tasks.automata.automaton import Automaton


@lru_cache(maxsize=16)
def compile_pattern(pattern: str, letters: str) -> Automaton:
    """The smallest automaton that answers 1 where a whole word matches a regular expression, else 0.

    Args:
        pattern: in the syntax of automata-lib: letters, `.` for any of them, `[ab]`, `(...)`, `a|b`, `a?`, `a*`, `a+`,
            `a{2,5}`; and `a&b`, what matches both, and `a^b`, the words of both shuffled. `()` is the empty word.
        letters: the letters of words, each a character; their places are the tokens.

    Raises:
        ModuleNotFoundError: automata-lib is not installed.
        ValueError: a letter stands twice or means something else in patterns, there is none, or the pattern is none.

    An even number of a: `compile_pattern("b*(ab*ab*)*", "ab")` is `Automaton([[1, 0], [0, 1]], [1, 0])`.
    """
    if not letters or len(set(letters)) < len(letters):
        raise ValueError(f"`letters` must be different characters, at least one, got {letters!r}")
    machine = _parse(pattern, letters)
    number = {state: i for i, state in enumerate(sorted(machine.states))}
    lost = len(number)  # where no word matches any more
    rows = [[number.get(machine.transitions[state].get(letter), lost) for letter in letters] for state in number]
    answers = [int(state in machine.final_states) for state in number]
    return Automaton([*rows, [lost] * len(letters)], [*answers, 0], number[machine.initial_state]).minimised()


def _parse(pattern: str, letters: str) -> Any:
    """The deterministic automaton of automata-lib for a pattern."""
    try:
        from automata.base.exceptions import AutomatonException, RegexException
        from automata.fa.dfa import DFA
        from automata.fa.nfa import NFA
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'regular expressions need automata-lib: pip install "remanent[automata]" ({error})'
        ) from None
    try:
        return DFA.from_nfa(NFA.from_regex(pattern, input_symbols=set(letters)), retain_names=False, minify=False)
    except (AutomatonException, RegexException) as error:
        rule = f"a regular expression over the letters {letters}"
        raise ValueError(f"`pattern` must be {rule}, got {pattern!r}: {error}") from None
