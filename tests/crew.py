"""Processes that stand by for the tests, joined in a gloo group: each call runs on all of them at once."""

import multiprocessing
import multiprocessing.forkserver
import os
import tempfile
import traceback
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

PATIENCE = 300.0
"""Seconds after which a call is taken for a hang."""


PRELOADED = (
    *("team", "crew", "shard_calls"),
    *("remanent.training.run", "remanent.ops.cpu.latch_kernels", "remanent.ops.cpu.linear_kernels"),
    "remanent.ops.cpu.transition_kernels",
    *("filelock", "safetensors.torch", "torch.utils.tensorboard"),
)
"""What the processes of tests import at their start, or while they train."""


def forkserver():
    """The server of which the processes of all tests are forked: it imports once what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    with pytest.MonkeyPatch.context() as patch:
        # the server knows nothing of this process's `sys.path`, and passes over in silence what it does not find
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        multiprocessing.forkserver.ensure_running()
    return context


class Crew:
    """So many processes, each with one thread.

    Args:
        size: how many.
    """

    def __init__(self, size):
        self.folder = tempfile.TemporaryDirectory()
        context = forkserver()
        pipes = [context.Pipe() for _ in range(size)]
        self.pipes = [ours for ours, _ in pipes]
        meeting = str(Path(self.folder.name) / "meeting")
        self.processes = [
            context.Process(target=_stand_by, args=(rank, size, meeting, theirs), daemon=True)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process in self.processes:
            process.start()

    def run(self, function, *arguments):
        """What a function of (rank, size, *arguments) returns on each process; an error as a pair of name and words."""
        for pipe in self.pipes:
            pipe.send((function, arguments))
        found = []
        for rank, pipe in enumerate(self.pipes):
            assert pipe.poll(PATIENCE), f"rank {rank} hangs in {function.__name__}"
            found.append(pipe.recv())
        return found

    def close(self):
        for process in self.processes:
            process.kill()
            process.join()
        self.folder.cleanup()


@pytest.fixture(scope="session", params=[2, 4])
def crew(request):
    """Two processes, and four."""
    if not dist.is_available():
        pytest.skip("needs torch.distributed")
    crew = Crew(request.param)
    yield crew
    crew.close()


def _stand_by(rank, size, meeting, pipe):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    while True:
        function, arguments = pipe.recv()
        try:
            pipe.send(function(rank, size, *arguments))
        except (TypeError, ValueError, RuntimeError) as error:
            traceback.print_exc()
            pipe.send((type(error).__name__, str(error)))
