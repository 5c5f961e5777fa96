"""Trained models for other runtimes."""

from remanent.export.c import Module, export_c, write_c
from remanent.export.chip import ChipRun, run_on_chip
from remanent.export.onnx import export_onnx

FORMATS = ("onnx", "c")
"""The formats that a model can be exported to."""

__all__ = ["FORMATS", "ChipRun", "Module", "export_c", "export_onnx", "run_on_chip", "write_c"]
