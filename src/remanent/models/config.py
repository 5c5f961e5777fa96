"""The configuration of a sequence model: plain values, checked when made."""

import math
from dataclasses import dataclass, field
from typing import Any

from remanent._identity import OF_LATCHES, OWN_COLUMN, added
from remanent._options import check_at_least, check_bool, check_choice, check_range, listed
from remanent._plugins import import_hint
from remanent.models.clock import CLOCKS, LARGEST_TABLE
from remanent.models.hybrid import JOINS
from remanent.ops.arguments import HeadSizes
from remanent.ops.transition import check_sizes
from remanent.units import GATE_NORMS, UNITS, initial_states, recurrence_of
from remanent.units.latching.write_span import WRITE_SPAN, check_write_span

CHOICES = {
    "encoder": ("linear", "embedding", "table"),
    "norm": ("rms", "layer", "none"),
    "mlp": ("glu", "gelu", "none"),
    "head": ("last", "mean", "every"),
    "join": JOINS,
    "clock": CLOCKS,
    "gate_norm": GATE_NORMS,
}


@dataclass(frozen=True)
class ModelConfig:
    """What a `SequenceModel` is made of.

    Args:
        input_size: the number of features of a step, or of different tokens where the inputs are tokens, at least 1.
        output_size: the number of values that the head gives, at least 1.
        hidden_size: the width of every block, at least 1; units side by side share it, so it must be a multiple of
            their number, unless `state_size` is given.
        num_layers: the number of blocks, at least 1, and a multiple of the kinds of block in `unit`.
        unit: the name of a unit, or several names joined by "+", whose units are side by side in a block; or a list
            of these, separated by commas, through which the blocks go in turn: "lru,bmru" alternates. The names
            are those of `UNITS`, to which you may add your own, and "attention".
        join: how units side by side are joined: "concatenate", each with its share of the width, or "sum".
        encoder: what turns inputs into the model's width: "linear" for numbers, "embedding" for tokens; or "table", for
            tokens as well, which has no parameters: the units of the first block read a token as a one-hot vector, so
            that their weights are a table by token. That block has no norm, convolution or gate, and no path around
            its units. An MRU has no biases there, and logits with a standard deviation of 4 for each token at first.
        norm: the norm before each part of a block: "rms", "layer" or "none".
        mlp: the kind of MLP at the end of each block: "glu", "gelu" or "none".
        mlp_ratio: the inner width of the MLP divided by `hidden_size`, above 0.
        gate: whether a sigmoid of the block's input multiplies what the unit adds.
        dropout: the probability that a value which a block adds is dropped in training, in [0, 1).
        head: which steps are read: the "last" step, the "mean" over the steps so far, or "every" step.
        epsilon: for units that training can anneal, such as the BMRU: how much of the old state a write keeps, in
            [0, 1]. A CMRU is not annealed: its `epsilon` is 1.
        surrogate_width: for units that latch, the width of the surrogate gradient, above 0.
        initial_state: "zeros", "learned", or "low", the negative state of a BMRU or CMRU, whose state is then one bit
            from the start. A unit without this initial state starts at zeros.
        gate_norm: for units that latch, how their gates are normalised: "none", "layer" (over the channels of a step)
            or "batch" (over batch and time).
        write_span: for units that latch, in how many steps the channel with the lowest rate is written once at first,
            at least 2; see `BMRU`. None for thresholds of 1, which earlier versions had.
        num_states: for the MRU, the stable states of a head, from 2 to 255.
        num_tracers: for the MRU, the tracers of a head, at least 1; `num_states` if None.
        hard_readout: for the MRU, whether a head's outputs are one-hot in annealing too; see `MRU`.
        state_size: the width of every unit, at least 1, and for an MRU a multiple of `num_tracers` times `num_states`.
            If None, a unit's share of `hidden_size`, which for an MRU is rounded up to a multiple.
        num_heads: for attention, the number of heads, at least 1; the width of attention must be a multiple of twice
            this number.
        clock: features of the step beside every unit's input: "none", "sinusoid", or "decay" for sinusoids that
            fade; see `Clock`.
        clock_size: the number of the clock's features, even and at least 2.
        clock_span: the step of a sequence from which on the clock's features are zero, at least 1: the length of the
            informative part of a sequence.
        r_min: for the LRU, the inner radius of the ring on which its eigenvalues start, at least 0 and below `r_max`.
        r_max: for the LRU, the outer radius of the ring, above 0 and below 1; its memory fades in about
            1 / (1 - `r_max`) steps.
        conv_size: how many steps, the present one included, a causal convolution of each channel sees in front of a
            block's units, at least 2; 0 for none. See `CausalConv1d`.
        standardise: whether the encoder first takes a mean from each feature and divides it by a deviation, and the
            head gives its values in the units of the targets, by the statistics that `set_statistics` sets. Training
            sets them from the training part of a task that has some, such as `own-data`. Not for tokens.
        bidirectional: whether every unit reads the sequence in both directions. Such a model takes whole sequences: it
            has no state to continue from, no step and no stream, and no attention.

    Raises:
        ValueError: a value is out of its range or not among its choices.
        TypeError: a value is of another type.
    """

    input_size: int
    output_size: int
    hidden_size: int = 64
    num_layers: int = 2
    unit: str = field(default="bmru", metadata=OWN_COLUMN)
    join: str = "concatenate"
    encoder: str = "linear"
    norm: str = "rms"
    mlp: str = "glu"
    mlp_ratio: float = 1.0
    gate: bool = False
    dropout: float = 0.0
    head: str = "last"
    epsilon: float = 0.0
    surrogate_width: float = 1.0
    initial_state: str = "zeros"
    gate_norm: str = "none"
    write_span: int | None = field(default=WRITE_SPAN, metadata=added(before=None, to=OF_LATCHES))
    num_states: int = 4
    num_tracers: int | None = None
    hard_readout: bool = False
    state_size: int | None = None
    r_min: float = 0.9
    r_max: float = 0.999
    num_heads: int = 4
    clock: str = "none"
    clock_size: int = 32
    clock_span: int = 256
    conv_size: int = 0
    standardise: bool = False
    bidirectional: bool = False

    def __post_init__(self) -> None:
        for name in ("unit", *CHOICES, "initial_state"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"`{name}` must be a str, got {getattr(self, name)!r}")
        for name in ("gate", "hard_readout", "standardise", "bidirectional"):
            check_bool(name, getattr(self, name))
        for name in ("input_size", "output_size", "hidden_size", "num_layers", "num_heads", "clock_size", "clock_span"):
            check_at_least(name, getattr(self, name), 1)
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        check_choice("initial_state", self.initial_state, initial_states())
        check_write_span(self.write_span)
        check_sizes(HeadSizes(self.num_states, 1 if self.num_tracers is None else self.num_tracers))
        if self.state_size is not None:
            check_at_least("state_size", self.state_size, 1)
        if self.clock_size % 2:
            raise ValueError(f"`clock_size` must be even, got {self.clock_size}")
        check_at_least("conv_size", self.conv_size, 0)
        if self.conv_size == 1:
            raise ValueError("`conv_size` must be 0 for no convolution, or at least 2, got 1")
        if self.clock != "none" and self.clock_size * self.clock_span > LARGEST_TABLE:
            found = f"{self.clock_size} times {self.clock_span}"
            raise ValueError(f"`clock_size` times `clock_span` must be at most {LARGEST_TABLE}, got {found}")
        self._check_layers()
        if self.standardise and self.reads_tokens:
            raise ValueError(
                f"`standardise` must be False where the encoder is {self.encoder}, which reads tokens, got True"
            )
        if self.bidirectional and any("attention" in names for names in self._kinds()):
            raise ValueError(f"`bidirectional` must be False for attention, which has one direction, got {self.unit!r}")
        check_range("mlp_ratio", self.mlp_ratio, 0, float("inf"), open_low=True)
        check_range("dropout", self.dropout, 0, 1, open_high=True)
        check_range("epsilon", self.epsilon, 0, 1)
        check_range("surrogate_width", self.surrogate_width, 0, float("inf"), open_low=True)
        check_range("r_max", self.r_max, 0, 1, open_low=True, open_high=True)
        check_range("r_min", self.r_min, 0, self.r_max, open_high=True)

    @property
    def clock_features(self) -> int:
        """How many features of the clock a unit gets in addition to its normed input."""
        return 0 if self.clock == "none" else self.clock_size

    @property
    def directions(self) -> int:
        """In how many directions each unit reads."""
        return 2 if self.bidirectional else 1

    @property
    def reads_tokens(self) -> bool:
        """Whether inputs are tokens, rather than features."""
        return self.encoder != "linear"

    @property
    def layers(self) -> tuple[tuple[str, ...], ...]:
        """For each block, the names of its units."""
        kinds = self._kinds()
        return tuple(kinds[i % len(kinds)] for i in range(self.num_layers))

    def widths(self, names: tuple[str, ...]) -> list[int]:
        """The width of each of the units of a block."""
        if self.state_size is not None:
            return [self.state_size] * len(names)
        share = self.hidden_size if self.join == "sum" else self.hidden_size // len(names)
        return [-(-share // step) * step for step in map(self._width_step, names)]

    def options(self, name: str) -> dict[str, Any]:
        """What a model gives a unit beside its sizes: the unit's options that are filled from this configuration."""
        kind = recurrence_of(name)
        options = {option: getattr(self, field) for option, field in kind.config_fields.items()}
        if self.initial_state not in kind.initial_states:
            options.pop("initial_state", None)
        return options

    def _width_factors(self, name: str) -> dict[str, int]:
        """The numbers, by option, whose product the width of a unit must be a multiple of."""
        return {} if name == "attention" else recurrence_of(name).width_factors(self.options(name))

    def _width_step(self, name: str) -> int:
        """What the width of a unit must be a multiple of."""
        return math.prod(self._width_factors(name).values())

    def _kinds(self) -> list[tuple[str, ...]]:
        """For each kind of block, the names of its units."""
        return [tuple(kind.split("+")) for kind in self.unit.split(",")]

    def _check_layers(self) -> None:
        for name in self.unit.replace(",", "+").split("+"):
            if name not in (*UNITS, "attention"):
                known = listed((*UNITS, "attention"), name)
                hint = import_hint("unit") if name else ""
                raise ValueError(f"`unit` must be made of {known}, joined by '+' and ',', got {self.unit!r}{hint}")
        kinds = self.unit.count(",") + 1
        if self.num_layers % kinds:
            raise ValueError(f"`num_layers` must be a multiple of the {kinds} kinds of layer, got {self.num_layers}")
        for names in self._kinds():  # not `layers`, whose number may be too large for memory
            if self.join == "concatenate" and self.state_size is None and self.hidden_size % len(names):
                raise ValueError(f"`hidden_size` must be a multiple of the {len(names)} units, got {self.hidden_size}")
            self._check_widths(names)

    def _check_widths(self, names: tuple[str, ...]) -> None:
        widths, size = self.widths(names), "hidden_size" if self.state_size is None else "state_size"
        given, mixed = getattr(self, size), self.join == "sum" and len(set(widths)) > 1
        for name, width in zip(names, widths, strict=True):
            if name == "attention" and width % (2 * self.num_heads):
                rule = f"give attention a multiple of twice the {self.num_heads} heads"
                raise ValueError(f"`{size}` must {rule}, got {width} of {given}")
            if width % self._width_step(name) or (mixed and width != given):
                factors = self._width_factors(name)
                options = " times ".join(f"`{option}`" for option in factors)
                rule = f"{options}, {' * '.join(map(str, factors.values()))}"
                raise ValueError(f"`{size}` must be a multiple of {rule}, for {name}, got {given}")
