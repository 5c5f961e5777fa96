"""Pictures of dashed curves: scenes drawn by rejection, many at a time, and their pixels."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DIRECTIONS = 1024
"""The number of headings in a full turn."""
STEADINESS = 4
"""The fewest turns from going straight to the sharpest turn."""
LINE = np.float32(0.7)
"""The brightness of a line relative to a dot, whose size alone would not show it in a small picture."""
CANDIDATES = (3, 40, 24)
"""The number of curves that are tried at a time for the first place in a scene, the second, and each distractor."""
ROUNDS = 300
"""The number of failed attempts at a scene before an error says that the curves do not fit."""

# rounded, so that the last bit of a cosine, which differs between machines, never decides about a scene
_COSINES = np.array([round(math.cos(2 * math.pi * i / DIRECTIONS) * 2**20) / 2**20 for i in range(DIRECTIONS)])
_COMPASS = np.stack([_COSINES, np.roll(_COSINES, DIRECTIONS // 4)], axis=-1)


class Style(NamedTuple):
    """The style of pictures; lengths are in pixels.

    Attributes:
        size: the pixels of a side.
        dashes: the number of dashes of each target curve.
        dash: the length of a dash.
        gap: the length of a gap.
        distractors: the number of short curves beside the two.
        distractor_dashes: the number of dashes of each short curve.
    """

    size: int
    dashes: int
    dash: float
    gap: float
    distractors: int
    distractor_dashes: int

    @property
    def width(self) -> float:
        """The width of a line."""
        return max(1.0, self.size / 32)

    @property
    def radius(self) -> float:
        """The radius of a dot."""
        return max(1.0, 1.25 * self.size / 32)

    @property
    def separation(self) -> float:
        """The least distance from one curve to another, or to a part of itself further along."""
        return 1.75 * self.gap

    @property
    def clearance(self) -> float:
        """The least squared distance of points that keeps the lines between them `separation` apart."""
        return self.separation**2 + max(self.dash, self.gap) ** 2 / 4

    @property
    def length(self) -> float:
        """The length of a target curve."""
        return self.dashes * (self.dash + self.gap) - self.gap

    @property
    def tolerance(self) -> float:
        """The largest difference between the dots' distance if they are joined and if they are not."""
        return self.length / 30

    @property
    def sharpest(self) -> float:
        """The sharpest turn between a dash and a gap, in headings: on a radius of 1/8 of a side, or 40 degrees."""
        return DIRECTIONS * min(1 / 9, 4 * (self.dash + self.gap) / self.size / (2 * math.pi))


class Scenes(NamedTuple):
    """N scenes, as points (x, y) in pixels; a curve's dashes lie between points 0 and 1, 2 and 3, ...

    Attributes:
        targets: the two curves, (N, 2, 2 dashes, 2).
        distractors: the short curves, (N, distractors, 2 distractor_dashes, 2).
        dots: the places of the two dots if they are joined, at [:, 1], and if not, at [:, 0]: (N, 2, 2, 2).
        joined: whether the dots are joined, (N,).
    """

    targets: Array
    distractors: Array
    dots: Array
    joined: Mask


def draw_scenes(generators: list[torch.Generator], style: Style) -> Scenes:
    """Draws a scene from each generator, independent of the others.

    Raises:
        ValueError: the curves do not fit.
    """
    N, count = len(generators), 1 + sum(K * (P + 2) for K, P in _places(style))
    joined = np.array([torch.rand((), generator=g).item() < 0.5 for g in generators], bool)
    found = [
        np.empty((N, 2, 2 * style.dashes, 2)),
        np.empty((N, style.distractors, 2 * style.distractor_dashes, 2)),
        np.empty((N, 2, 2, 2)),
    ]
    left = np.arange(N)
    for _ in range(ROUNDS):
        if not len(left):
            return Scenes(found[0], found[1], found[2], joined)
        numbers = torch.stack([torch.rand(count, generator=generators[i], dtype=torch.float64) for i in left])
        good, drawn = _attempt(numbers.numpy(), style)
        for mine, new in zip(found, drawn, strict=True):
            mine[left[good]] = new
        left = np.delete(left, good)
    raise ValueError(
        f"`dashes`, `dash`, `gap` and `distractors` must leave room for all curves in {style.size} x {style.size} "
        f"pixels, got {style.dashes}, {style.dash:g}, {style.gap:g} and {style.distractors}"
    )


def draw_images(scenes: Scenes, style: Style) -> Tensor:
    """Draws the pictures as pixels of 256 greys in [-0.5, 0.5], (N, size, size)."""
    N = len(scenes.joined)
    grid = np.arange(style.size, dtype=np.float32)
    lines = np.full((N, style.size, style.size), np.float32(-1))
    for curves in (scenes.targets, scenes.distractors):
        dashes = curves.reshape(N, -1, 2, 2).astype(np.float32)
        for i in range(dashes.shape[1]):
            np.maximum(lines, style.width / 2 - _distances(grid, dashes[:, i, 0], dashes[:, i, 1]), out=lines)
    dots = scenes.dots[np.arange(N), scenes.joined.astype(int)].astype(np.float32)
    discs = style.radius - np.minimum(*(_distances(grid, dots[:, i], dots[:, i]) for i in range(2)))
    ink = np.maximum(LINE * np.clip(lines + np.float32(0.5), 0, 1), np.clip(discs + np.float32(0.5), 0, 1))
    return torch.from_numpy(np.round(ink * 255)) / 255 - 0.5


