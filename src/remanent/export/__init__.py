"""Trained models for other runtimes."""

from remanent.export.arduino import export_arduino
from remanent.export.c import Module, export_c, time_step, write_c
from remanent.export.chip import ChipRun, run_on_chip
from remanent.export.onnx import export_onnx, time_graph

FORMATS = ("onnx", "c", "arduino")
"""The formats that a model can be exported to."""

__all__ = [
    "FORMATS",
    "ChipRun",
    "Module",
    "export_arduino",
    "export_c",
    "export_onnx",
    "run_on_chip",
    "time_graph",
    "time_step",
    "write_c",
]
