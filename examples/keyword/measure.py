"""Joins the test clips of the Free Spoken Digit Dataset by pauses, and counts what a program hears in them."""

import argparse
import os
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np

from remanent.tasks import Keyword
from remanent.tasks.sounds.clips import read_samples
from remanent.tasks.sounds.speech import DIGITS_RATE, WORDS, find_digits
from remanent.training.folder import read_experiment

PAUSE = 0.5
"""Seconds of silence before and after each clip."""
LINE = re.compile(r"(\d+\.\d+) s - (\d+\.\d+) s  (\w+)  ")


class Clip(NamedTuple):
    """What is said, from when to when, in seconds."""

    word: str
    begin: float
    end: float


def main() -> int:
    """Counts, for all clips together, and leaves the sound as a WAV file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of the training run")
    parser.add_argument("spot", type=Path, help="the program built from it")
    parser.add_argument("sound", type=Path, help="the WAV file to write, of all clips")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="which clips")
    parser.add_argument("--noise", type=float, help="white noise over all, in decibels of full scale, such as -60")
    parser.add_argument("--threshold", default="-55", help="from where on the program takes a sound for speech")
    options = parser.parse_args()
    task = read_experiment(options.run).task
    folder = getattr(task, "data_dir", None) or os.environ.get("REMANENT_DATA")
    clips = write_joined(options.sound, folder, options.split, noise=options.noise)
    command = [options.spot.resolve(), "--threshold", options.threshold, options.sound]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    heard = [Clip(word, float(begin), float(end)) for begin, end, word in LINE.findall(done.stdout)]
    for line in counts(clips, heard, task.keyword if isinstance(task, Keyword) else None):
        print(line)
    return 0


def write_joined(path: Path, folder: str | None, split: str, *, noise: float | None = None) -> list[Clip]:
    """Writes the clips of a split with pauses between them.

    Args:
        path: the WAV file.
        folder: where the data set is, as tasks read it.
        split: recordings 0 to 4 of each digit and speaker are "test", those of 5 to 9 "validation".
        noise: the level of white noise over the whole sound, in decibels of full scale; none if None.

    Returns:
        What is said when.
    """
    recordings = find_digits(folder)
    indices = range(5) if split == "test" else range(5, 10)
    spoken = sorted({name.rsplit("_", 1)[0] for name in recordings.names}, key=_speaker)
    names = [f"{name}_{index}.wav" for name in spoken for index in indices]
    silence = np.zeros(round(PAUSE * DIGITS_RATE))
    parts, clips, time = [silence], [], PAUSE
    for name in names:
        samples = read_samples(recordings.read(name), name, DIGITS_RATE)
        length = len(samples) / DIGITS_RATE
        clips.append(Clip(WORDS[int(name[0])], time, time + length))
        parts += [samples, silence]
        time += length + PAUSE
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, DIGITS_RATE, 0, "NONE", ""))
        file.writeframes((_noisy(np.concatenate(parts), noise) * 32768).astype("<i2").tobytes())
    return clips


def counts(clips: list[Clip], heard: list[Clip], keyword: str | None) -> list[str]:
    """What is to be said: of ten digits the share that is named right, of a keyword also what was taken for it."""
    words = [[h.word for h in heard if h.begin < clip.end and h.end > clip.begin] for clip in clips]
    if keyword is None:
        right = sum(found == [clip.word] for clip, found in zip(clips, words, strict=True))
        once = sum(len(found) == 1 for found in words)
        return [
            f"{len(clips)} clips, {once} of them heard as one utterance, {len(heard)} utterances in all",
            f"{right} of {len(clips)} named right ({right / len(clips):.1%})",
        ]
    said = [found for clip, found in zip(clips, words, strict=True) if clip.word == keyword]
    others = [found for clip, found in zip(clips, words, strict=True) if clip.word != keyword]
    return [
        f"{sum(map(bool, said))} of {len(said)} clips of {keyword!r} found",
        f"{sum(map(bool, others))} of {len(others)} other clips taken for it",
    ]


def _noisy(sound: np.ndarray, noise: float | None) -> np.ndarray:
    if noise is None:
        return sound
    white = np.random.default_rng(0).normal(0, 10 ** (noise / 20), len(sound))
    return np.clip(sound + white, -1, 32767 / 32768)


def _speaker(name: str) -> tuple[str, str]:
    """Sorts by speaker, then by digit."""
    digit, speaker = name.split("_")
    return speaker, digit


if __name__ == "__main__":
    sys.exit(main())
