"""Trained models for other runtimes."""

from remanent.export.c import Module, export_c, write_c
from remanent.export.onnx import export_onnx

FORMATS = ("onnx", "c")

__all__ = ["FORMATS", "Module", "export_c", "export_onnx", "write_c"]
