"""A session: one endless batch of streams through a model, which holds the state between pushes."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from remanent._options import check_at_least, check_choice, check_range
from remanent.models.config import ModelConfig
from remanent.models.inputs import check_input
from remanent.models.row_linear import RowLinear
from remanent.models.state import ModelState, check_like, take_state, take_tensor

RESTART = "restart"
"""The name, among a session's tensors, of which streams start again at their next step."""


class Streamed(Protocol):
    """What a session reads of a model, which is a `SequenceModel`."""

    config: ModelConfig
    training: bool
    head: RowLinear

    def __call__(self, x: Tensor, state: ModelState | None = None, *, reset: Tensor | None = None) -> Any:
        """The output, and the state that continues the sequence."""

    def advance(self, x_t: Tensor, state: ModelState | None, reset: Tensor | None) -> tuple[Tensor, ModelState]:
        """The same for one step of what is checked."""


class Engine(Protocol):
    """What computes the steps of a session, and holds the state between them.

    Attributes:
        state: what the model carries, None at the start; what is set is of the form of the model's own states, on its
            device. A ValueError says that it cannot be expressed, and leaves the engine as it was.
    """

    state: ModelState | None

    def run(self, x: Tensor, reset: Tensor | None) -> Tensor:
        """The outputs of B streams over their next steps; `reset` (B,) says which of them start again before."""


class TorchEngine:
    """The model itself: `step` for one step, otherwise `forward`; its weights are read at every push."""

    def __init__(self, model: Streamed, batch_size: int) -> None:
        self.model = model
        self.state: ModelState | None = None

    def run(self, x: Tensor, reset: Tensor | None) -> Tensor:
        """See `Engine`."""
        model, every = self.model, self.model.config.head == "every"
        check_input(model, "x", x, ("B", "T"))
        if x.shape[1] == 1 and not model.training:
            y, self.state = model.advance(x[:, 0], self.state, reset)
            return y[:, None] if every else y
        cuts = None
        if reset is not None:
            cuts = reset.new_zeros(x.shape[:2])
            cuts[:, :1] = reset[:, None]
        y, self.state = model(x, self.state, reset=cuts)
        return y


ENGINES: dict[str, Callable[[Any, int], Engine]] = {"torch": TorchEngine}
"""Name to what makes the engine of a session from a model and the number of its streams.

`import remanent` adds "native", which is made by `remanent.export.engine`.
"""


