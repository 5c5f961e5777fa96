"""The processes of one run: ranks, launcher, heartbeat."""

from remanent.distributed.ranks import Launch

__all__ = ["Launch"]
