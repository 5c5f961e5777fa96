"""One step of a recurrence as a module of its own, with the interface of `torch.nn.GRUCell`."""

import dataclasses
import inspect
import re
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from remanent.units._checks import check_flag, check_input, check_rank, check_size, fits_state, fits_step
from remanent.units._epsilon import NotesEpsilon
from remanent.units._stack import State, join_state, own_state, split_state
from remanent.units.base import RecurrentUnit, describe
from remanent.units.recurrence import Params, Recurrence

EXAMPLE = """
    >>> NAME(4, 8)(torch.randn(2, 4)).shape
    torch.Size([2, 8])
    """
"""The example in a cell's docstring, unless it has its own."""


class RecurrentCell(NotesEpsilon):
    r"""One layer of a recurrence for one step at a time: $h_t = f(x_t, h_{t-1})$.

    The parameters have the names of the sequence unit's, without the layer: `weight_ih` for `weight_ih_l0`.

    Args:
        recurrence: the equations, which the class of each cell gives.
        input_size: M, the features of a step, at least 1.
        hidden_size: D, the channels, at least 1.
        bias: whether the gates have biases.
        device: the device of the parameters.
        dtype: the dtype of the parameters.

    Raises:
        ValueError: a size or option is out of its range; the message names the argument.
        TypeError: a size is not an int, or a flag not a bool.
    """

    def __init__(
        self,
        recurrence: Recurrence,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        check_flag("bias", bias)
        self.recurrence = recurrence
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self._shapes = recurrence.shapes(input_size, hidden_size, bias)
        for name, shape in self._shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self._buffer_names = tuple(recurrence.buffers(hidden_size))
        for name, value in recurrence.buffers(hidden_size).items():
            self.register_buffer(name, value.to(device=device, dtype=dtype))
        self.reset_parameters()

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        """Runs one step.

        Args:
            input: one input for each sequence, (B, M), or (M,) for one sequence.
            hx: the state before the step, (B, D) or (D,), a tuple of two for an LSTM; the cell's own
                initial state, zeros or learned, if None.

        Returns:
            The state after the step, in the form of `hx`; `readout` computes the output where it differs.

        Raises:
            ValueError: a shape or device does not fit; the message names the argument.
            TypeError: a type or dtype does not fit.
        """
        p = self._params()
        weight, recurrence, D = self._weight(p), self.recurrence, self.hidden_size
        if fits_step(input, weight, self.input_size) and recurrence.state_parts == 1:
            if hx is None:
                return recurrence.advance(p, input, own_state(recurrence, p, input, D))
            if fits_state(hx, (input.shape[0], D), recurrence.state_dtype(weight.dtype), input):
                return recurrence.advance(p, input, hx)  # type: ignore[arg-type]
        return self._checked_step(p, input, hx)

    def _checked_step(self, p: Params, input: Tensor, hx: State | None) -> State:
        """One step of what does not certainly fit: in other forms, or with an error that says what is wrong."""
        batched = check_rank(type(self).__name__, "input", input, (1, 2))
        check_input("input", input, ("B", "M") if batched else ("M",), self.input_size, self._weight(p), cell=True)
        x = input if batched else input[None]
        B, D, parts = x.shape[0], self.hidden_size, self.recurrence.state_parts
        if hx is None:
            h = own_state(self.recurrence, p, x, D)
        else:
            shape, axes = ((B, D), f"(B={B}, D={D})") if batched else ((D,), f"(D={D},)")
            name = type(self).__name__
            h = join_state("hx", hx, shape, axes, x, dtype=self.state_dtype, parts=parts, cell=name)
            h = h if batched else h[None]
        after = self.recurrence.advance(p, x, h)
        return split_state(after if batched else after[0], parts)

    def readout(self, hx: State, input: Tensor) -> Tensor:
        """The output (B, D) of a step that ended in the state `hx`, given its input (B, M)."""
        state = hx if isinstance(hx, Tensor) else torch.cat(hx, dim=-1)
        return self.recurrence.readout(self._params(), state, input)

    def reset_parameters(self) -> None:
        """Draws all parameters again."""
        with torch.no_grad():
            self.recurrence.initialise_layer(self._params(), 0)

    @property
    def state_dtype(self) -> torch.dtype:
        """The dtype of the states."""
        return self.recurrence.state_dtype(self._weight(self._params()).dtype)

    def extra_repr(self) -> str:
        """The sizes, and the options that are not at their defaults."""
        return describe(self.input_size, self.hidden_size, {"bias": (self.bias, True)}, self.recurrence)

    def _params(self) -> Params:
        own = self._parameters
        if own.keys() == self._shapes.keys() and not self._buffer_names:  # else computed by a parametrization
            return own  # type: ignore[return-value]
        return {name: getattr(self, name) for name in (*self._shapes, *self._buffer_names)}

    def _weight(self, p: Params) -> Tensor:
        return p[next(iter(self._shapes))]


def make_cell(
    unit: type[RecurrentUnit], *, note: str = "", like: str = "torch.nn.GRUCell", example: str = EXAMPLE
) -> Any:
    """The class that runs one step of a unit: a `RecurrentCell` with the unit's options as keywords.

    It is called as the unit with "Cell" after it, belongs to the unit's module, where it must be assigned to that name,
    and has a signature and a docstring of its own, made from those of the unit and of `RecurrentCell`.

    Args:
        unit: the class of the unit, which declares its `recurrence_type`.
        note: an addition to the first sentence of the docstring.
        like: the class of torch that it is used like.
        example: a doctest for the docstring, in which NAME stands for the cell's name.

    Returns:
        The class; its type is left open, since its signature is made here.

    >>> from remanent import BMRU
    >>> make_cell(BMRU)
    <class 'remanent.units.latching.bmru.BMRUCell'>
    """
    name = f"{unit.__name__}Cell"
    beside = [base for base in unit.__bases__ if not issubclass(base, nn.Module)]
    members = {
        "__init__": _constructor(unit.recurrence_type),
        "__doc__": _document(unit, f"{like}`{note and '; '}{note}", example.replace("NAME", name)),
        "__module__": unit.__module__,
        "__qualname__": name,
    }
    return type(name, (*beside, RecurrentCell), members)


def _constructor(kind: type[Recurrence]) -> Any:
    """An `__init__` with the options of a recurrence as keywords, written as text as `dataclasses` writes one."""
    assert dataclasses.is_dataclass(kind)
    options = [option for option in dataclasses.fields(kind) if option.init]
    names: dict[str, Any] = {"RecurrentCell": RecurrentCell, "_kind": kind}
    keywords = []
    for option in options:
        required = option.default is dataclasses.MISSING
        keywords.append(option.name if required else f"{option.name}=_{option.name}")
        names[f"_{option.name}"] = option.default
    arguments = ", ".join(["bias=True, device=None, dtype=None", *(["*", *keywords] if keywords else [])])
    given = ", ".join(f"{option.name}={option.name}" for option in options)
    text = f"""def __init__(self, input_size, hidden_size, {arguments}):
    RecurrentCell.__init__(self, _kind({given}), input_size, hidden_size, bias, device, dtype)
"""
    exec(text, names)
    shared, own = get_type_hints(RecurrentCell.__init__), get_type_hints(kind)
    kinds = {name: shared[name] for name in shared if name not in ("recurrence", "return")}
    kinds |= {option.name: own[option.name] for option in options}
    names["__init__"].__annotations__ = kinds | {"return": None}
    return names["__init__"]


def _document(unit: type[RecurrentUnit], like: str, example: str) -> str | None:
    """A cell's docstring, with each argument as `RecurrentCell` and the unit describe it; None without docstrings."""
    if RecurrentCell.__doc__ is None:
        return None
    assert dataclasses.is_dataclass(unit.recurrence_type)
    options = {option.name for option in dataclasses.fields(unit.recurrence_type)}
    shared, own = _described(RecurrentCell.__doc__, "Args"), _described(unit.__doc__ or "", "Args")
    lines = [
        f"One step of `{unit.__name__}`, used like `{like}.",
        "",
        "Args:",
        *(text for name, text in shared.items() if name != "recurrence"),
        *(text for name, text in own.items() if name in options),
        "",
        "Raises:",
        *_described(RecurrentCell.__doc__, "Raises").values(),
        "",
        inspect.cleandoc(example),
    ]
    return "\n".join(lines)


def _described(doc: str, section: str) -> dict[str, str]:
    """Each name in a section of a docstring in Google's style, with the lines that describe it."""
    _, _, rest = inspect.cleandoc(doc).partition(f"\n{section}:\n")
    entries = re.split(r"^(?= {4}\w)", rest.partition("\n\n")[0], flags=re.MULTILINE)
    return {entry.split(":")[0].strip(): entry.rstrip() for entry in entries if entry.strip()}
