"""A proof that a model is right at every length: all states and transitions, written to a file and read from it."""

import base64
import dataclasses
import hashlib
import json
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from remanent._files import to_json
from remanent._json import parse_json
from remanent._machine import versions
from remanent.analysis.automata.model_machine import Machine, Part
from remanent.analysis.automata.walk import Verdict, Walked
from remanent.models import SequenceModel
from remanent.ops.checks import fastest
from remanent.tasks.automata.automaton import Automaton

FORMAT = 1
"""The form of the file; a reader rejects any other."""
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool)
}
"""Name to dtype of the numbers of a state."""


@dataclass(frozen=True)
class Proof:
    """Everything that a whole walk met, with which anyone can check it again without trust in who made it.

    Attributes:
        automaton: what gives the right answers.
        parts: the tensors of a state of the model, in the order in which their bytes lie.
        walked: all states, what every letter does in them, and the pairs with states of the automaton.
        margin: the smallest difference between the logit of a right answer and the largest other one.
        origin: what the proof was made with, as `origin_of` gives it, for the reader alone.
    """

    automaton: Automaton
    parts: tuple[Part, ...]
    walked: Walked
    margin: float
    origin: dict[str, Any]

    @classmethod
    def of(cls, machine: Machine, automaton: Automaton, verdict: Verdict) -> "Proof":
        """The proof that a walk gives.

        Args:
            machine: the model that was walked through.
            automaton: what it was compared with.
            verdict: what `walk` returned for these two, which must be "right".

        Raises:
            ValueError: the verdict is another one.
        """
        if verdict.outcome != "right":
            raise ValueError(f"`verdict` must be that of a model that is right, got {verdict.outcome!r}")
        return cls(automaton, machine.parts, verdict.walked, verdict.margin, origin_of(machine.model))

    def to_json(self) -> str:
        """The proof as JSON: on each line a state, its bytes by zlib in base64, with what each letter does in it."""
        states, after, answers, pairs = self.walked
        parts = [{**part._asdict(), "dtype": str(part.dtype).removeprefix("torch.")} for part in self.parts]
        head = {"format": FORMAT, "margin": self.margin, "origin": self.origin, "parts": parts}
        head["automaton"] = dataclasses.asdict(self.automaton)
        rows = zip(states.numpy(), after.tolist(), answers.tolist(), strict=True)
        lines = [
            json.dumps({"state": base64.b64encode(zlib.compress(row.tobytes(), 9)).decode(), "after": a, "answers": b})
            for row, a, b in rows
        ]
        return (
            to_json(head)[:-1]
            + f',\n"pairs": {json.dumps(pairs.tolist())},\n"states": [\n'
            + ",\n".join(lines)
            + "\n]}"
        )

    @classmethod
    def from_json(cls, content: bytes | str, where: str = "the proof") -> "Proof":
        """Reads the text of `to_json`; what it says is not checked here, but that it has the form of a proof.

        Args:
            content: the text.
            where: the name of the text in errors, such as its path.

        Raises:
            ValueError: the text has another form; the message says where.
        """
        values = parse_json(content, where)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            found = values.get("format") if isinstance(values, dict) else type(values).__name__
            raise ValueError(f"{where} must hold a proof of format {FORMAT}, got {found!r}")
        try:
            automaton = Automaton(**values["automaton"])
            parts = tuple(Part(part["name"], DTYPES[part["dtype"]], _shape(part["shape"])) for part in values["parts"])
            states = _read_states([line["state"] for line in values["states"]], sum(part.bytes for part in parts))
            shape = len(states), automaton.num_letters
            after = _numbers("after", [line["after"] for line in values["states"]], shape, 0, len(states))
            answers = _numbers("answers", [line["answers"] for line in values["states"]], shape, -1, 2**31)
            pairs = _numbers("pairs", values["pairs"], (len(values["pairs"]), 2), 0, 2**31)
            if int(pairs[:, 0].max()) >= len(states) or int(pairs[:, 1].max()) >= automaton.num_states:
                raise ValueError("`pairs` must be of states that are listed")
            margin, origin = values["margin"], values["origin"]
            if not (margin is None or isinstance(margin, int | float)) or not isinstance(origin, dict):
                raise ValueError("`margin` must be a number, and `origin` an object")
        except KeyError as error:
            raise ValueError(f"{where} must hold a proof, got one without the key {error}") from None
        except (TypeError, ValueError, zlib.error, RuntimeError) as error:
            raise ValueError(f"{where} must hold a proof, got one that is corrupt: {error}") from None
        return cls(
            automaton, parts, Walked(states, after, answers, pairs), math.inf if margin is None else margin, origin
        )


def origin_of(model: SequenceModel) -> dict[str, Any]:
    """What a proof is made with: the weights' SHA-256, configuration, dtype, device, scans, versions and machine."""
    weight = model.head.weight
    where = {"dtype": str(weight.dtype).removeprefix("torch."), "device": weight.device.type}
    where["backend"] = fastest("auto", weight)
    return {"weights": weights_hash(model), "config": dataclasses.asdict(model.config), **where, **versions()}


def weights_hash(model: SequenceModel) -> str:
    """The SHA-256 of the names, dtypes, shapes and bytes of all that a model saves."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _shape(values: list[int]) -> tuple[int, ...]:
    if len(values) != 2 or any(type(value) is not int or value < 1 for value in values):
        raise ValueError(f"`shape` must be two ints of at least 1, got {values}")
    return tuple(values)


def _read_states(texts: list[str], width: int) -> Tensor:
    rows = []
    for text in texts:
        row = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), width + 1)
        if len(row) != width:
            raise ValueError(f"a state must have {width} bytes, got {len(row)}")
        rows.append(row)
    return torch.frombuffer(bytearray(b"".join(rows)), dtype=torch.uint8).view(len(rows), width)


def _numbers(name: str, values: list[Any], shape: tuple[int, ...], low: int, high: int) -> Tensor:
    """Values as int64, which must be ints in [low, high) of a shape."""
    numbers = np.array(values)
    if numbers.shape != shape or numbers.dtype.kind != "i":
        raise ValueError(f"`{name}` must be ints of shape {shape}, got {numbers.dtype} of {numbers.shape}")
    if numbers.min() < low or numbers.max() >= high:
        raise ValueError(f"`{name}` must be in [{low}, {high}), got {numbers.min()} to {numbers.max()}")
    return torch.from_numpy(numbers)
