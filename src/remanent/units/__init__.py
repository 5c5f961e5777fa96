"""Recurrent units: parameters around the scans, one family a file."""

from remanent.units.base import RecurrentUnit
from remanent.units.bmru import BMRU
from remanent.units.lru import LRU

UNITS: dict[str, type[RecurrentUnit]] = {"bmru": BMRU, "lru": LRU}
"""Name to class, for configurations and the command line."""

__all__ = ["BMRU", "LRU", "UNITS", "RecurrentUnit"]
