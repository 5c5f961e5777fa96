"""What a training step costs on many devices that share the batch, or the time: a model on paper."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import nn

from remanent._options import check_at_least, check_choice
from remanent.bench.scans import LATCH_BACKWARD, LATCH_FORWARD, LINEAR_BACKWARD, LINEAR_FORWARD
from remanent.models import ModelConfig, SequenceModel
from remanent.units import RecurrentUnit

NUMBER = 4
"""The bytes of a float32."""
PASSES = 3
"""The products of both passes over those of a forward pass: a backward pass costs twice as much."""
TOUCHES = 4
"""How often each kept value is moved: it is written and read once, and so is its gradient."""
OPTIMISER_COPIES = 4
"""The numbers held for each weight: itself, its gradient, and the two means of AdamW."""
ROUNDS = {"ddp": 2, "fsdp": 3}
"""How often the weights go round in a step: their gradients out and their sums back; with parts, the weights too."""
SCANNED = {"latch": LATCH_FORWARD + LATCH_BACKWARD, "linear": LINEAR_FORWARD + LINEAR_BACKWARD}
"""Kind of scan to how many arrays of the size of the states it reads and writes in both passes."""
AGREEMENT = 64
"""Bytes by which the processes of a sharded scan agree on what it is."""


@dataclass(frozen=True)
class Device:
    """What one device does a second, and how it is joined to the others.

    Args:
        products: floating-point operations a second in products of matrices.
        copies: bytes a second that a copy reads and writes.
        link: bytes a second that it sends to the others.
        latency: seconds before the first byte of a collective arrives, for each doubling of the devices.
        memory: its bytes.
    """

    products: float
    copies: float
    link: float
    latency: float
    memory: float


@dataclass(frozen=True)
class Plan:
    """How a step is shared out.

    Args:
        batch: sequences in all.
        steps: T, of each.
        data: how many parts the batch is in; must divide it.
        time: how many parts time is in.
        strategy: "ddp" or "fsdp": whether each device holds all weights.

    Raises:
        ValueError: a number is out of its range, or the batch does not divide.
    """

    batch: int
    steps: int
    data: int = 1
    time: int = 1
    strategy: str = "ddp"

    def __post_init__(self) -> None:
        for name in ("batch", "steps", "data", "time"):
            check_at_least(name, getattr(self, name), 1)
        check_choice("strategy", self.strategy, ROUNDS)
        if self.batch % self.data:
            raise ValueError(f"`data` must divide the batch, {self.batch}, got {self.data}")

    @property
    def devices(self) -> int:
        """How many there are."""
        return self.data * self.time

    @property
    def rows(self) -> int:
        """Steps of all sequences that one device computes; of uneven parts of time, the longest."""
        return self.batch // self.data * -(-self.steps // self.time)


class Layer(NamedTuple):
    """What one block is made of, counted from the model itself.

    Attributes:
        weights: numbers that are trained.
        matrix: those of them that are in matrices, by which each step is multiplied.
        kept: bytes that the forward pass keeps for the backward pass, a step of a sequence.
        scanned: bytes that the scans must move at least in both passes, a step of a sequence.
        state: bytes of the states of a sequence.
        window: bytes of a sequence that a device sends to each of the others for a convolution, in both passes.
        flags: bytes that a device sends to the others besides states: what must agree, and whether it had a step.
        scans: how many, a convolution counted among them.
    """

    weights: int
    matrix: int
    kept: int
    scanned: int
    state: int
    window: int
    flags: int
    scans: int


class Cost(NamedTuple):
    """What a training step costs one device.

    Attributes:
        products: floating-point operations.
        moved: bytes read and written.
        memory: bytes held at the most.
        sent_by_layer: bytes sent for the scans of one layer.
        sent: bytes sent in all.
        collectives: how many it waits for.
        compute_seconds: of products and copies, one after the other.
        sent_seconds: of what is sent, none of it hidden behind the former.
    """

    products: float
    moved: float
    memory: float
    sent_by_layer: float
    sent: float
    collectives: int
    compute_seconds: float
    sent_seconds: float

    @property
    def seconds(self) -> float:
        """Of the whole step."""
        return self.compute_seconds + self.sent_seconds


def count_layer(config: ModelConfig) -> Layer:
    """Counts what one block of a model is made of: its weights, and what autograd keeps of a sequence.

    Raises:
        ValueError: the model's blocks differ, or time cannot be shared.
    """
    if len(set(config.layers)) > 1:
        raise ValueError(f"`unit` must be the same in all layers, got {config.unit!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one, two = (SequenceModel(replace(config, num_layers=n)) for n in (1, 2))
    if not one.shares_time:
        raise ValueError(f"`unit` must be one whose time is shared, got {config.unit!r}")
    block = one.blocks[0]
    units = [unit for unit in block.layer.units if isinstance(unit, RecurrentUnit)]  # type: ignore[union-attr]
    kept = [_kept(model, steps) for model in (one, two) for steps in (64, 128)]
    return Layer(
        weights=sum(p.numel() for p in block.parameters()),
        matrix=sum(p.numel() for p in block.parameters() if p.dim() == 2),
        kept=((kept[3] - kept[2]) - (kept[1] - kept[0])) // 64,
        scanned=sum(_scanned(unit) for unit in units),
        state=sum(_state(unit) for unit in units),
        window=NUMBER * ((3 * config.conv_size - 2) * config.hidden_size + 1) if config.conv_size else 0,
        flags=sum(AGREEMENT + _element(unit) for unit in units) + (AGREEMENT + 2 * NUMBER) * bool(config.conv_size),
        scans=len(units) + bool(config.conv_size),
    )


def step_cost(layer: Layer, layers: int, plan: Plan, device: Device) -> Cost:
    r"""What a training step costs one of the devices, of the blocks alone.

    With R steps of sequences per device, B' sequences, P devices that share time, Q that share the batch:

    - products: $6 R W$ for each layer's W numbers in matrices;
    - moved: 4 R times what is kept; where time is shared the scans run once more;
    - memory: R times what is kept, and four copies of the weights, of which "fsdp" holds a part;
    - sent by the scans of a layer, whatever T: $(P - 1)$ times what a device hands to the others: 2 B' D numbers and
      64 bytes forward and B' D backward for a scan, and B' D + 1 for the state after the last step; for a convolution
      of K steps over the width H, $(3 K - 2) B' H + B' + 2$ numbers and 64 bytes;
    - sent for the gradients, once a step: $2 (PQ - 1) / PQ$ of the weights with "ddp", half as much again with "fsdp".

    Args:
        layer: as `count_layer` gives it.
        layers: how many.
        plan: how the step is shared out.
        device: one of the devices.
    """
    B, P = plan.batch // plan.data, plan.time
    products = 2.0 * PASSES * plan.rows * layer.matrix * layers
    moved = float(TOUCHES * plan.rows * layer.kept * layers)
    weights = float(layer.weights * layers * NUMBER)
    held = weights * OPTIMISER_COPIES / (plan.devices if plan.strategy == "fsdp" else 1)
    by_layer, collectives = 0.0, 0
    if P > 1:
        moved += plan.rows * layer.scanned * layers
        by_layer = float((P - 1) * (4 * B * layer.state + B * layer.window + layer.flags))
        collectives = 4 * layer.scans * layers
    shared = ROUNDS[plan.strategy] * (plan.devices - 1) / plan.devices * weights
    doublings = math.ceil(math.log2(plan.devices)) if plan.devices > 1 else 0
    gradients = (1 if plan.strategy == "ddp" else 3 * layers) if plan.devices > 1 else 0
    time_doublings = math.ceil(math.log2(P)) if P > 1 else 0
    waiting = device.latency * (collectives * time_doublings + gradients * doublings)
    sent = by_layer * layers + shared
    return Cost(
        products,
        moved,
        plan.rows * layer.kept * layers + held + P * B * layer.state,
        by_layer,
        sent,
        collectives + gradients,
        products / device.products + moved / device.copies,
        sent / device.link + waiting,
    )


def longest(layer: Layer, layers: int, plan: Plan, device: Device) -> int:
    """The longest sequences, as a power of 2, whose step fits the devices' memory; 0 where none does."""
    steps = 1
    while step_cost(layer, layers, replace(plan, steps=2 * steps), device).memory <= device.memory:
        steps *= 2
    return steps if step_cost(layer, layers, replace(plan, steps=steps), device).memory <= device.memory else 0


def _scanned(unit: RecurrentUnit) -> int:
    kind = unit.recurrence.scan_kind
    if kind not in SCANNED:
        rule = f"run one of the scans {', '.join(SCANNED)}, whose cost is known"
        raise ValueError(f"`unit` must {rule}, got {type(unit).__name__}")
    return SCANNED[kind] * _state(unit)


def _state(unit: RecurrentUnit) -> int:
    return _element(unit) * unit.hidden_size


def _element(unit: RecurrentUnit) -> int:
    """Bytes of one number of a state, which is complex for an LRU."""
    return unit.recurrence.state_dtype(torch.float32).itemsize


def _kept(model: nn.Module, steps: int) -> int:
    """Bytes that autograd keeps of one sequence, without the weights."""
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    with _counting(own) as kept:
        model(torch.randn(1, steps, model.config.input_size))  # type: ignore[union-attr, arg-type]
    return sum(kept.values())


@contextmanager
def _counting(own: set[int]) -> Iterator[dict[int, int]]:
    """Storage to bytes of all that is kept within, each once; they stay alive, so that no other takes their place."""
    kept: dict[int, int] = {}
    alive = []

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(storage)
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        yield kept
