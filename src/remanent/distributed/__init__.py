"""The processes that train one run together: launcher, ranks and heartbeat."""

from remanent.distributed.ranks import Launch

__all__ = ["Launch"]
