"""Automata as files: pictures, GraphML and DOT for other programs, and JSON."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType

from remanent._files import figure_bytes, write_whole
from remanent.analysis.automata.picture.drawing import draw_automaton, names_of
from remanent.tasks import IGNORED, Automaton


def save_automaton(automaton: Automaton, path: str | Path, *, letters: Sequence[str] | None = None) -> None:
    """Writes an automaton into a file, whose name says how; the same automaton gives the same bytes.

    Args:
        automaton: what is written.
        path: the file, which is replaced if it exists. It ends in .svg or .png for a picture (`draw_automaton`), in
            .graphml or .dot for programs that draw and measure graphs (yEd, Gephi, networkx; Graphviz), or in .json
            for the text of `Automaton.to_json`, which knows no names of letters.
        letters: the name of each letter, such as the characters of "ab"; their numbers if None.

    Raises:
        ValueError: the name ends otherwise, there is not a name for each letter, or a picture has too many states.
        TypeError: a name is not a str.
        ModuleNotFoundError: a picture is written, and matplotlib or scipy is not installed.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> odd_ones = Automaton([[0, 1], [1, 0]], answers=[0, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_automaton(odd_ones, f"{folder}/odd.dot", letters="ab")
    ...     print(Path(f"{folder}/odd.dot").read_text())
    digraph automaton {
      rankdir=LR;
      node [shape=circle];
      start [shape=none, label=""];
      0 [label="0"];
      1 [label="1"];
      start -> 0;
      0 -> 0 [label="a"];
      0 -> 1 [label="b"];
      1 -> 1 [label="a"];
      1 -> 0 [label="b"];
    }
    """
    path = Path(path)
    writer = WRITERS.get(path.suffix)
    if writer is None:
        raise ValueError(f"`path` must end in {', '.join(WRITERS)}, got {path}")
    names_of(automaton, letters)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"`path` must lie in a folder that exists, got {path}")
    write_whole(path, writer(automaton, letters))


def _dot(automaton: Automaton, letters: Sequence[str] | None) -> bytes:
    """The automaton in the language of Graphviz; all letters between two states share an arrow."""
    names = names_of(automaton, letters)
    lines = ["rankdir=LR;", "node [shape=circle];", 'start [shape=none, label=""];']
    for state, answer in enumerate(automaton.answers):
        lines.append(f"{state} [label={_quoted('' if answer == IGNORED else str(answer))}];")
    lines.append(f"start -> {automaton.start};")
    for state, row in enumerate(automaton.transitions):
        for after in dict.fromkeys(row):
            together = ", ".join(name for name, to in zip(names, row, strict=True) if to == after)
            lines.append(f"{state} -> {after} [label={_quoted(together)}];")
    return "\n".join(["digraph automaton {", *(f"  {line}" for line in lines), "}", ""]).encode()


def _quoted(text: str) -> str:
    r"""A text as a string of DOT, where a backslash would begin an escape.

    >>> print(_quoted('say "\\n"'))
    "say \"\\n\""
    """
    for raw, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        text = text.replace(raw, escaped)
    return f'"{text}"'


def _graphml(automaton: Automaton, letters: Sequence[str] | None) -> bytes:
    """The automaton as GraphML: states with `answer`, where one is asked for, and `start`; arrows with `letter`."""
    import networkx as nx

    graph = nx.MultiDiGraph()
    for state, answer in enumerate(automaton.answers):
        asked = {} if answer == IGNORED else {"answer": answer}
        graph.add_node(state, start=state == automaton.start, **asked)
    names = names_of(automaton, letters)
    for state, row in enumerate(automaton.transitions):
        for letter, after in enumerate(row):
            graph.add_edge(state, after, key=f"{state} {letter}", letter=letter, label=names[letter])
    content = io.BytesIO()
    nx.write_graphml_xml(graph, content)  # the other writer needs lxml, and writes other bytes
    return content.getvalue()


def _picture(kind: str) -> Callable[[Automaton, Sequence[str] | None], bytes]:
    return lambda automaton, letters: figure_bytes(draw_automaton(automaton, letters=letters), kind)


def _json(automaton: Automaton, letters: Sequence[str] | None) -> bytes:
    return (automaton.to_json() + "\n").encode()


WRITERS = MappingProxyType(
    {".svg": _picture("svg"), ".png": _picture("png"), ".graphml": _graphml, ".dot": _dot, ".json": _json}
)
"""The end of a file's name to what gives the bytes of an automaton, with the names of its letters."""
