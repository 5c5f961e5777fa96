"""Pathfinder: read a picture of dashed curves pixel by pixel, then decide whether its two dots are joined."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from remanent._identity import UNCOUNTED
from remanent._options import check_at_least, check_choice, check_range, check_text
from remanent.tasks.base import (
    StoredTask,
    Stream,
    check_examples,
    check_split,
    check_stop,
    example_generators,
)
from remanent.tasks.chunks import blocks, then_empty
from remanent.tasks.images.long_range_arena import DIFFICULTIES, PathfinderFiles, load_pathfinder, read_pictures
from remanent.tasks.images.scenes import Style, draw_images, draw_scenes
from remanent.tasks.metrics import largest_share

SOURCES = ("generated", "long-range-arena")


@dataclass(frozen=True)
class Pathfinder(StoredTask[PathfinderFiles]):
    r"""Pathfinder: size x size grey pixels, row by row, then K steps of zeros; are the dots joined by a dashed curve?

    Generated pictures hold two long dashed curves and a few short ones, none of which touch, and a brighter
    dot on two ends of the long ones: of one curve (class 1) or one of each (class 0, as often, and with
    the dots as far apart). Pixels are scaled to [-0.5, 0.5]. The metric is the accuracy.

    The options that are None by default follow the size. For 32 pixels they are 9 dashes of 1.5 pixels,
    gaps of 2, and 2 short curves of 3 dashes; smaller pictures have fewer and shorter dashes, larger
    ones longer and broader ones.

    Args:
        size: the pixels of a side, 8 to 128.
        padding: K, the number of empty steps after the picture, at least 0.
        source: "generated" for pictures that are drawn when needed, or "long-range-arena" for the files of that
            benchmark.
        dashes: in generated pictures, the number of dashes of a long curve, at least 2; None to follow the size.
        dash: in generated pictures, the length of a dash in pixels, above 0; None to follow the size.
        gap: in generated pictures, the length of a gap in pixels, at least 1; curves keep a distance of 1.75 gaps.
            None to follow the size.
        distractors: in generated pictures, the number of short curves, at least 0; None to follow the size.
        distractor_dashes: in generated pictures, the number of dashes of a short curve, at least 2; None to follow
            the size.
        difficulty: the folder of the benchmark's files, "curv_baseline", "curv_contour_length_9" or
            "curv_contour_length_14".
        data_dir: a folder with the benchmark's files; None for the folder that the environment variable
            REMANENT_DATA names.

    Raises:
        TypeError: an option is of another type.
        ValueError: an option is not among its choices or out of its range; or a file, when first read, is damaged.
        FileNotFoundError: the folder, when first read, does not hold the files.

    Source: Linsley, Kim, Veerabadran, Windolf, Serre (2018), arXiv 1805.08315; Tay et al. (2020), Long
    Range Arena, arXiv 2011.04006.

    >>> x, y = Pathfinder(size=16, padding=10).batch(2, torch.Generator().manual_seed(0))
    >>> x.shape, y.shape
    (torch.Size([2, 266, 1]), torch.Size([2]))
    """

    name = "pathfinder"
    metric = "accuracy"
    length_name = "empty steps"
    length_option = "padding"
    endless = True
    input_size = 1
    """One pixel a step."""
    output_size = 2
    """Two classes: not joined, joined."""

    size: int = 32
    padding: int = 0
    source: str = "generated"
    dashes: int | None = None
    dash: float | None = None
    gap: float | None = None
    distractors: int | None = None
    distractor_dashes: int | None = None
    difficulty: str = "curv_contour_length_14"
    data_dir: str | None = field(default=None, metadata=UNCOUNTED)

    def __post_init__(self) -> None:
        check_at_least("size", self.size, 8)
        check_range("size", self.size, 8, 128)
        check_at_least("padding", self.padding, 0)
        check_choice("source", self.source, SOURCES)
        check_choice("difficulty", self.difficulty, DIFFICULTIES)
        for name, least in (("dashes", 2), ("distractors", 0), ("distractor_dashes", 2)):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), least)
        if self.dash is not None:
            check_range("dash", self.dash, 0, self.size, open_low=True)
        if self.gap is not None:
            check_range("gap", self.gap, 1, self.size)
        check_text("data_dir", self.data_dir)

    @property
    def length(self) -> int:
        """The number of empty steps trained with."""
        return self.padding

    @property
    def chance(self) -> float:
        """A half; where pictures are files, the share of the most frequent class in the test split."""
        if self.source == "generated":
            return 0.5
        return largest_share(self._data.classes[self._data.test])

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the images and classes where they are files; else ""."""
        return "" if self.source == "generated" else self._data.fingerprint

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws inputs (B, size * size + K, 1) and classes (B,); pictures from files all differ."""
        check_at_least("batch_size", batch_size, 1)
        if self.source == "generated":
            seeds = torch.randint(2**62, (batch_size,), generator=generator).tolist()
            x, classes = self._draw([torch.Generator().manual_seed(seed) for seed in seeds])
        else:
            train = self._data.train
            if batch_size > len(train):
                raise ValueError(f"`batch_size` must be at most the {len(train)} training images, got {batch_size}")
            x, classes = self._read(train[torch.randperm(len(train), generator=generator)[:batch_size]])
        return torch.cat([x, x.new_zeros(batch_size, self.padding, 1)], dim=1), classes

    def split_size(self, split: str) -> int:
        """512 pictures in each split; a tenth of them where they are files."""
        check_split(split)
        return 512 if self.source == "generated" else len(getattr(self._data, split))

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Gives the picture in one piece, then the empty steps in blocks; the class comes last."""
        check_examples(split, start, stop)
        sizes = list(blocks(length, least=0))
        if self.source == "generated":
            x, classes = self._draw(example_generators(self, split, start, stop))
        else:
            check_stop(split, stop, self.split_size(split), "images")
            chosen: Tensor = getattr(self._data, split)
            x, classes = self._read(chosen[start:stop])
        return then_empty(x, sizes, classes)

    def _style(self) -> Style:
        """The style of the pictures: the options, or their values for the size."""
        fine = self.size < 24
        width = max(1.0, self.size / 32)
        dashes = min(9, (9 * self.size + 16) // 32) if self.dashes is None else self.dashes
        short = max(2, dashes // 3) if self.distractor_dashes is None else self.distractor_dashes
        return Style(
            size=self.size,
            dashes=dashes,
            dash=(1.25 if fine else 1.5 * width) if self.dash is None else self.dash,
            gap=(1.75 if fine else 2 * width) if self.gap is None else self.gap,
            distractors=min(2, (self.size + 4) // 16) if self.distractors is None else self.distractors,
            distractor_dashes=short,
        )

    def _draw(self, generators: list[torch.Generator]) -> tuple[Tensor, Tensor]:
        style = self._style()
        scenes = draw_scenes(generators, style)
        return draw_images(scenes, style).reshape(len(generators), -1, 1), torch.from_numpy(scenes.joined).long()

    def _load(self) -> PathfinderFiles:
        return load_pathfinder(self.data_dir, self.size, self.difficulty)

    def _read(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        files = self._data
        pictures = read_pictures([files.paths[i] for i in chosen.tolist()], self.size)
        return pictures.reshape(len(chosen), -1, 1), files.classes[chosen]
