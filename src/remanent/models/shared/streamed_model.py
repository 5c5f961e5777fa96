"""What every model can do with endless streams: a session, and tokens that are drawn from it."""

from torch import Tensor

from remanent.models.session import Session
from remanent.models.shared.saved_model import SavedModel


class StreamedModel(SavedModel):
    """A module that also runs step by step, from a state that it gives."""

    def stream(self, batch_size: int = 1, *, engine: str = "torch") -> Session:
        """A session that holds the state of endless streams, `batch_size` of them: see `Session`.

        Args:
            batch_size: B, at least 1.
            engine: "torch", or "native" for the model's own C, compiled at the first use on this machine.

        Returns:
            The session, at the start of all streams.

        Raises:
            ValueError: `batch_size` or `engine` is out of its range, the model is bidirectional, would drop values, or
                has no C.
            TypeError: an argument is of another type.
        """
        return Session(self, batch_size, engine=engine)  # type: ignore[arg-type]

    def generate(
        self, prompt: Tensor, steps: int, *, temperature: float = 1.0, top_k: int | None = None, seed: int | None = None
    ) -> Tensor:
        """Draws the tokens that follow a prompt, from the start of the streams: see `Session.generate`.

        Args:
            prompt: the tokens that are read first, int64 (B, T), at least one step.
            steps: how many tokens are drawn, at least 1.
            temperature: what logits are divided by, at least 0; at 0 the largest is taken, the first where several are.
            top_k: from how many of the likeliest tokens is drawn, at least 1; None for all.
            seed: of the draws, at least 0; None for torch's global generator.

        Returns:
            The tokens that were drawn, int64 (B, `steps`).

        Raises:
            ValueError: the model does not answer tokens with tokens, is bidirectional, would drop values, or a value is
                out of its range.
            TypeError: an argument is of another type.

        >>> import torch
        >>> from remanent import ModelConfig, SequenceModel
        >>> model = SequenceModel(ModelConfig(5, 5, encoder="embedding", head="every")).eval()
        >>> model.generate(torch.tensor([[0, 3]]), 4, temperature=0.5, top_k=3, seed=0).shape
        torch.Size([1, 4])
        """
        return self.stream(len(prompt)).generate(prompt, steps, temperature=temperature, top_k=top_k, seed=seed)
