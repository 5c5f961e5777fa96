"""ONNX: one graph for whole sequences and one for a step, compared with torch before anything is written."""

import contextlib
import io
import json
import logging
import re
import timeit
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils._pytree import tree_flatten, tree_unflatten

from remanent._files import write_whole
from remanent._machine import processor_name
from remanent._plugins import naming_extra
from remanent.export._compare import Check, difference, inputs, judge
from remanent.export._fold import frozen
from remanent.export._native import StepTime, check_new
from remanent.export._scans import decompositions
from remanent.models import ModelState, SequenceModel
from remanent.ops import plain_products

TRACED = (2, 9)
"""The values of B and T with which a graph is traced."""
LENGTHS = ((8, 1), (8, 7), (4, 1000), (4, 10_000))
"""The values of B and T at which a graph of whole sequences is compared with torch."""
MOST_SCORES = 10_000**2
"""The most pairs of steps at which a graph with attention, whose memory grows with them, is compared at once."""
STREAMS = (8, 50)
"""B and T of the streams on which a graph for a step is compared with torch."""
TOLERANCE = 1e-5
"""How far an output may be from torch's, over the larger of 1 and the largest output."""
TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
"""ONNX's name of a type to NumPy's type."""


def export_onnx(model: SequenceModel, folder: str | Path, *, name: str = "model") -> list[Check]:
    """Writes `NAME.onnx` for whole sequences, and `NAME-step.onnx` for one step with the states in and out.

    The first takes "x", (batch, steps, input_size) or tokens (batch, steps), and gives "y"; each scan is one ONNX
    Scan. The second takes "x" of one step, "reset", bool (batch,): true for streams that start at this step, and
    the states by the names of `ModelState.named`; it gives "y" and each state after the step as "NAME.next". Where
    a stream starts, its states are not read. Complex states are pairs, real and imaginary, in a last axis of
    2. A model with attention gets no graph for a step, since its state grows.

    Both are run with onnxruntime and compared with torch, at other sizes than they were traced with, before they are
    written.

    Args:
        model: a trained model of float32, on the CPU.
        folder: where the files go; made if need be.
        name: what they are called.

    Returns:
        The result of each comparison, one for each graph.

    Raises:
        FileExistsError: a file is there already.
        ValueError: the model is bidirectional or not of float32 on the CPU, or `name` is no file's name.
        RuntimeError: a graph differs from torch; nothing was written.
        ModuleNotFoundError: onnx, onnxscript or onnxruntime is missing.
    """
    if model.config.bidirectional:
        raise ValueError("`model` must have one direction to be written as ONNX, got a bidirectional one")
    weight = model.head.weight
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        raise ValueError(f"`model` must be of float32 on the CPU, got {weight.dtype} on {weight.device}")
    if not name or name in (".", "..") or Path(name).name != name:
        raise ValueError(f"`name` must be a file's name without a folder, got {name!r}")
    require_packages()
    folder = Path(folder)
    files = [folder / f"{name}.onnx"]
    if not model.attends:
        files.append(folder / f"{name}-step.onnx")
    for file in files:
        check_new(file)
    model = frozen(model)
    graphs = [_trace(_Whole(model))]
    checks = [_compare_whole(model, graphs[0], files[0].name)]  # a graph that differs is found before the next is made
    if not model.attends:
        graphs.append(_trace(_Step(model)))
        checks.append(_compare_steps(model, graphs[1], files[1].name))
    folder.mkdir(parents=True, exist_ok=True)
    for file, graph in zip(files, graphs, strict=True):
        write_whole(file, graph, new=True)
    return checks


def require_packages() -> None:
    """Raises ModuleNotFoundError, which names the extra, unless the packages that write and run graphs are there."""
    with naming_extra():
        import onnx as _onnx  # noqa: F401
        import onnxruntime as _runtime  # noqa: F401
        import onnxscript as _script  # noqa: F401


def step_runner(model: SequenceModel, x_t: Tensor, *, threads: int = 1) -> Callable[[], object]:
    """A function that runs one step by onnxruntime, from the state after one step with the same input.

    Args:
        model: a model of float32 on the CPU, without attention.
        x_t: the inputs, (B, input_size).
        threads: how many threads onnxruntime uses.

    Raises:
        ModuleNotFoundError: onnx, onnxscript or onnxruntime is missing.
    """
    import onnxruntime as _runtime  # noqa: F401
    import onnxscript as _script  # noqa: F401

    model = frozen(model)
    session = _session(_trace(_Step(model)), threads)
    with torch.no_grad():
        _, state = model.step(x_t)
    feed = {"x": x_t.numpy(), "reset": np.zeros(len(x_t), bool)}
    feed |= {name: _pairs(value).numpy() for name, value in state.named().items()}
    return partial(session.run, None, feed)


def time_graph(path: str | Path) -> StepTime:
    """What a step of one stream takes on this machine by onnxruntime, with one thread.

    Args:
        path: of a graph for a step, `NAME-step.onnx`.
    """
    import onnxruntime

    session = _session(Path(path).read_bytes(), 1)
    feed = _filled(session, 1, 0)
    rounds = timeit.repeat(lambda: session.run(None, feed), number=50, repeat=5)
    return StepTime(min(rounds) / 50, f"onnxruntime {onnxruntime.__version__}", processor_name())


class _Whole(nn.Module):
    """A whole sequence, from its start."""

    outputs = ("y",)

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model
        self.example = {"x": inputs(model, *TRACED)}
        self.axes: dict[str, Any] = {"x": {0: Dim("batch", min=1), 1: Dim("steps", min=1)}}

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.model(x)
        return y


