"""Words of a user's own automaton: in Python, from a file, or from a regular expression, which all answer alike."""

import dataclasses
import pickle
import re

import pytest
import torch

from remanent import ModelConfig
from remanent.records.configuration import Experiment, fitting
from remanent.records.identity import identity
from remanent.records.training_config import TrainingConfig
from remanent.tasks import Automaton, AutomatonWord, Dyck, read_whole
from remanent.tasks.automata.regular_expressions import compile_pattern

EVEN = Automaton([[1, 0], [0, 1]], [1, 0])
"""Whether there is an even number of a, the first letter."""


def experiment(task):
    return Experiment(task, ModelConfig(**fitting(task), hidden_size=4, num_layers=1), TrainingConfig())


def need_automata_lib():
    pytest.importorskip("automata", reason="needs automata-lib, of the extra `automata`")


def test_a_file_and_an_automaton_in_python_give_the_same_words(tmp_path):
    (tmp_path / "even.json").write_text(EVEN.to_json())
    tasks = [AutomatonWord.of(EVEN, steps=9), AutomatonWord(str(tmp_path / "even.json"), steps=9)]
    for task in tasks:
        assert task.automaton == EVEN
        x, y = task.batch(5, torch.Generator().manual_seed(0))
        assert torch.equal(y, 1 - (x == 0).cumsum(1) % 2)
    assert all(
        torch.equal(*parts) for parts in zip(*(read_whole(task, "test", 0, 3, 20) for task in tasks), strict=True)
    )
    default = AutomatonWord()
    x, y = default.batch(50, torch.Generator().manual_seed(0))
    for word, answers in zip(x.tolist(), y.tolist(), strict=True):
        text = "".join("ab"[letter] for letter in word)
        assert answers == [int(text[: t + 1].endswith("abb")) for t in range(64)]


def test_a_run_knows_its_automaton_by_what_it_holds(tmp_path):
    for name, automaton in (("a", EVEN), ("b", EVEN), ("c", Automaton([[0, 0]], [1]))):
        (tmp_path / name).write_text(automaton.to_json())
    made = [experiment(AutomatonWord(str(tmp_path / name))) for name in "abc"]
    ids = [identity(each.to_dict()) for each in made]
    assert ids[0] == ids[1] != ids[2]
    given = experiment(AutomatonWord.of(EVEN))
    assert Experiment.from_dict(given.to_dict()) == given
    (tmp_path / "a").write_text("no automaton")
    assert made[0].task.automaton == EVEN  # an object keeps what it has read
    again = pickle.loads(pickle.dumps(made[0].task))
    with pytest.raises(ValueError, match="a must hold JSON, got"):
        _ = again.automaton


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AutomatonWord(5), TypeError, "`path` must be a str or None, got 5"),
        (lambda: AutomatonWord(pattern=5), TypeError, "`pattern` must be a str or None, got 5"),
        (
            lambda: AutomatonWord(pattern=""),
            ValueError,
            r"`pattern` must not be empty \(the empty word is `\(\)`\), got ''",
        ),
        (
            lambda: AutomatonWord("a.json", pattern="a*"),
            ValueError,
            "`path`, `definition` and `pattern` must not be given together, got path='a.json', pattern='a\\*'",
        ),
        (
            lambda: AutomatonWord("no.json").automaton,
            FileNotFoundError,
            "`path` must name a file of an automaton, got no",
        ),
        (lambda: AutomatonWord(definition="{}").automaton, ValueError, "`definition` must have the key 'transitions'"),
        (
            lambda: AutomatonWord(pattern="a", letters="aa").automaton,
            ValueError,
            "`letters` must be different characters",
        ),
        (
            lambda: AutomatonWord(pattern="a", letters="").automaton,
            ValueError,
            "`letters` must be different characters",
        ),
    ],
)
def test_bad_automata_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "automata.base.exceptions", None)
    with pytest.raises(ModuleNotFoundError, match=r'need automata-lib: pip install "remanent\[automata\]"'):
        _ = AutomatonWord(pattern="(a|b)*ab").automaton


