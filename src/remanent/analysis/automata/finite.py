"""What makes a model a finite automaton, asked of its parts, and the error that names each part that is none."""

from collections.abc import Iterator

from remanent.models import SequenceModel

FINITE = "tokens, units that latch or have K stable states, at epsilon 0, and convolutions"
"""What a finite automaton is made of, as the error says it."""


def check_finite(model: SequenceModel) -> None:
    """Raises unless a model is a finite automaton: unless its tokens lead through finitely many states.

    Each part declares it (`Recurrence.why_endless`), so that a unit of your own is treated like a built-in one. Norms,
    MLPs and gates see one step alone, and change nothing.

    Args:
        model: any model.

    Raises:
        ValueError: it is none; the message names every part that may have endlessly many states, and says why.

    >>> from remanent import ModelConfig
    >>> check_finite(SequenceModel(ModelConfig(2, 2, unit="bmru,mru", encoder="embedding")))
    >>> check_finite(SequenceModel(ModelConfig(2, 2, unit="bmru,lru", encoder="embedding")))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: `model` must be a finite automaton ..., got blocks.1: lru, whose state is a sum that fades
    """
    found = list(_endless_parts(model))
    if found:
        raise ValueError(f"`model` must be a finite automaton ({FINITE}), got {'; '.join(found)}")


def _endless_parts(model: SequenceModel) -> Iterator[str]:
    """The parts with endlessly many states, each with its reason, in the order of the data."""
    config = model.config
    if not config.reads_tokens:
        yield f"encoder: {config.encoder}, which reads numbers"
    if model.clock is not None:
        yield f"clock: {config.clock}, {model.clock.why_endless}"
    for i, (block, names) in enumerate(zip(model.blocks, config.layers, strict=True)):
        for name, unit in zip(names, block.layer.units, strict=True):  # type: ignore[union-attr, arg-type]
            why = getattr(unit, "recurrence", unit).why_endless
            if why is not None:
                yield f"blocks.{i}: {name}, {why}"
    if config.head == "mean":
        yield "head: mean, a sum over all steps so far"
