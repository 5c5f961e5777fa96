"""Figures and tables from plain values. Figures need the extra `train`."""

from remanent.report.tables import markdown_table

__all__ = ["markdown_table"]