class Session:
    """Streams through a model, B of them side by side: push the next inputs, get the outputs.

    Made by `SequenceModel.stream`. No gradient is kept. Memory is constant, however long a stream is (attention
    alone keeps every step). Cut into pushes in any way, a stream of set-or-hold units gives the same bits.

    Args:
        model: a model in evaluation mode.
        batch_size: B, at least 1.
        engine: what computes the steps. "torch" is the model, whose weights are read at every push. "native" is the
            model in C, as `export.write_c` has it with float32 weights, of the weights that it has when the session is
            made; it is compiled at its first use on this machine, and kept. Where there is no C compiler, "native"
            warns and is "torch". States go from one engine to the other.

    Raises:
        ValueError: `batch_size` or `engine` is out of its range, the model would drop values, or it has no C.
        TypeError: `batch_size` is not an int, or `engine` not a str.

    >>> from remanent import ModelConfig, SequenceModel
    >>> model = SequenceModel(ModelConfig(input_size=3, output_size=2, head="every"))
    >>> session = model.stream()
    >>> session.push(torch.randn(1, 5, 3)).shape
    torch.Size([1, 5, 2])
    """

    def __init__(self, model: Streamed, batch_size: int = 1, *, engine: str = "torch") -> None:
        check_at_least("batch_size", batch_size, 1)
        check_choice("engine", engine, ENGINES)
        if model.config.bidirectional:
            raise ValueError("`model` must have one direction to be streamed, got a bidirectional one")
        if model.training and model.config.dropout > 0:
            raise ValueError("`model` must be in evaluation mode (`model.eval()`), got one in training, with dropout")
        self.model = model
        self.batch_size = batch_size
        self._engine = ENGINES[engine](model, batch_size)
        self._restart = torch.ones(batch_size, dtype=torch.bool, device=model.head.weight.device)
        self._restarts, self._begun = True, False  # whether any stream restarts; whether the engine has a state

    @torch.no_grad()
    def push(self, x: Tensor) -> Tensor:
        """Runs the next steps of every stream.

        Args:
            x: any number of steps, at least one, (B, T, input_size); or tokens (B, T), int64.

        Returns:
            The outputs: (B, T, output_size) where the head reads every step, else (B, output_size) after the
            last of these steps; a head that reads the mean takes that over all steps since the start.

        Raises:
            ValueError: a shape or device does not fit; the session is unchanged then.
            TypeError: a dtype does not fit; likewise.
        """
        if isinstance(x, Tensor) and x.dim() > 1 and x.shape[0] != self.batch_size:
            raise ValueError(f"`x` must have the session's B={self.batch_size} streams, got {tuple(x.shape)}")
        y = self._engine.run(x, self._restart if self._restarts and self._begun else None)
        if self._restarts:
            self._restart, self._restarts, self._begun = torch.zeros_like(self._restart), False, True
        return y

    def generate(
        self, prompt: Tensor, steps: int, *, temperature: float = 1.0, top_k: int | None = None, seed: int | None = None
    ) -> Tensor:
        """Pushes tokens, then draws the next ones, each from the model's answer to the one before.

        The streams go on from what was drawn: a further call continues them, its prompt being what is read next. Equal
        seeds, prompts and states give equal tokens.

        Args:
            prompt: the tokens that are read first, int64 (B, T), at least one step.
            steps: how many tokens are drawn, at least 1.
            temperature: what logits are divided by, at least 0; at 0 the largest is taken, the first where several are.
            top_k: from how many of the likeliest tokens is drawn, at least 1; None for all.
            seed: of the draws, at least 0; None for torch's global generator.

        Returns:
            The tokens that were drawn, int64 (B, `steps`). The model has read all of them but the last.

        Raises:
            ValueError: the model does not answer tokens with tokens, or a value is out of its range.
            TypeError: an argument is of another type.
        """
        config = self.model.config
        if not config.reads_tokens or config.output_size != config.input_size:
            read = f"{config.input_size} {'tokens' if config.reads_tokens else 'features'}"
            rule = "`model` must read tokens and answer with a logit for each of them"
            raise ValueError(f"{rule}, got {read} and {config.output_size} outputs")
        check_at_least("steps", steps, 1)
        check_range("temperature", temperature, 0, float("inf"))
        if top_k is not None:
            check_at_least("top_k", top_k, 1)
        if seed is not None:
            check_at_least("seed", seed, 0)
        device = self.model.head.weight.device
        generator = None if seed is None else torch.Generator(device).manual_seed(seed)
        drawn: list[Tensor] = []
        for _ in range(steps):
            y = self.push(drawn[-1] if drawn else prompt)
            logits = y[:, -1] if config.head == "every" else y
            drawn.append(_draw(logits, temperature, top_k, generator)[:, None])
        return torch.cat(drawn, dim=1)

    def reset(self, which: Tensor | None = None) -> None:
        """Makes streams start again at their next step, without any memory of what came before.

        Args:
            which: bool (B,), true for those that start again; all of them if None.

        Raises:
            ValueError: the shape or device does not fit.
            TypeError: it is not a bool tensor.
        """
        if which is None:
            which = torch.ones_like(self._restart)
        check_like("which", which, self._restart)
        self._restart = self._restart | which
        self._restarts = bool(self._restart.any())
        if self._restart.all():
            self._engine.state, self._begun = None, False

    def state(self) -> dict[str, Tensor]:
        """Everything that the streams carry, as named tensors to send or store, for example with safetensors.

        Returns:
            "restart", bool (B,): which streams start again at their next step; and, unless all do, the model's
            state: "layers.0.0" for the first unit of the first block, (1, B, D), and so on. They are copies.
        """
        named = {RESTART: self._restart.clone()}
        state = self._engine.state if self._begun else None
        if state is not None:
            contiguous = torch.contiguous_format
            named |= {name: value.clone(memory_format=contiguous) for name, value in state.named().items()}
        return named

    def load(self, state: dict[str, Tensor]) -> None:
        """Resumes from what `state` gave, in this process or another, with the same model and batch size.

        Args:
            state: the named tensors; copied.

        Raises:
            ValueError: a name is missing or unknown, a shape does not fit, or the engine "native" cannot express a
                state, since its unit never has it; the session is unchanged then.
            TypeError: a value is not a tensor, or of another dtype; likewise.
        """
        if not isinstance(state, dict):
            raise TypeError(
                f"`state` must be a dict of tensors, as `Session.state` gives it, got {type(state).__name__}"
            )
        left = dict(state)
        restart = take_tensor(left, RESTART, self._restart)
        after = None if restart.all() else take_state(left, self._example())
        if left:
            raise ValueError(f"`state` must be that of a session of this model, got the unknown {', '.join(left)}")
        self._engine.state = after
        self._restart, self._restarts, self._begun = restart, bool(restart.any()), after is not None

    @torch.no_grad()
    def _example(self) -> ModelState:
        """The state after one step, whatever it holds: for its form."""
        size, weight = self.model.config.input_size, self.model.head.weight
        if self.model.config.reads_tokens:
            x = torch.zeros(self.batch_size, 1, dtype=torch.int64, device=weight.device)
        else:
            x = weight.new_zeros(self.batch_size, 1, size)
        state: ModelState = self.model(x)[1]
        return state


def _draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator | None) -> Tensor:
    """A token for each row of logits (B, V), in float64, so that a small temperature overflows no sum."""
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits.double()
    if top_k is not None and top_k < logits.shape[-1]:
        kept = logits.topk(top_k).indices
        logits = torch.full_like(logits, -torch.inf).scatter(1, kept, logits.gather(1, kept))
    scaled = (logits - logits.amax(-1, keepdim=True)) / temperature
    return torch.multinomial(scaled.softmax(-1), 1, generator=generator)[:, 0]
