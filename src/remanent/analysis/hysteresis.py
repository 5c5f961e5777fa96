"""The hysteresis loop of a channel: of its candidate, or of the input itself."""

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.analysis._probe import check_probed, run
from remanent.ops import latch_scan
from remanent.units import RecurrentUnit
from remanent.units.recurrence import LatchGates


@torch.no_grad()
def hysteresis_curve(
    unit: RecurrentUnit, channel: int, *, points: int = 401, span: float = 1.6
) -> tuple[Tensor, Tensor, float]:
    r"""Sweeps one channel's candidate up and down and records its state: corners at $\pm\beta$, height $2\alpha$.

    Args:
        unit: a unit that runs `latch_scan`, such as `BMRU`, `CMRU` or `AlphaCMRU`. Its first layer is taken, with the
            threshold and the size that it has at zero input: for a BMRU $\beta = |b_\beta|$. `epsilon` is that of the
            unit: above 0 writes add up, and the sweep is no closed loop. For other units see `input_loop`.
        channel: in [0, D).
        points: steps of each sweep, at least 2.
        span: the sweep ends at this many thresholds on either side, above 1.

    Returns:
        The candidate (2 points,), the state (2 points,), and the threshold.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: `unit` has no candidate and threshold.

    Source: De Geeter et al. (2026), arXiv 2601.09495.

    >>> from remanent import BMRU
    >>> candidate, state, threshold = hysteresis_curve(BMRU(1, 1, write_span=None), 0)
    >>> threshold, state.unique().tolist()
    (1.0, [-1.0, 1.0])
    """
    gates = gates_at_zero(unit)
    if gates is None:
        rule = "`unit` must run a latch's scan, as BMRU, CMRU and AlphaCMRU do"
        raise TypeError(f"{rule}, got {type(unit).__name__}; see `input_loop`")
    _check_sweep(unit, channel, points)
    if not unit.bias:
        raise ValueError("`unit` must have biases, since its threshold is taken at zero input, got bias=False")
    if not span > 1:
        raise ValueError(f"`span` must be above 1, got {span}")
    threshold = gates.threshold[0, channel].abs().reshape(1)
    alpha = gates.alpha.flatten()[channel].reshape(1)
    candidate = _sweep(points, alpha.dtype).to(alpha.device) * span * threshold.clamp(min=1e-6)
    state = latch_scan(candidate.reshape(1, -1, 1), threshold, alpha, epsilon=gates.epsilon)
    return candidate, state.flatten(), threshold.item()


@torch.no_grad()
def input_loop(
    unit: RecurrentUnit, channel: int, direction: Tensor, *, points: int = 201, hold: int = 1
) -> tuple[Tensor, Tensor]:
    r"""Sweeps the input $s\,d$ up from $s = -1$ to 1 and down again, and records what one channel puts out.

    Under a sweep slow enough (a large `hold`), a unit whose memory fades has one branch: up and down meet. A
    multistable one has two: between its thresholds, the output depends on the direction of the sweep.

    Args:
        unit: any unit of one direction.
        channel: in [0, D), of the last layer.
        direction: $d$, (M,), the input at the end of the sweep.
        points: values of each sweep, at least 2.
        hold: steps for which each value is held, at least 1; the output after the last of them is recorded.

    Returns:
        $s$, (2 points,), and the output, (2 points,).

    Raises:
        ValueError: an argument is out of its range, or a shape does not fit.
        TypeError: `unit` is no unit.

    >>> from remanent import BMRU
    >>> unit = BMRU(1, 1, write_span=None)
    >>> unit.weight_ih_l0.data[:, 0] = torch.tensor([1.0, 0.0])  # the candidate is the input, the threshold 1
    >>> s, y = input_loop(unit, 0, torch.tensor([2.0]), points=5)
    >>> y.tolist()  # at -2, -1, 0, 1, 2, and back
    [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0, -1.0]
    """
    if not isinstance(unit, RecurrentUnit):
        raise TypeError(f"`unit` must be a RecurrentUnit, got {type(unit).__name__}")
    check_probed(unit)
    _check_sweep(unit, channel, points)
    check_at_least("hold", hold, 1)
    if not isinstance(direction, Tensor) or direction.shape != (unit.input_size,):
        found = tuple(direction.shape) if isinstance(direction, Tensor) else type(direction).__name__
        raise ValueError(f"`direction` must be a tensor of shape (M={unit.input_size},), got {found}")
    sweep = _sweep(points, direction.dtype).to(direction.device)
    x = (sweep[:, None] * direction).repeat_interleave(hold, dim=0)
    y, _ = run(unit, x[None])
    return sweep, y[0, hold - 1 :: hold, channel]


def gates_at_zero(unit: object) -> LatchGates | None:
    """What the first layer of a unit gives `latch_scan` at zero input, (1, D); None for a unit with another scan."""
    if not isinstance(unit, RecurrentUnit):
        return None
    return unit.recurrence.latch_gates(unit._params("_l0"), unit.all_weights[0][0].new_zeros(1, unit.input_size))


def _sweep(points: int, dtype: torch.dtype) -> Tensor:
    up = torch.linspace(-1, 1, points, dtype=dtype)
    return torch.cat([up, up.flip(0)])


def _check_sweep(unit: RecurrentUnit, channel: int, points: int) -> None:
    check_at_least("channel", channel, 0)
    if channel >= unit.hidden_size:
        raise ValueError(f"`channel` must be in [0, D={unit.hidden_size}), got {channel}")
    check_at_least("points", points, 2)
