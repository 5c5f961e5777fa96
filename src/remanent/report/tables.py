"""Tables as Markdown text."""

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column on the left and the rest on the right.

    >>> print(markdown_table(["unit", "error"], [["bmru", "0.01"]]))
    | unit | error |
    |---|--:|
    | bmru | 0.01 |
    """
    lines = [header, *rows]
    text = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([text[0], "|---" + "|--:" * (len(header) - 1) + "|", *text[1:]])
