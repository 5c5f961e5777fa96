"""What pytest leaves out of the package's own doctests where an extra is not installed."""

from importlib.util import find_spec

RL = "src/remanent/rl"
OF_TORCHRL = ("module", "learning", "agent_training", "agent_run", "agent_record")
"""The files of `remanent.rl` that import TorchRL, themselves or through another one."""
OF_GYMNASIUM = ("environments/gym_id", "environments/gym_interface")

collect_ignore = [f"{RL}/{name}.py" for name in OF_TORCHRL if not find_spec("torchrl")]
collect_ignore += [f"{RL}/{name}.py" for name in OF_GYMNASIUM if not find_spec("gymnasium")]
