"""Tables as Markdown text."""

from collections.abc import Sequence


def format_score(score: float, metric: str) -> str:
    """A score as it is shown: an accuracy in percent, an error with four digits.

    >>> format_score(0.914, "accuracy"), format_score(0.0036, "mse")
    ('91.4 %', '0.0036')
    """
    return f"{100 * score:.1f} %" if metric == "accuracy" else f"{score:.4f}"


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
