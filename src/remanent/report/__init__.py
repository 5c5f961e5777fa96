"""Tables and figures from plain values and results files. Figures need the extra `train`."""

from remanent.report.groups import summarise
from remanent.report.results import find_results, read_results
from remanent.report.score_tables import FORMATS, render
from remanent.report.tables import format_score, markdown_table

__all__ = ["FORMATS", "find_results", "format_score", "markdown_table", "read_results", "render", "summarise"]
