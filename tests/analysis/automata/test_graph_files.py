"""Automata as files: other programs read the same automaton, and the same automaton gives the same bytes."""

import networkx as nx
import pytest

from remanent.analysis import save_automaton
from remanent.analysis.automata.graph_files import WRITERS
from remanent.tasks import IGNORED, Automaton, Dyck, FlipFlop


def test_graphml_holds_the_whole_automaton(tmp_path):
    machine = FlipFlop(cells=2).automaton
    save_automaton(machine, tmp_path / "machine.graphml")
    graph = nx.read_graphml(tmp_path / "machine.graphml", node_type=int, force_multigraph=True)
    rows = [[None] * machine.num_letters for _ in range(machine.num_states)]
    for source, target, data in graph.edges(data=True):
        rows[source][data["letter"]] = target
        assert data["label"] == str(data["letter"])
    answers = [graph.nodes[state].get("answer", IGNORED) for state in sorted(graph)]
    (start,) = (state for state in graph if graph.nodes[state]["start"])
    assert Automaton(rows, answers, start) == machine


def test_dot_merges_letters_and_escapes_names(tmp_path):
    machine = Automaton([[1, 1], [0, 1]], [IGNORED, 3], start=1)
    save_automaton(machine, tmp_path / "machine.dot", letters=['say "a"', "\\b"])
    assert (tmp_path / "machine.dot").read_text().splitlines()[4:] == [
        '  0 [label=""];',
        '  1 [label="3"];',
        "  start -> 1;",
        r'  0 -> 1 [label="say \"a\", \\b"];',
        r'  1 -> 0 [label="say \"a\""];',
        r'  1 -> 1 [label="\\b"];',
        "}",
    ]


def test_json_is_read_again(tmp_path):
    machine = Dyck(depth=2).automaton
    save_automaton(machine, str(tmp_path / "machine.json"), letters="([)]")
    assert Automaton.from_json((tmp_path / "machine.json").read_bytes()) == machine


@pytest.mark.parametrize("ending", WRITERS)
def test_the_same_automaton_gives_the_same_bytes(ending, tmp_path):
    for name in ("one", "two"):
        save_automaton(FlipFlop().automaton, tmp_path / f"{name}{ending}", letters=["$a", "$b", "hold"])
    assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()


def test_another_ending_and_wrong_names_are_rejected_before_a_file_is_written(tmp_path):
    machine = FlipFlop().automaton
    with pytest.raises(ValueError, match=r"`path` must end in .svg, .png, .graphml, .dot, .json, got .*machine.pdf"):
        save_automaton(machine, tmp_path / "machine.pdf")
    for ending in WRITERS:
        with pytest.raises(ValueError, match="`letters` must have a name for each of the 3 letters, got 2"):
            save_automaton(machine, tmp_path / f"machine{ending}", letters="ab")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`path` must lie in a folder that exists, got .*none/odd.dot"):
        save_automaton(Automaton([[0, 1], [1, 0]], answers=[0, 1]), tmp_path / "none" / "odd.dot")