class _Step(nn.Module):
    """One step, the states by name."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model
        B = TRACED[0]
        x = inputs(model, *TRACED)
        with torch.no_grad():
            _, self.form = model(x)
        states = {name: _pairs(value) for name, value in self.form.named().items()}
        batch = Dim("batch", min=1)
        self.outputs = ("y", *(f"{name}.next" for name in states))
        self.example = {"x": x[:, 0], "reset": torch.zeros(B, dtype=torch.bool), "states": tuple(states.values())}
        axes = tuple({_batch_axis(name): batch} for name in states)
        self.axes: dict[str, Any] = {"x": {0: batch}, "reset": {0: batch}, "states": axes}

    def forward(self, x: Tensor, reset: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        leaves, spec = tree_flatten(self.form)
        given = iter(states)
        filled = [None if leaf is None else _like(leaf, next(given)) for leaf in leaves]
        y, after = self.model.step(x, tree_unflatten(filled, spec), reset=reset)
        return y, *(_pairs(value) for value in after.named().values())


def _trace(module: _Whole | _Step) -> bytes:
    """The graph as a file's bytes."""
    values = module.example.values()
    with _quiet(), plain_products(), torch.no_grad():
        program = torch.export.export(module, tuple(values), dynamic_shapes=module.axes, strict=False)
        program = program.run_decompositions(decompositions())
        names = [name for name in module.example if name != "states"] + [n[: -len(".next")] for n in module.outputs[1:]]
        made = torch.onnx.export(
            program, dynamo=True, optimize=True, input_names=names, output_names=list(module.outputs), verbose=False
        )
    assert made is not None
    proto = made.model_proto
    sizes = proto.graph.input[0].type.tensor_type.shape.dim
    _tidy(proto.graph, {sizes[i].dim_param: axis.__name__ for i, axis in module.axes["x"].items()})
    for kind, found in module.model.names._asdict().items():
        if found:
            proto.metadata_props.add(key=kind, value=json.dumps(found, ensure_ascii=False))
    graph: bytes = proto.SerializeToString()
    return graph


def _tidy(graph: Any, axes: dict[str, str]) -> None:
    """Takes out which lines of which files, on this machine, made each node, and gives free axes their names."""
    del graph.metadata_props[:]
    values = (*graph.value_info, *graph.input, *graph.output)
    for part in (*graph.node, *values, *graph.initializer):
        del part.metadata_props[:]
    for value in values:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda found: axes.get(found[0], found[0]), dim.dim_param)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _tidy(attribute.g, axes)


def _compare_whole(model: SequenceModel, graph: bytes, name: str) -> Check:
    session = _session(graph)
    differences = []
    lengths = [(max(1, min(B, MOST_SCORES // T**2)) if model.attends else B, T) for B, T in LENGTHS]
    for B, T in lengths:
        x = inputs(model, B, T)
        with torch.no_grad():
            expected, _ = model(x)
        differences.append(difference(name, session.run(None, {"x": x.numpy()})[0], expected, axis=0))
    return judge(model, name, np.concatenate(differences), sum(B * T for B, T in lengths), TOLERANCE)


def _compare_steps(model: SequenceModel, graph: bytes, name: str) -> Check:
    """Compares streams of which some restart, each step from the states that the graph itself returned."""
    session = _session(graph)
    B, T = STREAMS
    x = inputs(model, B, T)
    reset = torch.rand(B, T, generator=torch.Generator().manual_seed(1)) < 0.1
    reset[:, 0] = True
    state: ModelState | None = None
    feed = _filled(session, B, np.nan)  # no state is to be read before its stream has started
    largest = np.zeros(B)
    for t in range(T):
        with torch.no_grad():
            expected, state = model.step(x[:, t], state, reset=reset[:, t])
        y, *states = session.run(None, feed | {"x": x[:, t].numpy(), "reset": reset[:, t].numpy()})
        feed |= dict(zip((i.name for i in session.get_inputs()[2:]), states, strict=True))
        largest = np.maximum(largest, difference(name, y, expected, axis=0))
        for found, (key, value) in zip(states, state.named().items(), strict=True):
            axis = _batch_axis(key)
            largest = np.maximum(largest, difference(f"{name}, {key}", found, _pairs(value), axis=axis))
    return judge(model, name, largest, B * T, TOLERANCE)


def _filled(session: Any, B: int, value: float) -> dict[str, np.ndarray]:
    """Inputs by name for B streams: a value where they are floating, else zeros."""
    feed: dict[str, np.ndarray] = {}
    for i in session.get_inputs():
        shape, dtype = [size if isinstance(size, int) else B for size in i.shape], TYPES[i.type]
        feed[i.name] = np.full(shape, value if np.issubdtype(dtype, np.floating) else 0, dtype)
    return feed


def _session(graph: bytes, threads: int = 0) -> Any:
    """What runs a graph, with so many threads; as many as onnxruntime chooses if 0."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _batch_axis(state: str) -> int:
    """The axis of B in a state of this name."""
    return 1 if state.startswith(("layers", "windows")) else 0


def _pairs(value: Tensor) -> Tensor:
    return torch.view_as_real(value) if value.is_complex() else value


def _like(leaf: Tensor, value: Tensor) -> Tensor:
    return torch.view_as_complex(value) if leaf.is_complex() else value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the exporter's own notes, such as that torchvision is missing, which are of no use to a user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
