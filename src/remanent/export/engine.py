"""The engine "native" of a session: the model's own C, compiled once for its architecture, run in this process."""

import copy
import ctypes
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from remanent.export._blocks import write_model
from remanent.export._carried import carried_units, read_state, write_state
from remanent.export._fold import fold_states
from remanent.export._native import load_library
from remanent.export._outside import OutsideSource
from remanent.export.c import check_model
from remanent.models import ModelState, SequenceModel
from remanent.models.inputs import check_input
from remanent.models.session import Engine, TorchEngine


def native_engine(model: SequenceModel, batch_size: int) -> Engine:
    """A model's own C as the engine of a session; where it cannot be compiled, a warning and the model itself.

    Args:
        model: of float32, on the CPU; its weights are read now.
        batch_size: B.

    Raises:
        ValueError: no C can be written for the model; the message says why.
    """
    try:
        check_model(model)
        source = _source(model)
    except ValueError as error:
        raise ValueError(f'`engine` must be "torch" for a model without C, got "native": {error}') from None
    sizes = {"INPUT_SIZE": model.config.input_size, "OUTPUT_SIZE": model.config.output_size}
    library = load_library(source.module(model.config.reads_tokens, sizes))
    return TorchEngine(model, batch_size) if library is None else NativeEngine(model, batch_size, source, library)


class NativeEngine:
    """Streams of a model whose C is loaded: see `remanent.models.session.Engine`.

    Args:
        model: the model.
        batch_size: B.
        source: its C, and the constants that this is given.
        library: the compiled C.
    """

    def __init__(self, model: SequenceModel, batch_size: int, source: OutsideSource, library: ctypes.CDLL) -> None:
        self.model, self.batch_size = model, batch_size
        self._carried = carried_units(copy.deepcopy(model))
        self._constants = source.constants
        self._states = np.zeros(batch_size, source.state_type)
        self._given = self._constants.ctypes.data
        self._start, self._run = library.model_start, library.model_run
        self._start.argtypes, self._start.restype = (ctypes.c_void_p,) * 2, None
        self._run.argtypes = (*(ctypes.c_void_p,) * 3, *(ctypes.c_int64,) * 3, ctypes.c_void_p)
        self._run.restype = None
        config = model.config
        self._every, self._tokens, self._M = config.head == "every", config.reads_tokens, config.input_size
        self._outputs, self._address = config.output_size, self._states.ctypes.data
        self._restart(range(batch_size))

    def run(self, x: Tensor, reset: Tensor | None) -> Tensor:
        """See `Engine`."""
        if not (
            type(x) is Tensor
            and x.dtype is torch.float32
            and x.layout is torch.strided
            and x.dim() == 3
            and x.shape[2] == self._M
            and x.shape[1] > 0
            and x.is_cpu
            and not self._tokens
        ):
            check_input(self.model, "x", x, ("B", "T"))
            x = x if self._tokens else x.float()
        if not x.is_contiguous() or x.is_neg():
            x = x.resolve_neg().contiguous()
        if reset is not None:
            self._restart(reset.nonzero().flatten().tolist())
        B, T = x.shape[0], x.shape[1]
        y = torch.empty((B, T, self._outputs) if self._every else (B, self._outputs), dtype=torch.float32)
        self._run(self._address, x.data_ptr(), y.data_ptr(), B, T, self._every, self._given)
        return y

    @property
    def state(self) -> ModelState | None:
        """See `Engine`."""
        return read_state(self._states, self.model, self._carried)

    @state.setter
    def state(self, value: ModelState | None) -> None:
        if value is None:
            self._restart(range(self.batch_size))
        else:
            write_state(self._states, value, self.model, self._carried)

    def _restart(self, streams: Any) -> None:
        for b in streams:
            self._start(self._address + b * self._states.itemsize, self._given)


@torch.no_grad()
def _source(model: SequenceModel) -> OutsideSource:
    """A model's C, whose head also keeps the sums that torch keeps where it reads the mean of all steps."""
    source = OutsideSource()
    folded = fold_states(model)
    write_model(source, folded)
    if model.config.head == "mean":
        H, place = model.config.hidden_size, "stream" if isinstance(model.norm, nn.Identity) else "normed"
        total = source.field("normed_total", "double", H, "sums of what the head read so far")
        source.call_at_start("clear_sums", total, H)
        source.call("add_to_sums", total, place, H)
    return source
