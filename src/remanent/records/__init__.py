"""What a run is, as plain data: its configuration, what identifies it, and the record of its scores."""

from remanent._identity import BY_CONTENT, OWN_COLUMN, UNCOUNTED
from remanent.records.chosen import Chosen
from remanent.records.configuration import Experiment
from remanent.records.identity import identity
from remanent.records.record import LengthScore, Record, Seconds, Versions, append_record, read_records
from remanent.records.training_config import TrainingConfig

__all__ = [
    "BY_CONTENT",
    "OWN_COLUMN",
    "UNCOUNTED",
    "Chosen",
    "Experiment",
    "LengthScore",
    "Record",
    "Seconds",
    "TrainingConfig",
    "Versions",
    "append_record",
    "identity",
    "read_records",
]
