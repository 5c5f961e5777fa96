"""Recordings in a folder or a zip, and the samples of one: 16-bit WAV files of one channel and a known rate."""

import io
import wave
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np


class FolderClips:
    """The WAV files of a folder, by name."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.names = sorted(path.name for path in place.glob("*.wav"))

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return (self.place / name).read_bytes()


class ZipClips:
    """The WAV files of a folder anywhere in a zip, by name.

    Args:
        place: the path of the zip.
        folder: the name of the folder in it.

    Raises:
        ValueError: the zip or a recording in it is damaged.
    """

    def __init__(self, place: Path, folder: str) -> None:
        self.place = place
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(place.read_bytes()))
        except zipfile.BadZipFile as error:
            raise ValueError(f"{place} must be a whole zip file ({error}), got {place.stat().st_size} bytes") from None
        members = [PurePosixPath(member) for member in self._zip.namelist()]
        self._members = {m.name: str(m) for m in members if m.suffix == ".wav" and m.parent.name == folder}
        self.names = sorted(self._members)

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        try:
            return self._zip.read(self._members[name])
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{self.place} must hold whole recordings, got a damaged {name} ({error})") from None


def read_samples(content: bytes, name: str, rate: int) -> np.ndarray:
    """The samples of a WAV file, (N,), float64 in [-1, 1).

    Args:
        content: the bytes of the file.
        name: the name of the file in errors.
        rate: the samples a second that it must have.

    Raises:
        ValueError: the file is not a whole WAV file of one channel of 16-bit samples at this rate.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, width, found_rate, size = file.getparams()[:4]
            data = file.readframes(size)
    except (wave.Error, EOFError) as error:
        reason = str(error) or "it ends early"
        raise ValueError(f"{name} must be a WAV file of 16-bit samples, got another ({reason})") from None
    if (channels, width, found_rate) != (1, 2, rate):
        rule = f"{name} must have 1 channel, 16 bits and {rate} samples a second"
        raise ValueError(f"{rule}, got {channels}, {8 * width} and {found_rate}")
    if size == 0 or len(data) != 2 * size:
        raise ValueError(f"{name} must hold its {size or 'first'} samples, got {len(data) // 2}")
    return np.frombuffer(data, "<i2") / 32768
