"""Sequence models: blocks around the units, from configuration to file and back."""

from remanent.models.attention import Attention, AttentionState
from remanent.models.clock import Clock
from remanent.models.config import ModelConfig
from remanent.models.convolution import CausalConv1d
from remanent.models.hybrid import Hybrid
from remanent.models.inputs import Statistics, set_statistics
from remanent.models.saved import Names
from remanent.models.sequence import SequenceModel
from remanent.models.session import Session
from remanent.models.shared.shipped import SHIPPED, shipped_folder
from remanent.models.state import ModelState

__all__ = [
    "SHIPPED",
    "Attention",
    "AttentionState",
    "CausalConv1d",
    "Clock",
    "Hybrid",
    "ModelConfig",
    "ModelState",
    "Names",
    "SequenceModel",
    "Session",
    "Statistics",
    "set_statistics",
    "shipped_folder",
]
