"""Checks of the arguments that the scans share, and the choice of a backend; they raise before anything is computed."""

from collections.abc import Collection

import torch
from torch import Tensor

from remanent._options import check_range
from remanent.ops.arguments import REAL_DTYPES, Gates, InitialStates, StoredGates
from remanent.ops.cpu import launch as cpu
from remanent.ops.gpu import launch as gpu


def check_tensor(name: str, value: object) -> None:
    """Raises unless a value is a tensor whose elements lie at strides: neither sparse nor nested."""
    if not isinstance(value, Tensor):
        raise TypeError(f"`{name}` must be a torch.Tensor, got {type(value).__name__}")
    if value.layout != torch.strided or value.is_nested:
        found = "a nested tensor" if value.is_nested else f"one of layout {value.layout}"
        raise TypeError(f"`{name}` must be a dense tensor, got {found}")


def check_sequence(
    name: str, value: Tensor, dtypes: tuple[torch.dtype, ...], *, may_be_empty: bool = False
) -> tuple[int, int, int]:
    """Checks the tensor that fixes the sizes, and returns (B, T, D); T may be 0 only where it `may_be_empty`."""
    check_tensor(name, value)
    if value.dim() != 3:
        raise ValueError(f"`{name}` must have shape (B, T, D), got {_shape(value)}")
    if value.dtype not in dtypes:
        known = ", ".join(_dtype(d) for d in dtypes)
        raise TypeError(f"`{name}` must have one of the dtypes {known}, got {_dtype(value.dtype)}")
    B, T, D = value.shape
    if T == 0 and not may_be_empty:
        raise ValueError(f"`{name}` must have at least one time step, got T=0 in shape {_shape(value)}")
    return B, T, D


def check_companion(name: str, value: Tensor, like: Tensor, shapes: dict[str, tuple[int, ...]]) -> None:
    """Checks the shape, dtype and device of a tensor that belongs to a sequence.

    Args:
        name: the argument's name.
        value: the tensor.
        like: the sequence whose dtype and device it must have.
        shapes: the shapes that are allowed, by the text that names them.
    """
    check_tensor(name, value)
    if not any(_fits(value, shape) for shape in shapes.values()):
        raise ValueError(f"`{name}` must have shape {' or '.join(shapes)}, got {_shape(value)}")
    if value.dtype != like.dtype:
        raise TypeError(f"`{name}` must have dtype {_dtype(like.dtype)}, got {_dtype(value.dtype)}")
    _check_device(name, value, like)


def check_gates(gates: Gates, *, may_be_empty: bool = False) -> Tensor:
    """Checks the gates of a latch that lie apart, and returns the candidate."""
    candidate, threshold, alpha = gates
    shapes = _gate_shapes(*check_sequence("candidate", candidate, REAL_DTYPES, may_be_empty=may_be_empty))
    check_companion("threshold", threshold, candidate, shapes)
    check_companion("alpha", alpha, candidate, shapes)
    return candidate


def check_joint_gates(gates: StoredGates, *, may_be_empty: bool = False) -> Tensor:
    """Checks the gates of a latch that lie side by side, and returns the candidate."""
    B, T, W = check_sequence("gates", gates.joint, REAL_DTYPES, may_be_empty=may_be_empty)
    parts = gates.parts()
    if W % parts:
        raise ValueError(f"`gates` must have shape (B, T, {parts} D), got {tuple(gates.joint.shape)}")
    D = W // parts
    if gates.alpha is not None:
        check_companion("alpha", gates.alpha, gates.joint, _gate_shapes(B, T, D))
    return gates.joint[..., :D]


def check_initial(initial: InitialStates, like: Tensor) -> None:
    """Checks the states that a scan starts from against the sequence `like`, (B, T, D)."""
    B, _, D = like.shape
    if initial.h0 is not None:
        check_companion("h0", initial.h0, like, {f"(B={B}, D={D})": (B, D)})
    check_reset(initial.reset, initial.reset_state, like)


