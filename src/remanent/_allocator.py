"""How the C library allocates memory, as an option for the whole process."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # options of glibc's mallopt
_PAD = 64 * 2**20


def reuse_freed_memory() -> bool:
    """Makes the process keep the memory of freed tensors for new ones, if the C library is glibc.

    By default, glibc returns large blocks to the system as they are freed, and the first access to each new page
    costs a page fault, so that filling a tensor of tens of MB takes several times as long as writing to memory in use,
    in every operation of torch. After the call, the process no longer shrinks: it keeps the memory of its peak (up to
    2 GiB at the end of its memory). Call it before the first large tensor, as the commands `remanent train`,
    `evaluate` and `demo` do. It affects the whole process and cannot be undone.

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
