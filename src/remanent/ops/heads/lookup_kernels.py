"""The kernel that looks up the tables of tokens, in the form that `kernels.py` describes, on bytes."""

from remanent.ops.cpu.arrays import LookupArrays
from remanent.ops.cpu.kernels import ARRAYS, TASKS, header, row, split_task, take

TABLES, TOKENS, START, STATES = range(len(LookupArrays._fields))
STATES_OF_HEAD = ARRAYS + 3 * len(LookupArrays._fields)
"""The place of K, followed by that of R."""


def lookup_forward(args):
    """The states after every token."""
    h = header(args)
    K, R = h[STATES_OF_HEAD], h[STATES_OF_HEAD + 1]
    while True:
        task = take(h)
        if task >= h[TASKS]:
            return
        b, first, n, _, begin, end = split_task(h, task)
        previous = row(h, args, START, b, 0, first * R, n * R)
        for t in range(begin, end):
            token = row(h, h, TOKENS, b, t, 0, 1)[0]
            table = row(h, args, TABLES, token, 0, first * K, n * K)
            y = row(h, args, STATES, b, t, first * R, n * R)
            for k in range(n):
                for i in range(k * R, k * R + R):
                    y[i] = table[k * K + previous[i]]
            previous = y