@pytest.mark.parametrize(
    ("pattern", "letters"),
    [
        ("(a|b)*abb", "ab"),
        ("b*(ab*ab*)*", "ab"),
        ("a?b{2,3}c+", "abc"),
        ("[ab]*c|cc", "abc"),
        ("a", "ab"),
        ("a.*a", "ba"),
        ("(ab)*", "01ab"),
    ],
)
def test_a_pattern_matches_what_it_matches_elsewhere(pattern, letters):
    need_automata_lib()
    automaton = compile_pattern(pattern, letters)
    assert automaton == automaton.minimised()
    words = torch.cartesian_prod(*[torch.arange(len(letters))] * 6)
    for word, answers in zip(words.tolist(), automaton.run(words).tolist(), strict=True):
        text = "".join(letters[letter] for letter in word)
        assert answers == [int(bool(re.fullmatch(pattern, text[: t + 1]))) for t in range(6)]


def test_a_pattern_becomes_a_task():
    need_automata_lib()
    assert compile_pattern("b*(ab*ab*)*", "ab") == EVEN
    task = AutomatonWord(pattern="(a|b)*abb", letters="ab")
    assert task.automaton == AutomatonWord().automaton.minimised()
    assert (task.input_size, task.output_size, task.fingerprint) == (2, 2, "")
    other = dataclasses.replace(task, pattern="(ab)*")
    assert identity(experiment(other).to_dict()) != identity(experiment(task).to_dict())
    assert Dyck(1, 1).automaton.distinguishing_word(compile_pattern("(01)*", "01")) is None


FAULTS = {
    "(a": "`(` (character 1) is never closed",
    "a(a|(b)": "`(` (character 2) is never closed",
    "ab)": "`)` (character 3) closes nothing",
    "*a": "`*` (character 1) repeats nothing",
    "a|+": "`+` (character 3) repeats nothing",
    "({2})": "`{2}` (character 2) repeats nothing",
    "a|": "`|` (character 2) has nothing after it",
    "(a&)b": "`&` (character 3) has nothing after it",
    "a(|b)": "`|` (character 3) has nothing before it",
    "^a$": "`^` (character 1) has nothing before it",
    "abc": "`c` (character 3) is none of the letters",
    "a b": "` ` (character 2) is none of the letters",
    "a{x}": "`{` (character 2) is no number of repetitions, such as {2} or {2,5}",
    "a{,}": "`{,}` (character 2) is no number of repetitions, such as {2} or {2,5}",
    "b{3,2}": "`{3,2}` (character 2) has the larger number first",
    "b{0}": "`{0}` (character 2) repeats nothing",
    "[ab": "`[` (character 1) is never closed",
    "ab]": "`]` (character 3) closes nothing",
    "ab}": "`}` (character 3) closes nothing",
    "a[]": "`[]` (character 2) lists no letter",
    "[^]": "`[^]` (character 1) lists no letter",
    "[ac]": "`[ac]` (character 1) lists c, which is none of the letters",
    "[ac-z]": "`[ac-z]` (character 1) lists c-z, which is none of the letters",
    "[b-a]": "`[b-a]` (character 1) runs backwards from b to a",
    r"\d": r"`\d` (character 1) is no letter, which a backslash makes of |&^*+?.(){}[]\ alone",
    r"a\(": r"`\(` (character 2) is none of the letters",
    "a\\": "`\\` (character 2) has nothing after it",
}


@pytest.mark.parametrize("pattern", FAULTS)
def test_what_is_no_pattern_is_refused_with_its_place(pattern):
    rule = f"`pattern` must be a regular expression over the letters ab, got {pattern!r}: {FAULTS[pattern]}"
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
        compile_pattern(pattern, "ab")


def test_an_empty_pattern_is_refused_unless_an_earlier_version_wrote_it_beside_another_automaton():
    with pytest.raises(ValueError, match=r"`pattern` must not be empty \(the empty word is `\(\)`\), got ''"):
        compile_pattern("", "ab")
    earlier = AutomatonWord(definition=EVEN.to_json(), pattern="")
    assert earlier == AutomatonWord.of(EVEN)
    assert identity(experiment(earlier).to_dict()) == identity(experiment(AutomatonWord.of(EVEN)).to_dict())


def test_signs_that_are_letters_are_escaped():
    need_automata_lib()
    assert compile_pattern(r"(\(\))*", "()") == compile_pattern("(ab)*", "ab")
    assert compile_pattern(r"[\(*]|\^", "(*^") == compile_pattern("a|b|c", "abc")