def _distances(grid: NDArray[np.float32], begin: NDArray[np.float32], end: NDArray[np.float32]) -> NDArray[np.float32]:
    """The distances of all pixels to a line from `begin` to `end`, both (N, 2): (N, size, size)."""
    along = end - begin
    square = np.maximum(along[:, 0] * along[:, 0] + along[:, 1] * along[:, 1], np.float32(1e-6))
    x, y = grid[None, None, :] - begin[:, 0, None, None], grid[None, :, None] - begin[:, 1, None, None]
    u, v = along[:, 0, None, None], along[:, 1, None, None]
    share = np.clip(x * (u / square[:, None, None]) + y * (v / square[:, None, None]), 0, 1)
    dx, dy = x - share * u, y - share * v
    return np.sqrt(dx * dx + dy * dy)


def _places(style: Style) -> list[tuple[int, int]]:
    """The number of curves that are tried for each place in a scene, and the number of their points."""
    points = [2 * style.dashes] * 2 + [2 * style.distractor_dashes] * style.distractors
    return [(CANDIDATES[min(i, 2)], P) for i, P in enumerate(points)]


def _attempt(numbers: Array, style: Style) -> tuple[NDArray[np.int64], list[Array]]:
    """The scenes that succeeded, and their targets, distractors and dots, which are placed one after the other."""
    good = np.arange(len(numbers))
    second_owns, numbers = numbers[:, 0] < 0.5, numbers[:, 1:]
    curves: list[Array] = []
    dots = np.empty((len(good), 0))
    for i, (K, P) in enumerate(_places(style)):
        used = K * (P + 2)
        candidates, fit = _curves(numbers[:, :used].reshape(len(good), K, P + 2), style)
        for other in curves:
            fit &= _apart(candidates, other, style)
        misses = np.zeros(fit.shape)
        if i == 1:
            pairs, misses = _dots(curves[0][:, None], candidates, second_owns[good], style)
        misses = np.where(fit, misses, np.inf)
        each = np.flatnonzero(misses.min(1) <= style.tolerance)
        first = misses[each].argmin(1)
        dots = pairs[each, first] if i == 1 else dots[each]
        curves = [other[each] for other in curves] + [candidates[each, first]]
        good, numbers = good[each], numbers[each, used:]
    short = np.stack(curves[2:], 1) if style.distractors else np.empty((len(good), 0, 2 * style.distractor_dashes, 2))
    return good, [np.stack(curves[:2], 1), short, dots]


def _curves(numbers: Array, style: Style) -> tuple[Array, Mask]:
    """Curves (..., P, 2) from P + 2 numbers each, and whether they are in the picture and do not cross themselves."""
    P = numbers.shape[-1] - 2
    bend = (2 * numbers[..., :1] - 1) * style.sharpest
    drift = np.cumsum((2 * numbers[..., 3:-1] - 1) * (style.sharpest / STEADINESS), axis=-1)
    turns = np.clip(bend + drift, -style.sharpest, style.sharpest)
    headings = np.cumsum(np.concatenate([numbers[..., 1:2] * DIRECTIONS, turns], axis=-1), axis=-1)
    lengths = np.resize([style.dash, style.gap], P - 1)
    steps = lengths[:, None] * _COMPASS[np.floor(headings).astype(np.int64) % DIRECTIONS]
    points = np.concatenate([np.zeros_like(steps[..., :1, :]), np.cumsum(steps, axis=-2)], axis=-2)
    low, high = points.min(-2), points.max(-2)
    margin = style.radius - 0.5
    room = style.size - 1 - 2 * margin - (high - low)
    place = numbers[..., [2, -1]]
    # more often near the border than in the middle, so that the next curve finds room
    place = place * place * (3 - 2 * place)
    points += (margin - low + room * place)[..., None, :]
    along = np.concatenate([[0], np.cumsum(lengths)])
    i, j = np.nonzero(along[None] - along[:, None] > 1.5 * style.separation)
    off_itself = (_squares(points[..., i, :], points[..., j, :]) >= style.clearance).all(-1)
    return points, (room >= 0).all(-1) & off_itself


def _apart(candidates: Array, other: Array, style: Style) -> Mask:
    """Which candidates (N, K, P, 2) keep their distance from another curve (N, Q, 2)."""
    squares = _squares(candidates[:, :, :, None], other[:, None, None])
    return np.asarray((squares >= style.clearance).all((-1, -2)))


def _dots(first: Array, second: Array, second_owns: Mask, style: Style) -> tuple[Array, Array]:
    """Dots (N, K, 2, 2, 2) on an end of both curves and on both ends of one, and how their distances differ, (N, K)."""
    ends = np.stack(np.broadcast_arrays(first[..., [0, -1], :], second[..., [0, -1], :]), axis=2)
    own = np.where(second_owns[:, None, None, None], ends[:, :, 1], ends[:, :, 0])
    crossing = np.stack(np.broadcast_arrays(ends[:, :, 0, :, None], ends[:, :, 1, None]), axis=-2)
    crossing = crossing.reshape(*own.shape[:2], 4, 2, 2)
    wanted = np.sqrt(_squares(own[..., 0, :], own[..., 1, :]))
    found = np.sqrt(_squares(crossing[..., 0, :], crossing[..., 1, :]))
    # the ends of one curve are never further apart than its length, and neither may those of two be
    misses = np.where(found <= style.length, np.abs(found - wanted[..., None]), np.inf)
    best = np.take_along_axis(crossing, misses.argmin(-1)[..., None, None, None], axis=2)[:, :, 0]
    return np.stack([best, own], axis=2), misses.min(-1)


def _squares(a: Array, b: Array) -> Array:
    """Squared distances of points."""
    squares, dy = a[..., 0] - b[..., 0], a[..., 1] - b[..., 1]
    squares *= squares
    dy *= dy
    squares += dy
    return squares
