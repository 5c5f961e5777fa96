"""Tables as Markdown and LaTeX text, and how a score is written in them."""

from collections.abc import Sequence
from typing import NamedTuple


class Score(NamedTuple):
    """How a metric is written.

    Attributes:
        title: its name in a sentence.
        more_is_better: whether it is a share of right answers, which is written in percent.
        digits: behind the point.
    """

    title: str
    more_is_better: bool
    digits: int


SCORES = {
    "mse": Score("mean squared error", False, 4),
    "accuracy": Score("accuracy", True, 1),
    "sequence_accuracy": Score("sequences right at every step", True, 1),
    "vote_accuracy": Score("accuracy by majority vote over frames", True, 1),
    "bits": Score("bits per character", False, 3),
}
"""Metric to how it is written."""
DASH = "\u2013"
"""Between two ends of a range, and where there is nothing."""
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    DASH: "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def format_score(score: float, metric: str) -> str:
    """A score as it is shown: an accuracy in percent, an error with four digits, one per character with three.

    >>> format_score(0.914, "accuracy"), format_score(0.0036, "mse")
    ('91.4 %', '0.0036')
    """
    return format_spread(score, None, metric) + (" %" if SCORES[metric].more_is_better else "")


def format_spread(mean: float, std: float | None, metric: str) -> str:
    """A mean with its standard deviation, a share in percent without the sign.

    >>> format_spread(0.914, 0.0051, "accuracy"), format_spread(0.0036, None, "mse"), format_spread(2e-5, 1e-6, "mse")
    ('91.4 ± 0.5', '0.0036', '2.00e-05 ± 1.00e-06')
    """
    score = SCORES[metric]
    scale = 100 if score.more_is_better else 1
    plain = score.more_is_better or mean == 0 or 1e-3 <= abs(mean) < 1e4
    style = f".{score.digits}f" if plain else ".2e"
    return " ± ".join(f"{scale * value:{style}}" for value in (mean, std) if value is not None)


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


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A LaTeX tabular for the package booktabs, from text that is LaTeX already.

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
    r"""Plain text as LaTeX.

    >>> print(latex_escape("alpha_cmru, 91.4 ± 0.5 %"))
    alpha\_cmru, 91.4 $\pm$ 0.5 \%
    """
    return "".join(LATEX.get(sign, sign) for sign in text)
