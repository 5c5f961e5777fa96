"""Speech tasks: the Free Spoken Digit Dataset and Google Speech Commands, and how their clips make up batches."""

import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from remanent.tasks.base import Stream, Task, blocks, check_split, derive_seed, largest_share
from remanent.tasks.fetching import data_folder, fetch
from remanent.tasks.metrics import IGNORED
from remanent.tasks.sounds.clips import FolderClips, ZipClips, read_samples
from remanent.tasks.sounds.frames import STANDARDISED, FrameStatistics, Recordings, SpeechSet
from remanent.tasks.sounds.mfcc import COEFFICIENTS, mfcc

DATASETS = ("digits", "speech-commands")
"""The choices of a speech task's `dataset`."""
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""The words of the digits."""

DIGITS_URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/"
DIGITS_ZIP = "free-spoken-digit-dataset.zip"
DIGITS_RATE = 8000
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
CONTENT = "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f"
"""SHA-256 of a line for each recording, sorted by name: the name, a space, the SHA-256 of its bytes."""

COMMANDS = "speech_commands_v0.02"
COMMANDS_RATE = 16_000


class SpeechTask(Task):
    """Clips after silence, with an answer at each of their frames, scored by the vote over them."""

    metric = "vote_accuracy"
    length_name = "silent frames"
    length_option = "silence"
    head = "every"
    extends = False
    input_size = COEFFICIENTS
    """The coefficients of a frame."""

    dataset: str
    silence: int
    standardise: str

    @property
    def frame_statistics(self) -> FrameStatistics:
        """Each coefficient's mean and standard deviation over the training clips, by which "set" standardises."""
        return self._data().statistics()

    @property
    def length(self) -> int:
        """The number of silent frames trained with."""
        return self.silence

    @property
    def chance(self) -> float:
        """The share of the most frequent class in the test split."""
        data = self._data()
        return largest_share(data.classes[data.test])

    def split_size(self, split: str) -> int:
        """The number of clips in the split."""
        check_split(split)
        return len(getattr(self._data(), split))

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Gives the silent frames in blocks, then the clips in one piece."""
        check_split(split)
        sizes = list(blocks(length, least=0))
        data = self._data()
        return _after_silence(data, getattr(data, split)[start:stop], sizes)

    @abstractmethod
    def _data(self) -> SpeechSet:
        """The clips, with the classes that the task asks for."""


def load_speech(
    dataset: str, data_dir: str | None, *, check: bool, words: tuple[str, ...] | None, standardise: str
) -> SpeechSet:
    """One of `DATASETS` from `data_dir`, else from the folder that REMANENT_DATA names; else "digits" are fetched.

    Args:
        dataset: the name of the data set.
        data_dir: the place of the data.
        check: whether "digits" must be the recordings of release 1.0.10.
        words: the words of "speech-commands" that are used; None for all.
        standardise: the frames over which coefficients are standardised, one of `STANDARDISED`.
    """
    folder = data_folder(data_dir)
    return _load(dataset, folder, check, None if dataset == "digits" else words, standardise)


def lay_out(data: SpeechSet, clips: Tensor, classes: Tensor, silence: int) -> tuple[Tensor, Tensor]:
    """A batch of silent frames, then the clips, then zeros after the shorter ones; a clip's frames ask for its class.

    Args:
        data: the data set of the clips.
        clips: the numbers of the clips, (B,).
        classes: the class of each clip, (B,).
        silence: S, the number of frames of zeros before the clips.

    Returns:
        Inputs (B, S + T, 13) and targets (B, S + T), T the longest clip.
    """
    frames = [data.frames(clip) for clip in clips.tolist()]
    x = pad_sequence(frames, batch_first=True)
    inside = torch.arange(x.shape[1]) < torch.tensor([len(clip) for clip in frames])[:, None]
    target = torch.where(inside, classes[:, None], IGNORED)
    return F.pad(x, (0, 0, silence, 0)), F.pad(target, (silence, 0), value=IGNORED)


def _after_silence(data: SpeechSet, clips: Tensor, sizes: list[int]) -> Stream:
    for size in sizes:
        yield torch.zeros(len(clips), size, COEFFICIENTS), torch.full((len(clips), size), IGNORED)
    yield lay_out(data, clips, data.classes[clips], 0)


@cache
def _load(dataset: str, folder: str | None, check: bool, words: tuple[str, ...] | None, standardise: str) -> SpeechSet:
    recordings = _load_digits(folder, check) if dataset == "digits" else _load_commands(folder, words)
    return STANDARDISED[standardise](recordings)


@cache
def _load_digits(folder: str | None, check: bool) -> Recordings:
    """Recordings 0 to 4 of each digit and speaker are for test, 5 to 9 for validation, the others for training."""
    clips = find_digits(folder)
    contents = {name: clips.read(name) for name in clips.names}
    if check or not contents:
        _check_digits(clips.place, contents)
    recordings = sorted((_parse(clips.place, name)[::-1], name) for name in contents)
    read = [_coefficients(contents[name], f"{clips.place}: {name}", DIGITS_RATE) for _, name in recordings]
    place = torch.tensor([min(index // 5, 2) for (index, _, _), _ in recordings])
    test, validation, train = ((place == split).nonzero()[:, 0] for split in range(3))
    classes = torch.tensor([digit for (_, _, digit), _ in recordings])
    return Recordings(WORDS, classes, train, validation, test, read.__getitem__)


def find_digits(folder: str | None) -> ZipClips | FolderClips:
    """The recordings in a zip or a folder of the user, else fetched."""
    holding = f"{DIGITS_ZIP} or recordings/"
    if folder is None:
        return ZipClips(fetch("the spoken digits", DIGITS_URL, "v1.0.10.zip", None, holding), "recordings")
    root = Path(folder)
    if root.is_file():
        return ZipClips(root, "recordings")
    if (root / DIGITS_ZIP).is_file():
        return ZipClips(root / DIGITS_ZIP, "recordings")
    for place in (root / "recordings", *sorted(root.glob("*/recordings"))):
        if place.is_dir():
            return FolderClips(place)
    raise FileNotFoundError(
        f"`data_dir` or REMANENT_DATA must hold {holding} (also one folder deeper), or be such a zip, got {folder}"
    )


def _check_digits(place: Path, contents: dict[str, bytes]) -> None:
    """Raises unless these are the 3,000 recordings of release 1.0.10, byte for byte."""
    expected = {f"{d}_{speaker}_{i}.wav" for d in range(10) for speaker in SPEAKERS for i in range(50)}
    rule = f"{place} must hold the 3000 recordings of the Free Spoken Digit Dataset 1.0.10 (check=False takes others)"
    for what, names in (("without", expected - contents.keys()), ("with the unknown", contents.keys() - expected)):
        if names:
            raise ValueError(f"{rule}, got {len(contents)}, {what} {min(names)}")
    lines = (f"{name} {hashlib.sha256(contents[name]).hexdigest()}\n" for name in sorted(contents))
    found = hashlib.sha256("".join(lines).encode()).hexdigest()
    if found != CONTENT:
        for name in sorted(contents):
            read_samples(
                contents[name], f"{place}: {name}", DIGITS_RATE
            )  # names the recording where it is no whole WAV file
        raise ValueError(f"{rule}, with SHA-256 {CONTENT} over them all, got {found}")


def _parse(place: Path, name: str) -> tuple[int, str, int]:
    """The digit, the speaker and the index in the name of a recording."""
    parts = re.fullmatch(r"([0-9])_([^_]+)_([0-9]+)\.wav", name)
    if parts is None:
        raise ValueError(f"{place} must hold recordings named {{digit}}_{{speaker}}_{{index}}.wav, got {name}")
    return int(parts[1]), parts[2], int(parts[3])


def _coefficients(content: bytes, name: str, rate: int) -> np.ndarray:
    return mfcc(read_samples(content, name, rate), rate)


@cache
def _load_commands(folder: str | None, words: tuple[str, ...] | None) -> Recordings:
    """The official splits in a fixed mixed order; a clip is read when it is first used."""
    root = _find_commands(folder)
    words = words or tuple(sorted(f.name for f in root.iterdir() if f.is_dir() and not f.name.startswith(("_", "."))))
    for word in words:
        if not (root / word).is_dir():
            raise FileNotFoundError(f"{root} must hold a folder of clips for each word, got none for {word!r}")
    lists = {split: set(_listed(root, split, words)) for split in ("validation", "testing")}
    clips = [f"{word}/{path.name}" for word in words for path in (root / word).glob("*.wav")]
    for split, names in lists.items():
        if missing := names.difference(clips):
            raise FileNotFoundError(f"{root} must hold the clips in {split}_list.txt, got none named {min(missing)}")
    clips.sort(key=lambda clip: derive_seed("speech-commands", clip))
    place = torch.tensor([(clip in lists["validation"]) + 2 * (clip in lists["testing"]) for clip in clips])
    classes = torch.tensor([words.index(clip.split("/")[0]) for clip in clips])

    def coefficients(number: int) -> np.ndarray:
        path = root / clips[number]
        return _coefficients(path.read_bytes(), str(path), COMMANDS_RATE)

    train, validation, test = ((place == split).nonzero()[:, 0] for split in range(3))
    return Recordings(words, classes, train, validation, test, coefficients)


def _find_commands(folder: str | None) -> Path:
    rule = f"`data_dir` must be or hold the folder {COMMANDS} of Google Speech Commands, which is not fetched (2.3 GB)"
    if folder is None:
        raise FileNotFoundError(f"{rule}; REMANENT_DATA may name it, got neither")
    for root in (Path(folder) / COMMANDS, Path(folder)):
        if all((root / f"{split}_list.txt").is_file() for split in ("validation", "testing")):
            return root
    raise FileNotFoundError(f"{rule}, with validation_list.txt and testing_list.txt, got {folder}")


def _listed(root: Path, split: str, words: tuple[str, ...]) -> Iterator[str]:
    """The clips of these words in the list of a split."""
    for line in (root / f"{split}_list.txt").read_text().splitlines():
        if line.split("/")[0] in words:
            yield line
