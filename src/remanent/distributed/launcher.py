"""Starts the processes of a run on this machine, with the launcher of torch."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from remanent._restore import handlers_kept, variable_kept

LOG_LEVEL = "TORCH_CPP_LOG_LEVEL"
"""The environment variable by which the processes learn what of torch's own messages they print."""


def launch(arguments: Sequence[str], processes: int) -> int:
    """Runs `python -m remanent` in several processes that train together; each prints its own errors.

    Args:
        arguments: the arguments of the command line.
        processes: the number of processes.

    Returns:
        0, or the exit status of the first process that failed.

    Raises:
        RuntimeError: a signal ended a process before it could print an error.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        with handlers_kept(), _quiet():
            # -P: the working directory may hold a file that is named as a package which the program imports
            elastic_launch(config, sys.executable)("-P", "-m", "remanent", *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            raise RuntimeError(f"rank {rank} was ended by {signal.Signals(-failure.exitcode).name}") from None
        return failure.exitcode
    except SignalException as signalled:
        return 128 + int(signalled.sigval)
    return 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the launcher and torch's own messages, of which one warns against what makes a resumed run exact."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with variable_kept(LOG_LEVEL):
            os.environ.setdefault(LOG_LEVEL, "ERROR")
            yield
    finally:
        logging.disable(before)
