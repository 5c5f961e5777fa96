"""What pytest leaves out of the package's own doctests where an extra is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("torchrl") else ["src/remanent/rl/module.py"]
