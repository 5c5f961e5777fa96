"""Imports Lightning before anything else does, without the ranks that a scheduler or a launcher has set.

Lightning and torchmetrics guess the rank of the process as they are imported, from variables of several schedulers:
a rank above 0 silences them for good, and one that is no number makes the import fail. A run sets its rank itself.
"""

from remanent._launched import RANKS, without
from remanent._plugins import naming_extra

with without(RANKS), naming_extra():
    import pytorch_lightning  # noqa: F401
    import torchmetrics  # noqa: F401
