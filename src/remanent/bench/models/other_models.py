"""Models of other packages, as wide and with as many layers as ours; a missing package raises ModuleNotFoundError."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

HEADS, RISE = 4, 4
"""The heads of a Transformer, and how many times as wide as the model its MLP is."""


class LastStepModel(nn.Module):
    """An encoder and a head, as our models have them, around other layers; the head reads the last step.

    Args:
        layers: modules that map (B, T, width) to as much, or to a tuple that begins with it.
        input_size: the features of a step.
        width: the width of the layers.
        output_size: the number of values that the head gives.
    """

    def __init__(self, layers: Sequence[nn.Module], input_size: int, width: int, output_size: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(input_size, width)
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(width, output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, T, input_size) to (B, output_size)."""
        x = self.encoder(x)
        for layer in self.layers:
            y = layer(x)
            x = y if isinstance(y, Tensor) else y[0]
        last: Tensor = self.head(x[:, -1])
        return last


class CausalTransformerLayer(nn.TransformerEncoderLayer):
    """torch's layer, in which a step sees no later one.

    Args:
        width: the width in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, HEADS, RISE * width, dropout=0.0, batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Maps (B, T, width) to as much."""
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return super().forward(x, src_mask=mask, is_causal=True)


class OtherModel(NamedTuple):
    """How the layers of another package are made, and what is timed of them.

    Attributes:
        layers: makes them for a width and a number of blocks.
        compiles: whether they are timed compiled as well; `torch.compile` leaves torch's own recurrent layers as they
            are, and unrolls the loops of mambapy's scan.
        most_steps: the most steps over which they are timed; None for any number.
    """

    layers: Callable[[int, int], Sequence[nn.Module]]
    compiles: bool = False
    most_steps: int | None = None


def _min_gru(width: int, blocks: int) -> Sequence[nn.Module]:
    from minGRU_pytorch.minGRU import minGRU

    return [minGRU(width) for _ in range(blocks)]


def _mamba(width: int, blocks: int) -> Sequence[nn.Module]:
    from mambapy.mamba import MambaConfig, ResidualBlock

    return [ResidualBlock(MambaConfig(d_model=width, n_layers=blocks)) for _ in range(blocks)]


def _transformer(width: int, blocks: int) -> Sequence[nn.Module]:
    return [CausalTransformerLayer(width) for _ in range(blocks)]


OTHER_MODELS = {
    "nn.GRU": OtherModel(lambda width, blocks: [nn.GRU(width, width, blocks, batch_first=True)]),
    "nn.LSTM": OtherModel(lambda width, blocks: [nn.LSTM(width, width, blocks, batch_first=True)]),
    "minGRU-pytorch": OtherModel(_min_gru, compiles=True),
    "mambapy block": OtherModel(_mamba),
    "Transformer": OtherModel(_transformer, compiles=True, most_steps=4096),
}
"""Name to how a model is made; attention, whose cost grows with the square of the steps, is timed up to some length."""
