"""How a run ends that was told to."""

import signal


class Terminated(SystemExit):
    """A run that was told to end by SIGTERM, and that can go on.

    Args:
        message: how far it came, and how to go on.
    """

    STATUS = 128 + signal.SIGTERM

    def __init__(self, message: str) -> None:
        super().__init__(self.STATUS)
        self.message = message

    def __str__(self) -> str:
        return self.message
