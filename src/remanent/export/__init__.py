"""Trained models for other runtimes."""

from remanent.export.onnx import export_onnx

FORMATS = ("onnx",)

__all__ = ["FORMATS", "export_onnx"]