def check_reset(reset: Tensor | None, reset_state: Tensor | None, like: Tensor) -> None:
    """Checks `reset` (B, T) and `reset_state` (D,) or (B, T, D) against the sequence `like` (B, T, D)."""
    B, T, D = like.shape
    if reset is None:
        if reset_state is not None:
            raise ValueError("`reset_state` must come with `reset`, got `reset_state` alone")
        return
    check_tensor("reset", reset)
    if reset.dtype != torch.bool:
        nan = " with NaN" if reset.is_floating_point() and bool(reset.isnan().any()) else ""
        raise TypeError(f"`reset` must have dtype bool, got {_dtype(reset.dtype)}{nan}")
    if not _fits(reset, (B, T)):
        raise ValueError(f"`reset` must have shape (B={B}, T={T}), got {_shape(reset)}")
    _check_device("reset", reset, like)
    if reset_state is not None:
        shapes: dict[str, tuple[int, ...]] = {f"(D={D},)": (D,), f"(B={B}, T={T}, D={D})": (B, T, D)}
        check_companion("reset_state", reset_state, like, shapes)


def check_scalar(name: str, value: float | Tensor, low: float, high: float) -> Tensor:
    """Returns an option as a tensor () of float64 on the CPU; checks its range unless it was one, see `read_scalar`."""
    if not isinstance(value, Tensor):
        check_range(name, value, low, high)
        return torch.tensor(value, dtype=torch.float64, device="cpu")
    if value.dim() != 0 or value.dtype != torch.float64 or value.device.type != "cpu":
        came = f"{_shape(value)} of {_dtype(value.dtype)} on {value.device}"
        raise ValueError(f"`{name}` must be a number or a tensor () of float64 on the CPU, got {came}")
    return value


def read_scalar(name: str, value: Tensor, low: float, high: float) -> float:
    """Checks and returns the number in a tensor from `check_scalar`."""
    number = value.item()
    check_range(name, number, low, high)
    return number


def check_backend(backend: str, backends: Collection[str], like: Tensor) -> str:
    """Checks that a backend, or "auto", exists and accepts tensors on the device of `like`, and returns its name."""
    if not isinstance(backend, str):
        raise TypeError(f"`backend` must be a str, got {backend!r}")
    if backend != "auto" and backend not in backends:
        raise ValueError(f"`backend` must be one of auto, {', '.join(backends)}, got {backend!r}")
    device = like.device.type
    if backend == "cpu" and device != "cpu":
        raise ValueError(f"`backend` 'cpu' must be given tensors on the CPU, got device {like.device}")
    if backend == "gpu" and device not in gpu.DEVICES and not gpu.interpreted():
        raise ValueError(f"`backend` 'gpu' must be given tensors on a GPU, got device {like.device}")
    return backend


def fastest(backend: str, like: Tensor) -> str:
    """The backend of this name; for "auto" the fastest one that runs on the device of `like`."""
    if backend != "auto":
        return backend
    if like.device.type == "cpu":
        return "cpu" if cpu.usable() else "portable"
    return "gpu" if like.device.type in gpu.DEVICES and gpu.usable() else "portable"


def _gate_shapes(B: int, T: int, D: int) -> dict[str, tuple[int, ...]]:
    return {f"(B={B}, T={T}, D={D})": (B, T, D), f"(D={D},)": (D,)}


def _fits(value: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor has a shape; ranks come first, as a traced size must not be compared with another axis."""
    return value.dim() == len(shape) and all(size == wanted for size, wanted in zip(value.shape, shape, strict=True))


def _check_device(name: str, value: Tensor, like: Tensor) -> None:
    if value.device != like.device:
        raise ValueError(f"`{name}` must be on device {like.device}, got {value.device}")


def _shape(value: Tensor) -> str:
    return str(tuple(value.shape))


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
