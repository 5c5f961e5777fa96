"""Sequence models: blocks around the units, from configuration to file and back."""

from remanent.models.config import ModelConfig
from remanent.models.hybrid import Hybrid
from remanent.models.sequence import ModelState, SequenceModel

__all__ = ["Hybrid", "ModelConfig", "ModelState", "SequenceModel"]
