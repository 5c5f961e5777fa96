"""Processes that train one run together, each started as a launcher would, and killed as a test likes."""

import contextlib
import os
import signal
import socket
import threading
import time
from multiprocessing.connection import wait

import torch

from crew import forkserver
from remanent._terminal import Terminated
from remanent.distributed import Launch
from remanent.training import Experiment, resume_run, start_run
from remanent.training.checkpoints import Checkpoints

PATIENCE = 240.0
"""Seconds after which processes that have not ended are taken for hung."""


class Team:
    """The processes of one attempt.

    Args:
        size: how many.
        target: what each calls, with its rank and `arguments`; what it returns or raises is kept.
    """

    def __init__(self, size, target, *arguments):
        context = forkserver()
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        self.pipes = [reader for reader, _ in pipes]
        self.processes = [
            context.Process(target=_work, args=(rank, size, port, writer, target, arguments), daemon=True)
            for rank, (_, writer) in enumerate(pipes)
        ]
        for process in self.processes:
            process.start()
        for _, writer in pipes:
            writer.close()

    def send(self, rank, number):
        """Sends a signal to one of them, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.processes[rank].pid, number)

    def outcomes(self, grace=None):
        """What each returned; or a pair of an error's name and words; or its exit status where it said nothing.

        Where one said nothing, the others are ended after so many seconds, as a launcher does; None for never.
        """
        found = {}
        deadline = time.monotonic() + PATIENCE
        while len(found) < len(self.pipes):
            hangs = [rank for rank in range(len(self.pipes)) if rank not in found]
            assert time.monotonic() < deadline, f"ranks {hangs} hang"
            for pipe in wait([self.pipes[rank] for rank in hangs], 1.0):
                rank = self.pipes.index(pipe)
                try:
                    found[rank] = pipe.recv()
                except EOFError:
                    self.processes[rank].join(PATIENCE)
                    found[rank] = self.processes[rank].exitcode
                    if grace is not None:
                        threading.Timer(grace, self._kill).start()
        return [found[rank] for rank in range(len(self.pipes))]

    def _kill(self):
        for process in self.processes:
            process.kill()

    def close(self):
        """Ends what has not ended."""
        self._kill()
        for process in self.processes:
            process.join()


def together(size, target, *arguments):
    """What each of so many processes returns."""
    team = Team(size, target, *arguments)
    try:
        return team.outcomes()
    finally:
        team.close()


def train_on_a_full_disk(rank, step, config, folder, launch):
    """The same, where no file can grow from the checkpoint of a step on."""
    import resource

    real = Checkpoints.write

    def write(self, save, now, *others, **options):
        if now == step:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        real(self, save, now, *others, **options)

    Checkpoints.write = write
    return train(rank, config, folder, launch)


def train_in_float64(rank, config, folder, launch):
    """The same, where rounding hides nothing."""
    torch.set_default_dtype(torch.float64)
    return train(rank, config, folder, launch)


def train(rank, config, folder, launch):
    """Begins a run, or goes on with it."""
    launch = Launch(**launch)
    if folder.exists():
        resume_run(folder, progress=False, launch=launch)
    else:
        start_run(Experiment.from_dict(config), folder, progress=False, launch=launch)
    return "done"


def _work(rank, size, port, pipe, target, arguments):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    told = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(value) for name, value in told.items()})
    os.environ.update({"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "TORCH_CPP_LOG_LEVEL": "ERROR"})
    torch.set_num_threads(1)
    try:
        pipe.send(target(rank, *arguments))
    except Terminated as ended:
        pipe.send(("Terminated", str(ended)))
    except Exception as error:
        pipe.send((type(error).__name__, str(error)))
