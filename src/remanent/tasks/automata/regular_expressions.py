"""Regular expressions as automata that say whether a word matches."""

import re
from functools import lru_cache
from typing import Any

from remanent.tasks.automata.automaton import Automaton

INFIX = ("|", "&", "^")
"""The signs between two parts of a pattern."""
SIGNS = "|&^*+?.(){}[]\\"
"""The characters that mean something in a pattern; a letter among them has a backslash before it."""
TOKENS = re.compile(r"\\.|\{\d*,?\d*\}|\[(?:\\.|[^]\\])*\]|.", re.DOTALL)
"""The parts of a pattern: an escaped sign, a number of repetitions, a set of letters, or a single character."""


@lru_cache(maxsize=16)
def compile_pattern(pattern: str, letters: str) -> Automaton:
    """The smallest automaton that answers 1 where a whole word matches a regular expression, else 0.

    Args:
        pattern: in the syntax of automata-lib: letters, `.` for any of them, `[ab]`, `(...)`, `a|b`, `a?`, `a*`, `a+`,
            `a{2,5}`; and `a&b`, what matches both, and `a^b`, the words of both shuffled. `()` is the empty word, and
            `\\(` the letter (.
        letters: the letters of words, each a character; their places are the tokens.

    Raises:
        ModuleNotFoundError: automata-lib is not installed.
        ValueError: a letter stands twice, there is none, or the pattern is empty or none; the message says where.

    An even number of a: `compile_pattern("b*(ab*ab*)*", "ab")` is `Automaton([[1, 0], [0, 1]], [1, 0])`.
    """
    if not letters or len(set(letters)) < len(letters):
        raise ValueError(f"`letters` must be different characters, at least one, got {letters!r}")
    if not pattern:
        raise ValueError(f"`pattern` must not be empty (the empty word is `()`), got {pattern!r}")
    fault = _fault(pattern, letters)
    if fault is not None:
        raise ValueError(f"{_rule(letters)}, got {pattern!r}: {fault}")
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
        raise ValueError(f"{_rule(letters)}, got {pattern!r}, which automata-lib does not read ({error})") from None


def _rule(letters: str) -> str:
    return f"`pattern` must be a regular expression over the letters {letters}"


def _fault(pattern: str, letters: str) -> str | None:
    """What is wrong with a pattern, and where; None where nothing is."""
    opened: list[str] = []
    before, shown = "(", ""
    for match in TOKENS.finditer(pattern):
        token, here = match[0], f"`{match[0]}` (character {match.start() + 1})"
        if token == ")" and before in INFIX:
            return f"{shown} has nothing after it"
        if token == ")" and not opened:
            return f"{here} closes nothing"
        why = _fault_of(token, letters, begins=before in ("(", *INFIX))
        if why is not None:
            return f"{here} {why}"
        if token == "(":
            opened.append(here)
        elif token == ")":
            opened.pop()
        before, shown = token, here
    if before in INFIX:
        return f"{shown} has nothing after it"
    return f"{opened[-1]} is never closed" if opened else None


def _fault_of(token: str, letters: str, *, begins: bool) -> str | None:
    """What is wrong with a part of a pattern, which may be the first one of its group."""
    if token in INFIX:
        return "has nothing before it" if begins else None
    if token in ("*", "+", "?") or token[0] == "{":
        return "repeats nothing" if begins else _fault_of_repetition(token)
    if token in ("(", ")", "."):
        return None
    if token in ("[", "]", "}"):
        return "is never closed" if token == "[" else "closes nothing"
    return _fault_of_set(token, letters) if token[0] == "[" else _fault_of_letter(token, letters)


def _fault_of_repetition(token: str) -> str | None:
    if token[0] != "{":
        return None
    least, comma, most = token[1:-1].partition(",")
    if not least and not most:
        return "is no number of repetitions, such as {2} or {2,5}"
    if int(most or (1 if comma else least)) == 0:
        return "repeats nothing"
    return "has the larger number first" if most and int(least or 0) > int(most) else None


def _fault_of_set(token: str, letters: str) -> str | None:
    listed = token[1:-1].removeprefix("^")
    if not listed:
        return "lists no letter"
    for first, last in re.findall(r"(\\.|.)(?:-(\\.|.))?", listed, re.DOTALL):
        low, high = first[-1], (last or first)[-1]
        if low > high:
            return f"runs backwards from {first} to {last}"
        if not any(low <= letter <= high for letter in letters):
            return f"lists {first}{'-' if last else ''}{last}, which is none of the letters"
    return None


def _fault_of_letter(token: str, letters: str) -> str | None:
    if token == "\\":
        return "has nothing after it"
    if token[0] == "\\" and token[1] not in SIGNS:
        return f"is no letter, which a backslash makes of {SIGNS} alone"
    return None if token[-1] in letters else "is none of the letters"
