"""Spoken digits: name the digit that a short recording says, at each of its frames."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from remanent._identity import UNCOUNTED
from remanent._options import check_at_least
from remanent.tasks.sounds.frames import SpeechSet
from remanent.tasks.sounds.speech import WORDS, SpeechTask, lay_out, load_speech


@dataclass(frozen=True)
class SpokenDigits(SpeechTask):
    r"""Spoken digits: S silent frames, then a clip of 13 MFCC a frame of 10 ms; each frame of it asks for the digit.

    A frame holds 25 ms (`remanent.tasks.sounds.mfcc` defines it completely); each coefficient is
    brought to mean 0 and standard deviation 1, over its clip or over all training clips. Silent frames,
    and those that fill up a batch's shorter clips, are zeros that ask for no answer. The metric is
    the accuracy of the majority vote over a clip's frames.

    Of the Free Spoken Digit Dataset's 3,000 recordings (8 kHz), numbers 0 to 4 of each digit and
    speaker are the test split (300, as in the official split), numbers 5 to 9 the validation split (300), and 2,400
    are for training. Google Speech Commands v0.02 (16 kHz) has official splits; its words "zero" to "nine" are the
    digits.

    Args:
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

    Source: Jackson et al. (2018), Free Spoken Digit Dataset; Warden (2018), arXiv 1804.03209.

    >>> task = SpokenDigits(silence=100)
    >>> task.length, task.input_size, task.output_size
    (100, 13, 10)
    """

    name = "spoken-digits"
    output_size = len(WORDS)
    """Ten digits."""
    class_names = WORDS
    """The words of the digits."""

    dataset: str = "digits"
    silence: int = 0
    data_dir: str | None = field(default=None, metadata=UNCOUNTED)
    check: bool = True
    standardise: str = "clip"

    def __post_init__(self) -> None:
        self._check_options()

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws different training clips: inputs (B, S + T, 13) and digits (B, S + T), T the longest clip."""
        check_at_least("batch_size", batch_size, 1)
        data = self._data
        if batch_size > len(data.train):
            raise ValueError(f"`batch_size` must be at most the {len(data.train)} training clips, got {batch_size}")
        drawn = data.train[torch.randperm(len(data.train), generator=generator)[:batch_size]]
        return lay_out(data, drawn, data.classes[drawn], self.silence)

    def _load(self) -> SpeechSet:
        return load_speech(self.dataset, self.data_dir, check=self.check, words=WORDS, standardise=self.standardise)
