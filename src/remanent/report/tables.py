"""Tables as Markdown and LaTeX text, and how a score is written in them."""

import unicodedata
from collections.abc import Sequence

from remanent.tasks.metrics import METRICS

DASH = "\u2013"
"""The dash between the ends of a range, which also stands in empty cells."""
NOT_FINITE = "not finite"
"""What stands for a score that is no number or infinite."""
LATEX = {  # what stands for signs that LaTeX reads
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    DASH: "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def format_score(score: float, metric: str) -> str:
    """A score as its metric writes it: a share in percent, an error with its digits.

    >>> format_score(0.914, "accuracy"), format_score(0.0036, "mse")
    ('91.4 %', '0.0036')
    """
    return format_spread(score, None, metric) + (" %" if METRICS[metric].is_share else "")


def format_spread(mean: float, std: float | None, metric: str) -> str:
    """A mean with its standard deviation; a share in percent, without the sign.

    >>> format_spread(0.914, 0.0051, "accuracy"), format_spread(0.0036, None, "mse"), format_spread(2e-5, 1e-6, "mse")
    ('91.4 ± 0.5', '0.0036', '2.00e-05 ± 1.00e-06')
    """
    written = METRICS[metric]
    plain = written.is_share or mean == 0 or 1e-3 <= abs(mean) < 1e4
    style = f".{written.digits}f" if plain else ".2e"
    return " ± ".join(f"{written.scale * value:{style}}" for value in (mean, std) if value is not None)


def counted(number: int, noun: str) -> str:
    """A number of things in words.

    >>> counted(1, "run"), counted(2, "run")
    ('1 run', '2 runs')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """A Markdown table with its first columns, which hold words, aligned to the left and all others to the right.

    Args:
        header: a name for each column.
        rows: the cells of each row.
        words: how many columns hold words.

    >>> print(markdown_table(["unit", "error"], [["bmru", "0.01"]]))
    | unit | error |
    |---|--:|
    | bmru | 0.01 |
    """
    lines = [header, *rows]
    text = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([text[0], "|---" * words + "|--:" * (len(header) - words) + "|", *text[1:]])


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A LaTeX tabular for the package booktabs, from text that is already LaTeX.

    >>> print(latex_table(["unit", "error"], [["bmru", r"\textbf{0.01}"]]))
    \begin{tabular}{lr}
    \toprule
    unit & error \\
    \midrule
    bmru & \textbf{0.01} \\
    \bottomrule
    \end{tabular}
    """
    first, *others = [" & ".join(line) + r" \\" for line in (header, *rows)]
    columns = "l" + "r" * (len(header) - 1)
    ends = ([rf"\begin{{tabular}}{{{columns}}}", r"\toprule"], [r"\bottomrule", r"\end{tabular}"])
    return "\n".join([*ends[0], first, r"\midrule", *others, *ends[1]])


def latex_escape(text: str) -> str:
    r"""Plain text as LaTeX, in one line; what begins with [ or * is no option of the line before.

    >>> print(latex_escape("alpha_cmru, 91.4 ± 0.5 %"))
    alpha\_cmru, 91.4 $\pm$ 0.5 \%
    """
    line = one_line(text)
    return "{}" * line.startswith(("[", "*")) + "".join(LATEX.get(sign, sign) for sign in line)


def markdown_escape(text: str) -> str:
    r"""Plain text as Markdown, in one line, without HTML, links, code and the ends of a cell.

    >>> print(markdown_escape("a|b <script> [x](y)"))
    a\|b &lt;script> [x]\(y)
    """
    return one_line(text).replace("|", r"\|").replace("<", "&lt;").replace("`", r"\`").replace("](", r"]\(")


def spreadsheet_escape(text: str) -> str:
    """Plain text for a cell of CSV, which a spreadsheet does not take for a formula.

    >>> spreadsheet_escape("=1+1"), spreadsheet_escape("bmru")
    ("'=1+1", 'bmru')
    """
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) or text.startswith(("\t", "\r", "\n")) else text


def one_line(text: str) -> str:
    """A text without the ends of its lines, and without control characters."""
    return "".join(sign for sign in " ".join(text.split()) if unicodedata.category(sign) not in ("Cc", "Cf"))
