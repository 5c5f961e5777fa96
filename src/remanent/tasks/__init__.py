"""Memory tasks: data and how it is judged; they know no model."""

from remanent.tasks.base import Task
from remanent.tasks.copy_first import CopyFirst
from remanent.tasks.delayed_integration import DelayedIntegration
from remanent.tasks.denoising import Denoising
from remanent.tasks.metrics import METRICS, Metric
from remanent.tasks.sequential_image import SequentialImage

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        CopyFirst,
        Denoising,
        DelayedIntegration,
        SequentialImage,
    )
}
"""Name to class, for configurations and the command line."""

__all__ = [
    "METRICS",
    "TASKS",
    "CopyFirst",
    "DelayedIntegration",
    "Denoising",
    "Metric",
    "SequentialImage",
    "Task",
]
