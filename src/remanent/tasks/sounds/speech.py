"""Speech tasks: the Free Spoken Digit Dataset and Google Speech Commands, and how their clips make up batches."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from remanent._options import check_at_least, check_bool, check_choice, check_text
from remanent.tasks.base import StoredTask, Stream, check_examples, check_split, check_stop
from remanent.tasks.chunks import blocks
from remanent.tasks.fetching import data_folder, fetch
from remanent.tasks.metrics import IGNORED, largest_share
from remanent.tasks.sounds.clips import FolderClips, ZipClips, is_recording, read_recording, read_samples
from remanent.tasks.sounds.commands import COMMANDS_RATE, Commands, check_clips, find_commands
from remanent.tasks.sounds.frames import STANDARDISED, FrameStatistics, Recordings, SpeechSet
from remanent.tasks.sounds.mfcc import COEFFICIENTS, mfcc
from remanent.tasks.versions import version_of

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


class SpeechTask(StoredTask[SpeechSet]):
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
    data_dir: str | None
    check: bool
    standardise: str

    def _check_options(self) -> None:
        check_choice("dataset", self.dataset, DATASETS)
        check_at_least("silence", self.silence, 0)
        check_text("data_dir", self.data_dir)
        check_bool("check", self.check)
        check_choice("standardise", self.standardise, STANDARDISED)

    @property
    def frame_statistics(self) -> FrameStatistics:
        """Each coefficient's mean and standard deviation over the training clips, by which "set" standardises."""
        return self._data.statistics()

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the clips and their names; "" where they are known."""
        return "" if self.dataset == "digits" and self.check else self._data.fingerprint

    @property
    def length(self) -> int:
        """The number of silent frames trained with."""
        return self.silence

    @property
    def chance(self) -> float:
        """The share of the most frequent class in the test split."""
        return largest_share(self._data.classes[self._data.test])

    def split_size(self, split: str) -> int:
        """The number of clips in the split."""
        check_split(split)
        return len(getattr(self._data, split))

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Gives the silent frames in blocks, then the clips in one piece."""
        check_examples(split, start, stop)
        sizes = list(blocks(length, least=0))
        check_stop(split, stop, self.split_size(split), "clips")
        return _after_silence(self._data, getattr(self._data, split)[start:stop], sizes)


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
    if dataset == "digits":
        place = _find_place(folder)
        return _standardised_digits(str(place.absolute()), _version_of(place), check, standardise)
    return _standardised_commands(find_commands(folder, words), standardise)


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


@lru_cache(maxsize=8)
def _standardised_digits(place: str, version: str, check: bool, standardise: str) -> SpeechSet:
    return STANDARDISED[standardise](_load_digits(place, version, check))


@lru_cache(maxsize=4)
def _load_digits(place: str, version: str, check: bool) -> Recordings:
    """Recordings 0 to 4 of each digit and speaker are for test, 5 to 9 for validation, the others for training."""
    clips = _open(Path(place))
    contents = {name: clips.read(name) for name in clips.names}
    if check or not contents:
        _check_digits(clips.place, contents)
    recordings = sorted((_parse(clips.place, name)[::-1], name) for name in contents)
    read = [_coefficients(contents[name], f"{clips.place}: {name}", DIGITS_RATE) for _, name in recordings]
    split = torch.tensor([min(index // 5, 2) for (index, _, _), _ in recordings])
    test, validation, train = ((split == number).nonzero()[:, 0] for number in range(3))
    for numbers, found in (("0 to 4", test), ("5 to 9", validation), ("from 10 on", train)):
        if len(found) == 0:
            raise ValueError(f"{clips.place} must hold recordings of every split, got none numbered {numbers}")
    classes = torch.tensor([digit for (_, _, digit), _ in recordings])
    return Recordings(WORDS, classes, train, validation, test, _content(contents), read.__getitem__)


def find_digits(folder: str | None) -> ZipClips | FolderClips:
    """The recordings in a zip or a folder of the user, else fetched."""
    return _open(_find_place(folder))


def _find_place(folder: str | None) -> Path:
    """The zip or the folder that holds the recordings."""
    holding = f"{DIGITS_ZIP} or recordings/"
    if folder is None:
        return fetch("the spoken digits", DIGITS_URL, "v1.0.10.zip", None, holding)
    root = Path(folder)
    if root.is_file():
        return root
    if (root / DIGITS_ZIP).is_file():
        return root / DIGITS_ZIP
    deeper = sorted(place for place in root.glob("*/recordings") if not place.parent.name.startswith((".", "__MACOSX")))
    for place in (root / "recordings", *deeper):
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"`data_dir` or REMANENT_DATA must hold {holding} (also one folder deeper), or be such a zip, got {folder}"
    )


def _open(place: Path) -> ZipClips | FolderClips:
    return FolderClips(place) if place.is_dir() else ZipClips(place, "recordings")


def _version_of(place: Path) -> str:
    files = sorted(path for path in place.iterdir() if is_recording(path.name)) if place.is_dir() else [place]
    return version_of(files)


def _check_digits(place: Path, contents: dict[str, bytes]) -> None:
    """Raises unless these are the 3,000 recordings of release 1.0.10, byte for byte."""
    expected = {f"{d}_{speaker}_{i}.wav" for d in range(10) for speaker in SPEAKERS for i in range(50)}
    rule = f"{place} must hold the 3000 recordings of the Free Spoken Digit Dataset 1.0.10 (check=False takes others)"
    for what, names in (("without", expected - contents.keys()), ("with the unknown", contents.keys() - expected)):
        if names:
            raise ValueError(f"{rule}, got {len(contents)}, {what} {min(names)}")
    found = _content(contents)
    if found != CONTENT:
        for name in sorted(contents):
            read_samples(
                contents[name], f"{place}: {name}", DIGITS_RATE
            )  # names the recording where it is no whole WAV file
        raise ValueError(f"{rule}, with SHA-256 {CONTENT} over them all, got {found}")


def _content(contents: dict[str, bytes]) -> str:
    """The hash that `CONTENT` describes."""
    lines = (f"{name} {hashlib.sha256(contents[name]).hexdigest()}\n" for name in sorted(contents))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _parse(place: Path, name: str) -> tuple[int, str, int]:
    """The digit, the speaker and the index in the name of a recording."""
    parts = re.fullmatch(r"([0-9])_([^_]+)_([0-9]+)\.wav", name)
    if parts is None:
        raise ValueError(f"{place} must hold recordings named {{digit}}_{{speaker}}_{{index}}.wav, got {name}")
    return int(parts[1]), parts[2], int(parts[3])


def _coefficients(content: bytes, name: str, rate: int) -> np.ndarray:
    return mfcc(read_samples(content, name, rate), rate)


@lru_cache(maxsize=8)
def _standardised_commands(commands: Commands, standardise: str) -> SpeechSet:
    return STANDARDISED[standardise](_load_commands(commands))


@lru_cache(maxsize=4)
def _load_commands(commands: Commands) -> Recordings:
    """The official splits; every clip is checked now, and its coefficients are computed when it is first used."""
    fingerprint = check_clips(commands)
    words, clips = commands.words, commands.clips
    splits = torch.tensor(commands.splits)
    classes = torch.tensor([words.index(clip.split("/")[0]) for clip in clips])

    def coefficients(number: int) -> np.ndarray:
        path = Path(commands.root, clips[number])
        return _coefficients(read_recording(path), str(path), COMMANDS_RATE)

    train, validation, test = ((splits == number).nonzero()[:, 0] for number in range(3))
    return Recordings(words, classes, train, validation, test, fingerprint, coefficients)
