"""How the C library hands out memory: an option for a whole process."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # options of glibc's mallopt
_PAD = 64 * 2**20


def reuse_freed_memory() -> bool:
    """Makes the process keep the memory of freed tensors for the next ones, where the C library is glibc.

    By default, glibc returns large blocks to the system as they are freed, and the first touch of each new page
    costs a fault: a tensor of tens of MB takes several times as long to fill as its memory takes to write, in
    every operation of torch. Afterwards the process does not shrink: it keeps what it needed at its peak (up to
    2 GiB at the end of its memory). Call it before the first large tensor; the commands `remanent train`,
    `evaluate` and `demo` do. It is for the whole process, and there is no way back.

    Returns:
        Whether it took effect; False without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, _PAD))
    return all(mallopt(option, value) for option, value in settings)
