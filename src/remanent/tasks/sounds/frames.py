"""Frames of a speech data set: coefficients standardised over their clip, or over all training clips."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent.tasks.sounds.mfcc import LEAST_DEVIATION, standardise


class FrameStatistics(NamedTuple):
    """Each coefficient's mean and standard deviation over all frames of the training clips, float64 (13,)."""

    mean: Tensor
    deviation: Tensor


class Recordings(NamedTuple):
    """Clips with their words and splits.

    Attributes:
        words: the spoken words.
        classes: the number of the word of each clip, int64 (N,).
        train: the numbers of the training clips.
        validation: the numbers of the validation clips.
        test: the numbers of the test clips.
        fingerprint: the SHA-256 of the names and contents of the clips.
        coefficients: a function from the number of a clip to its coefficients, (T, 13).
    """

    words: tuple[str, ...]
    classes: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor
    fingerprint: str
    coefficients: Callable[[int], np.ndarray]


class SpeechSet(NamedTuple):
    """The spoken words, the number of each clip's word, the clips of each split, and their standardised frames.

    Attributes:
        words: the spoken words.
        classes: the number of the word of each clip, int64 (N,).
        train: the numbers of the training clips.
        validation: the numbers of the validation clips.
        test: the numbers of the test clips.
        fingerprint: the SHA-256 of the names and contents of the clips.
        frames: a function from the number of a clip to its frames, float32 (T, 13).
        statistics: a function that gives the statistics of the training clips.
    """

    words: tuple[str, ...]
    classes: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor
    fingerprint: str
    frames: Callable[[int], Tensor]
    statistics: Callable[[], FrameStatistics]


def by_clip(recordings: Recordings) -> SpeechSet:
    """Standardises each clip over its own frames, when it is first used."""

    @cache
    def frames(number: int) -> Tensor:
        return torch.from_numpy(standardise(recordings.coefficients(number))).float()

    return SpeechSet(*recordings[:-1], frames, by_set(recordings).statistics)


def by_set(recordings: Recordings) -> SpeechSet:
    """Standardises each clip over all training clips, which must all be read before the first frame is known."""

    @cache  # in float32: half the memory, and within 1e-5 of what was read
    def coefficients(number: int) -> np.ndarray:
        return recordings.coefficients(number).astype(np.float32)

    @cache
    def statistics() -> FrameStatistics:
        every = np.concatenate([coefficients(clip) for clip in recordings.train.tolist()])
        deviation = np.maximum(every.std(0, dtype=np.float64), LEAST_DEVIATION)
        return FrameStatistics(torch.from_numpy(every.mean(0, dtype=np.float64)), torch.from_numpy(deviation))

    def frames(number: int) -> Tensor:
        mean, deviation = statistics()
        return ((torch.from_numpy(coefficients(number)) - mean) / deviation).float()

    return SpeechSet(*recordings[:-1], frames, statistics)


STANDARDISED = {"clip": by_clip, "set": by_set}
"""The frames over which a coefficient gets mean 0 and standard deviation 1, to the function that standardises them."""
