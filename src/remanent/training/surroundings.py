"""What a training needs of its process: threads, silence, and that everything is as before when it ends."""

import dataclasses
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from remanent._restore import determinism_kept, threads_set, variable_kept
from remanent.records.configuration import Experiment

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
"""The environment variable that Lightning sets, since cuBLAS needs it to be deterministic."""


def with_threads(experiment: Experiment, threads: int | None, *, said: bool) -> Experiment:
    """The configuration with another number of threads, of which a warning says what it changes; None for its own.

    Args:
        experiment: the configuration of a run that is resumed.
        threads: the number of torch threads, in [1, 1024], or None.
        said: whether to warn.

    Raises:
        ValueError: the number is out of its range.
    """
    before = experiment.training.threads
    if threads is None or threads == before:
        return experiment
    training = dataclasses.replace(experiment.training, threads=threads)
    if said:
        rule = f"the run was begun with threads={before} and goes on with {threads}"
        warnings.warn(f"{rule}: its weights will be the same up to rounding, and not bit for bit", stacklevel=2)
    return dataclasses.replace(experiment, training=training)


@contextmanager
def surroundings(threads: int) -> Iterator[None]:
    """Sets the configured threads and silences the advice of Lightning within the context; all is given back.

    Lightning changes more than that: deterministic algorithms, cuDNN's search for the fastest algorithm, and an
    environment variable. After the context, they are as they were.
    """
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), variable_kept(CUBLAS), determinism_kept(), threads_set(threads):
            warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*|.*find_unused_parameters=True was specified.*")
            warnings.filterwarnings("ignore", message=".*FSDP2-wrapped module .* returned a view tensor.*")
            yield
    finally:
        logger.setLevel(level)
