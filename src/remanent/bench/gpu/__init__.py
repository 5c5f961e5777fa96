"""On a GPU: whether everything is right there, how fast it is, and what it learns in three minutes."""

from remanent.bench.gpu.cases import Settings
from remanent.bench.gpu.supervise import PARTS, run_gpu

__all__ = ["PARTS", "Settings", "run_gpu"]
