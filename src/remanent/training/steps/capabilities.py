"""What the options of a step ask of the machine and the processes."""

import os
import shutil
import sys

import torch

from remanent.distributed.ranks import Ranks
from remanent.records.training_config import TrainingConfig
from remanent.training.steps import compiling


def check_capabilities(config: TrainingConfig, ranks: Ranks) -> None:
    """Raises unless the processes can take the steps that are asked for.

    Raises:
        ValueError: an option does not go with how the processes share the run, or needs what the machine lacks.
    """
    launch, fsdp = ranks.launch, ranks.launch.strategy == "fsdp"
    plain = TrainingConfig()
    for name in ("restart_after", "average", "compile", "precision"):
        given, whole = getattr(config, name), getattr(plain, name)
        if fsdp and given != whole:
            raise ValueError(f"`training.{name}` must be {whole} with the strategy fsdp, got {given}")
    if config.compile:
        if ranks.time.size > 1:
            raise ValueError(f"`training.compile` must be False with `time_shards`, got True with {ranks.time.size}")
        found = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        if launch.accelerator == "cpu" and compiling.BACKEND == "inductor" and shutil.which(found) is None:
            raise ValueError(f"`training.compile` must be False without the C++ compiler {found}, got True")
    if config.precision == "16-mixed" and launch.accelerator == "cpu":
        raise ValueError("`training.precision` must be 32-true or bf16-mixed on the CPU, got 16-mixed")
    if config.precision == "bf16-mixed" and launch.accelerator == "gpu" and not torch.cuda.is_bf16_supported():
        raise ValueError(
            "`training.precision` must be 32-true or 16-mixed on this GPU, which lacks bfloat16, got bf16-mixed"
        )
