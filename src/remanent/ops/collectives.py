"""Processes that share a sequence in time: their places, what they must agree on, and their collectives."""

from __future__ import annotations  # a build of torch without torch.distributed has no ProcessGroup

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from remanent.ops.arguments import COMPLEX_DTYPES, REAL_DTYPES

ALL_GATHER: Any = getattr(dist, "all_gather_single", None) or getattr(dist, "all_gather_into_tensor", None)
"""Gathers one tensor of every process; the second name is the one in versions of torch before the first existed."""
DTYPES = (*REAL_DTYPES, *COMPLEX_DTYPES)
"""The dtypes of scans; a process sends the others the place of its dtype in this order."""

_observers: list[Callable[[int], None]] = []  # of all threads: a backward pass may run in one of autograd's own


@contextmanager
def observe_collectives(observer: Callable[[int], None]) -> Iterator[None]:
    """Calls an observer before each collective of the scans, for the time of the context.

    Args:
        observer: gets the number of bytes that this process sends to each other one. Beyond the call this process
            may have to wait for the others.
    """
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


class Place(NamedTuple):
    """The place of a process among those that share time.

    Attributes:
        group: the processes.
        rank: of this process, in the order of time.
        size: the number of processes.
    """

    group: dist.ProcessGroup
    rank: int
    size: int


def place_in(group: Any, device: torch.device) -> Place:
    """This process's place in a group of processes, or in a device mesh of one dimension.

    Raises:
        TypeError: `group` is neither.
        ValueError: this process is not in `group`, or `group` has no collectives for the device.
    """
    if not dist.is_available():
        raise ValueError("`group` must be None where torch is built without torch.distributed, got one")
    if isinstance(group, DeviceMesh) and group.ndim != 1:
        raise ValueError(f"`group` must be a mesh of one dimension, such as mesh['time'], got {group.ndim} of them")
    group = _without_mesh(group)
    if group is dist.GroupMember.NON_GROUP_MEMBER:
        raise ValueError("`group` must be one that this process is in, got one that it is not in")
    if not isinstance(group, dist.ProcessGroup):
        raise TypeError(f"`group` must be a torch.distributed.ProcessGroup or DeviceMesh, got {type(group).__name__}")
    known = sorted(kind.type for kind in group._device_types)
    if device.type not in known:
        raise ValueError(
            f"`group` must have collectives for the device {device.type}, got some for {' and '.join(known)}"
        )
    return _place(group)


class Agreement:
    """A few numbers on which all processes must agree; they are exchanged while the scan runs.

    Every process gets the numbers of every other, so that an error on one is raised on all, and none waits in vain.

    Args:
        place: this process's place.
        values: name to number, with the same names on all processes; None if this process's arguments were rejected.
    """

    SLOTS = 8
    """Numbers that a process sends: 1 where its arguments are valid, and up to seven values."""

    def __init__(self, place: Place, values: dict[str, float] | None) -> None:
        self.names = list(values or {})
        kinds = {kind.type for kind in place.group._device_types}
        device = torch.device("cpu" if "cpu" in kinds else next(iter(kinds)))
        mine = torch.zeros(self.SLOTS, dtype=torch.float64, device=device)
        if values is not None:
            mine[: 1 + len(values)] = torch.tensor([1.0, *values.values()], dtype=torch.float64)
        self.all = mine.new_empty(place.size * self.SLOTS)
        _notify(mine)
        self.work = ALL_GATHER(self.all, mine, group=place.group, async_op=True)

    def check(self) -> None:
        """Waits for the numbers of all processes, and compares them.

        Raises:
            ValueError: a process rejected its arguments, or two processes do not agree.
        """
        self.work.wait()
        rows = self.all.view(-1, self.SLOTS).tolist()
        for rank, (valid, *_) in enumerate(rows):
            if not valid:
                raise ValueError(f"every process of `group` must be given valid arguments, got an error on rank {rank}")
        for i, name in enumerate(self.names, start=1):
            for rank, row in enumerate(rows):
                if row[i] != rows[0][i]:
                    found = f"{_shown(name, rows[0][i])} on rank 0 and {_shown(name, row[i])} on rank {rank}"
                    raise ValueError(f"every process of `group` must be given the same {name}, got {found}")


@contextmanager
def refusal_announced(group: Any) -> Iterator[None]:
    """Announces an error in this process's arguments to the others, so that they raise one instead of waiting."""
    try:
        yield
    except (TypeError, ValueError):
        group = _without_mesh(group)
        if dist.is_available() and isinstance(group, dist.ProcessGroup):
            Agreement(_place(group), None).work.wait()
        raise


def gather(place: Place, value: Tensor) -> Tensor:
    """One tensor of every process, (P, ...), in the order of ranks."""
    sent = (torch.view_as_real(value.resolve_conj()) if value.is_complex() else value).contiguous()
    _notify(sent)
    found = sent.new_empty(place.size * sent.shape[0], *sent.shape[1:])
    ALL_GATHER(found, sent, group=place.group)
    return (torch.view_as_complex(found) if value.is_complex() else found).unflatten(0, (place.size, -1))


def sum_of_all(place: Place, value: Tensor) -> Tensor:
    """The sum of one tensor of every process, the same bits on all; its gradient is the sum of theirs."""
    return _SumOfAll.apply(value, place)  # type: ignore[no-any-return, no-untyped-call]


class _SumOfAll(torch.autograd.Function):
    """A sum over processes, of which each has the whole: what any of them does with it goes back to all."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, place: Place) -> Tensor:
        ctx.place = place
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=place.group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return sum_of_all(ctx.place, grad), None


def _without_mesh(group: Any) -> Any:
    """The group of a mesh of one dimension; another value as it is."""
    return group.get_group() if isinstance(group, DeviceMesh) and group.ndim == 1 else group


def _place(group: dist.ProcessGroup) -> Place:
    return Place(group, dist.get_rank(group), dist.get_world_size(group))


def _notify(sent: Tensor) -> None:
    """Calls the observers before this process sends a tensor."""
    for observer in list(_observers):
        observer(sent.numel() * sent.element_size())


def _shown(name: str, value: float) -> str:
    return str(DTYPES[int(value)]).removeprefix("torch.") if name == "dtype" else f"{value:g}"
