"""Figures and tables from plain values. Figures need the extra `train`."""

from remanent.report.tables import format_score, markdown_table

__all__ = ["format_score", "markdown_table"]
