"""What pytest, which looks for doctests in every file, leaves out where an extra is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("torchrl") and find_spec("gymnasium") else ["src/remanent/rl", "tests/rl_cases.py"]
