"""Memory for agents: units and models as modules of TorchRL."""

from remanent._plugins import naming_extra

with naming_extra():
    from remanent.rl.module import RecurrentModule

__all__ = ["RecurrentModule"]
