"""Keyword: decide whether a short recording says a given word, at each of its frames."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from remanent._identity import UNCOUNTED
from remanent._options import check_at_least, check_choice
from remanent.tasks.sounds.frames import SpeechSet
from remanent.tasks.sounds.speech import WORDS, SpeechTask, lay_out, load_speech


@dataclass(frozen=True)
class Keyword(SpeechTask):
    r"""Keyword spotting: S silent frames, then a clip of 13 MFCC a frame of 10 ms; class 1 where it says the keyword.

    Clips, frames and splits are those of `SpokenDigits`, with all words of "speech-commands" and not
    only its digits. Half of the clips of a training batch say the keyword; validation and test keep all their clips,
    most of which do not say it.

    Args:
        keyword: the word to spot: "zero" to "nine" of "digits", or any word of "speech-commands".
        dataset: "digits" (the Free Spoken Digit Dataset) or "speech-commands".
        silence: S, the number of silent frames before the clip, at least 0.
        data_dir: the place of the data: for "digits" free-spoken-digit-dataset.zip, or a folder that holds it or
            recordings/; for "speech-commands" the folder that is or holds speech_commands_v0.02; None for the folder
            that the environment variable REMANENT_DATA names, or to fetch "digits".
        check: whether "digits" must be the recordings of release 1.0.10, byte for byte.
        standardise: "clip" brings each coefficient to mean 0 and standard deviation 1 over its clip; "set" over
            all training clips, by the constants `frame_statistics`, which a stream can use before its clip ends.

    Raises:
        TypeError: an option is of another type.
        ValueError: an option is not one of its choices or out of its range; or the data, when first read, is
            damaged or has another content.
        FileNotFoundError: the folder, when first read, does not hold the data.
        ConnectionError: the data cannot be fetched when first read.

    Source: Fyon (2026); Warden (2018), arXiv 1804.03209.

    >>> task = Keyword("three", silence=100)
    >>> task.length, task.input_size, task.output_size
    (100, 13, 2)
    """

    name = "keyword"
    output_size = 2
    """Two classes: another word, the keyword."""

    keyword: str = "seven"
    dataset: str = "digits"
    silence: int = 0
    data_dir: str | None = field(default=None, metadata=UNCOUNTED)
    check: bool = True
    standardise: str = "clip"

    def __post_init__(self) -> None:
        self._check_options()
        if self.dataset == "digits":
            check_choice("keyword", self.keyword, WORDS)
        elif not isinstance(self.keyword, str):
            raise TypeError(f"`keyword` must be a str, got {self.keyword!r}")

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws training clips, the first half (rounded down) with the keyword, the others without.

        Clips differ, unless a half has too few clips, which are then drawn with replacement.

        Returns:
            Inputs (B, S + T, 13) and classes (B, S + T), T the longest clip.
        """
        check_at_least("batch_size", batch_size, 1)
        data = self._data
        spoken = data.classes[data.train] == 1
        drawn = torch.cat(
            [
                _draw(data.train[spoken], batch_size // 2, generator),
                _draw(data.train[~spoken], batch_size - batch_size // 2, generator),
            ]
        )
        return lay_out(data, drawn, data.classes[drawn], self.silence)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Any other word, and the keyword."""
        return ("other", self.keyword)

    def _load(self) -> SpeechSet:
        """The clips; those of class 1 say the keyword."""
        data = load_speech(self.dataset, self.data_dir, check=self.check, words=None, standardise=self.standardise)
        check_choice("keyword", self.keyword, data.words)
        return data._replace(classes=(data.classes == data.words.index(self.keyword)).long())


def _draw(clips: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draws `count` of the clips, all different if there are enough."""
    if count > len(clips):
        return clips[torch.randint(len(clips), (count,), generator=generator)]
    return clips[torch.randperm(len(clips), generator=generator)[:count]]
