"""Pathfinder: pictures that can be solved by looking and by no short cut; files that are checked."""

import hashlib
import heapq
import math
from itertools import pairwise

import pytest
import torch

from remanent.tasks.base import read_whole
from remanent.tasks.images.pathfinder import Pathfinder
from remanent.tasks.images.scenes import draw_images, draw_scenes

SOLVED_ABOVE = {8: 0.172, 12: 0.163, 16: 0.158, 24: 0.105, 32: 0.122}
"""Size to the ink in the middle of a gap, blurred, which there is not between two curves."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def scenes(style, count, seed=0):
    return draw_scenes([generator(1000 * seed + i) for i in range(count)], style)


def from_segment(point, begin, end):
    """The distance from a point to a segment."""
    (x, y), (a, b), (c, d) = point, begin, end
    square = (c - a) ** 2 + (d - b) ** 2
    share = min(1, max(0, ((x - a) * (c - a) + (y - b) * (d - b)) / square)) if square else 0
    return math.dist(point, (a + share * (c - a), b + share * (d - b)))


def left_of(point, begin, end):
    (x, y), (a, b), (c, d) = point, begin, end
    return (c - a) * (y - b) > (d - b) * (x - a)


def between(one, other):
    """The distance of two segments, 0 if they cross."""
    crossing = left_of(one[0], *other) != left_of(one[1], *other) and left_of(other[0], *one) != left_of(other[1], *one)
    ends = [from_segment(p, *other) for p in one] + [from_segment(p, *one) for p in other]
    return 0 if crossing else min(ends)


def segments(curve):
    return list(pairwise(curve))


def find_dots(image):
    """The two places with the most ink in a round window, from the pixels alone."""
    size = len(image)

    def ink(x, y):
        near = [(a, b) for a in range(x - 1, x + 2) for b in range(y - 1, y + 2) if 0 <= a < size and 0 <= b < size]
        return sum(image[b][a] * max(0, 1.75 - math.dist((a, b), (x, y))) for a, b in near)

    places = sorted(((ink(x, y), (x, y)) for x in range(size) for y in range(size)), reverse=True)
    first = places[0][1]
    return first, next(place for _, place in places if math.dist(place, first) > 2.5)


def thin(image, dots):
    """The same picture with the dots as bright and about as broad as the lines."""
    image = (image / 0.7).clamp(max=1)
    for x, y in dots:
        centre = image[y, x].item()
        image[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] *= 0.55
        image[y, x] = centre
    return image


def blur(image):
    """The ink at every half pixel, seen through a Gaussian of 0.6 pixels."""
    size = len(image)
    offsets = torch.arange(2 * size - 1).double()[:, None] / 2 - torch.arange(size).double()
    weights = (-offsets.square() / (2 * 0.6**2)).exp() / (0.6 * math.sqrt(2 * math.pi))
    return (weights @ image @ weights.T).tolist()


def faintest_on_best_path(ink, begin, end):
    """The least ink on the path between two pixels along which the least is most."""
    goal, seen = (2 * end[0], 2 * end[1]), set()
    heap = [(-ink[2 * begin[1]][2 * begin[0]], 2 * begin[0], 2 * begin[1])]
    while True:
        value, x, y = heapq.heappop(heap)
        if (x, y) == goal:
            return -value
        if (x, y) in seen:
            continue
        seen.add((x, y))
        for u in range(max(0, x - 1), min(len(ink), x + 2)):
            for v in range(max(0, y - 1), min(len(ink), y + 2)):
                if (u, v) not in seen:
                    heapq.heappush(heap, (max(value, -ink[v][u]), u, v))


@pytest.mark.parametrize(("size", "share"), [(8, 0.95), (12, 0.98), (16, 0.98), (24, 0.99), (32, 0.99)])
def test_following_the_ink_from_dot_to_dot_finds_the_class(size, share):
    x, classes = read_whole(Pathfinder(size=size), "test", 0, 300, 0)
    right = 0
    for image, joined in zip(x.reshape(-1, size, size).double() + 0.5, classes.tolist(), strict=True):
        dots = find_dots(image.tolist())
        right += (faintest_on_best_path(blur(thin(image, dots)), *dots) > SOLVED_ABOVE[size]) == bool(joined)
    assert right >= share * len(classes), right


@pytest.mark.parametrize("size", [8, 16, 32])
def test_curves_keep_their_distance_from_each_other_and_from_themselves(size):
    style = Pathfinder(size=size)._style()
    drawn = scenes(style, 30)
    for i in range(30):
        curves = [segments(c) for c in [*drawn.targets[i].tolist(), *drawn.distractors[i].tolist()]]
        for j, one in enumerate(curves):
            for other in curves[:j]:
                assert min(between(a, b) for a in one for b in other) >= style.separation - 1e-9
            for k, a in enumerate(one):
                along = 0.0
                for begin, end in one[k + 1 :]:
                    if along > 1.5 * style.separation:
                        assert between(a, (begin, end)) >= style.separation - 1e-9
                    along += math.dist(begin, end)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_curves_are_dashes_and_gaps_that_bend_gently_inside_the_picture(size):
    style = Pathfinder(size=size)._style()
    drawn = scenes(style, 50)
    for curves, dashes in ((drawn.targets, style.dashes), (drawn.distractors, style.distractor_dashes)):
        for curve in curves.reshape(-1, 2 * dashes, 2).tolist():
            lengths = [math.dist(*segment) for segment in segments(curve)]
            assert lengths == pytest.approx(([style.dash, style.gap] * dashes)[:-1], abs=1e-5)
            headings = [math.atan2(d - b, c - a) for (a, b), (c, d) in segments(curve)]
            turns = [math.remainder(b - a, math.tau) for a, b in pairwise(headings)]
            assert max(map(abs, turns)) <= math.radians(41)
            assert all(style.radius - 0.5 <= z <= size - 0.5 - style.radius for point in curve for z in point)


@pytest.mark.parametrize("size", [8, 12, 16, 32])
def test_the_class_says_whether_the_dots_are_on_one_curve_and_their_distance_does_not(size):
    style = Pathfinder(size=size)._style()
    drawn = scenes(style, 1500)
    far = []
    for targets, pairs, joined in zip(drawn.targets.tolist(), drawn.dots.tolist(), drawn.joined, strict=True):
        ends = [[curve[0], curve[-1]] for curve in targets]
        owners = [[[dot in own for own in ends].index(True) for dot in pair] for pair in pairs]
        assert sorted(owners[0]) == [0, 1]
        assert owners[1] in ([0, 0], [1, 1])
        assert pairs[1][0] != pairs[1][1]
        distances = [math.dist(*pair) for pair in pairs]
        assert abs(distances[0] - distances[1]) <= style.tolerance + 1e-9
        far.append((distances[int(joined)], bool(joined)))
    far.sort()
    total, near, best = sum(joined for _, joined in far), 0, 0.0
    for count, (_, joined) in enumerate(far, 1):
        near += joined
        right = (near + len(far) - count - (total - near)) / len(far)
        best = max(best, right, 1 - right)
    assert best < 0.6


def test_the_first_and_second_curve_own_the_dots_equally_often():
    drawn = scenes(Pathfinder()._style(), 1000)
    first = (drawn.dots[:, 1, 0] == drawn.targets[:, 0, 0]).all(-1)
    assert abs(first.mean() - 0.5) < 0.06


def test_classes_are_balanced_and_pictures_of_both_have_as_much_ink():
    x, classes = read_whole(Pathfinder(), "test", 0, 2000, 0)
    assert abs(classes.double().mean() - 0.5) < 0.04
    ink = (x + 0.5).sum((1, 2)).double()
    assert abs(ink[classes == 0].mean() - ink[classes == 1].mean()) < 0.2 * ink.std()
    assert Pathfinder().chance == 0.5


def test_a_scene_can_be_drawn_either_way_and_only_its_dots_change():
    style = Pathfinder()._style()
    drawn = scenes(style, 40)
    one, other = draw_images(drawn, style), draw_images(drawn._replace(joined=~drawn.joined), style)
    for i in range(40):
        assert not torch.equal(one[i], other[i])
        dots = drawn.dots[i].reshape(4, 2).tolist()
        for y, x in (one[i] != other[i]).nonzero().tolist():
            assert min(math.dist((x, y), dot) for dot in dots) < style.radius + 0.5


@pytest.mark.parametrize("task", [Pathfinder(size=12), Pathfinder(size=40, distractors=3, dashes=6)], ids=repr)
def test_a_pixel_is_as_bright_as_a_line_covers_it(task):
    style = task._style()
    drawn = scenes(style, 3)
    images = draw_images(drawn, style)
    for i in range(3):
        curves = [*drawn.targets[i].tolist(), *drawn.distractors[i].tolist()]
        dashes = [dash for curve in curves for dash in segments(curve)[::2]]
        for y in range(style.size):
            for x in range(style.size):
                line = style.width / 2 - min(from_segment((x, y), *dash) for dash in dashes)
                dot = style.radius - min(math.dist((x, y), p) for p in drawn.dots[i, int(drawn.joined[i])].tolist())
                ink = max(0.7 * min(1, max(0, line + 0.5)), min(1, max(0, dot + 0.5)))
                assert images[i, y, x].item() + 0.5 == pytest.approx(ink, abs=0.003)


def test_counts_follow_the_size_and_can_be_set():
    assert Pathfinder()._style()[1:] == (9, 1.5, 2.0, 2, 3)
    assert Pathfinder(size=8)._style()[1:] == (2, 1.25, 1.75, 0, 2)
    assert Pathfinder(size=128)._style()[1:] == (9, 6.0, 8.0, 2, 3)
    task = Pathfinder(size=40, dashes=5, dash=2.5, gap=3, distractors=4, distractor_dashes=2)
    assert task._style()[1:] == (5, 2.5, 3, 4, 2)
    drawn = scenes(task._style(), 2)
    assert drawn.targets.shape == (2, 2, 10, 2)
    assert drawn.distractors.shape == (2, 4, 4, 2)


@pytest.mark.parametrize("size", [8, 32, 128])
def test_batches_come_from_their_generator(size):
    task = Pathfinder(size=size, padding=3)
    x, classes = task.batch(4, generator(1))
    again, classes_again = task.batch(4, generator(1))
    other, _ = task.batch(4, generator(2))
    assert x.shape == (4, size * size + 3, task.input_size)
    assert torch.equal(x, again)
    assert torch.equal(classes, classes_again)
    assert not torch.equal(x, other)
    assert x.dtype == torch.float32
    assert classes.dtype == torch.int64
    assert (x[:, :-3].min(), x[:, :-3].max()) == (-0.5, 0.5)
    assert torch.equal(x[:, -3:], torch.zeros(4, 3, 1))
    assert (task.length, task.output_size) == (3, 2)
    assert not torch.equal(*task.batch(2, generator(1))[0])


def test_streams_are_fixed_whatever_the_batch_and_never_end():
    task = Pathfinder(size=16)
    whole, classes = read_whole(task, "test", 0, 6, 1500)
    part, part_classes = read_whole(task, "test", 2, 4, 1200)
    assert whole.shape == (6, 256 + 1500, 1)
    assert torch.equal(part, whole[2:4, :-300])
    assert torch.equal(part_classes, classes[2:4])
    assert torch.equal(whole[:, 256:], torch.zeros(6, 1500, 1))
    assert not torch.equal(read_whole(task, "validation", 0, 6, 0)[0], whole[:, :256])
    beyond, _ = read_whole(task, "test", task.split_size("test") + 100, task.split_size("test") + 102, 0)
    assert task.endless
    assert len(beyond) == 2


def test_pictures_are_the_same_on_every_machine():
    x, classes = read_whole(Pathfinder(), "test", 0, 8, 0)
    greys = ((x + 0.5) * 255).round().to(torch.uint8).numpy().tobytes()
    assert classes.tolist() == [0, 1, 0, 0, 0, 0, 1, 1]
    assert hashlib.sha256(greys).hexdigest() == "4c016ea03c3f5a05b38018651dc1bb1a075b4a994e076b5e2c54250eb059cc25"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Pathfinder(size=7), ValueError, "`size` must be at least 8, got 7"),
        (lambda: Pathfinder(size=129), ValueError, r"`size` must be in \[8, 128\], got 129"),
        (lambda: Pathfinder(size=16.0), TypeError, "`size` must be an int, got 16.0"),
        (lambda: Pathfinder(padding=-1), ValueError, "`padding` must be at least 0, got -1"),
        (
            lambda: Pathfinder(source="web"),
            ValueError,
            "`source` must be one of generated, long-range-arena, got 'web'",
        ),
        (
            lambda: Pathfinder(difficulty="hard"),
            ValueError,
            "`difficulty` must be one of curv_baseline, curv_contour_l",
        ),
        (lambda: Pathfinder(dashes=1), ValueError, "`dashes` must be at least 2, got 1"),
        (lambda: Pathfinder(dashes="9"), TypeError, "`dashes` must be an int, got '9'"),
        (lambda: Pathfinder(dash=0), ValueError, r"`dash` must be in \(0, 32\], got 0"),
        (lambda: Pathfinder(gap=0.5), ValueError, r"`gap` must be in \[1, 32\], got 0.5"),
        (lambda: Pathfinder(distractors=-1), ValueError, "`distractors` must be at least 0, got -1"),
        (lambda: Pathfinder(distractor_dashes=1), ValueError, "`distractor_dashes` must be at least 2, got 1"),
        (lambda: Pathfinder().stream("train", 0, 1, 5), ValueError, "`split` must be one of validation, test, got"),
        (lambda: Pathfinder().split_size("train"), ValueError, "`split` must be one of validation, test, got"),
        (lambda: Pathfinder().stream("test", 0, 1, -1), ValueError, "`length` must be at least 0, got -1"),
        (
            lambda: Pathfinder(size=8, dashes=9).batch(2, generator()),
            ValueError,
            "`dashes`, `dash`, `gap` and `distractors` must leave room for all curves in 8 x 8 pixels, got 9, 1.25",
        ),
    ],
)
def test_bad_options_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()
