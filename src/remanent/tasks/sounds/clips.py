"""Recordings in a folder or a zip, and the samples of one: 16-bit WAV files of one channel and a known rate."""

import io
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

MOST_BYTES = 2**21
"""The largest size of a recording, which is a minute at 16 kHz."""
MOST_IN_ALL = 2**29
"""The largest size of a zip, packed or unpacked: twenty times the Free Spoken Digit Dataset."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The methods of compression that are read: of these, no more is unpacked at a time than is asked for."""
OTHER_METHODS = {1: "shrink", 6: "implode", 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz", 98: "ppmd"}
"""The names of other methods, by their numbers in a zip."""
PCM, EXTENSIBLE = 1, 0xFFFE
"""The formats of whole numbers in a WAV file; the second has its number in a longer field, `_GUID`."""
_GUID = struct.pack("<H", PCM) + bytes.fromhex("000000001000800000aa00389b71")


def is_recording(name: str) -> bool:
    """Whether a file is a recording by its name: `._a.wav` is what macOS keeps beside a file `a.wav`.

    >>> is_recording("a.wav"), is_recording("._a.wav"), is_recording("a.txt")
    (True, False, False)
    """
    return name.endswith(".wav") and not name.startswith(".")


def read_recording(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        ValueError: it is larger than a recording can be.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{path} must have at most {MOST_BYTES} bytes, got {size}")
    return path.read_bytes()


class FolderClips:
    """The WAV files of a folder, by name."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.names = sorted(path.name for path in place.iterdir() if is_recording(path.name))

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            ValueError: it is larger than a recording can be.
        """
        return read_recording(self.place / name)


class ZipClips:
    """The WAV files of a folder anywhere in a zip, by name.

    Args:
        place: the path of the zip.
        folder: the name of the folder in it.

    Raises:
        ValueError: the zip is damaged or too large, or a recording in it is encrypted, packed by another method than
            `METHODS`, too large, or there twice.
    """

    def __init__(self, place: Path, folder: str) -> None:
        self.place = place
        size = place.stat().st_size
        if size > MOST_IN_ALL:
            raise ValueError(f"{place} must have at most {MOST_IN_ALL} bytes, got {size}")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(place.read_bytes()))
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, struct.error, OSError) as error:
            raise ValueError(f"{place} must be a whole zip file ({error}), got {size} bytes") from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            path = PurePosixPath(member.filename)
            if is_recording(path.name) and path.parent.name == folder and "__MACOSX" not in path.parts:
                self._check(member, self._members.get(path.name))
                self._members[path.name] = member
        total = sum(member.file_size for member in self._members.values())
        if total > MOST_IN_ALL:
            raise ValueError(f"{place} must hold at most {MOST_IN_ALL} bytes of recordings, got {total}")
        self.names = sorted(self._members)

    def _check(self, member: zipfile.ZipInfo, same: zipfile.ZipInfo | None) -> None:
        """Raises unless a recording can be read as it is described; `same` is an earlier one of its name."""
        found = None
        if member.flag_bits & 1:
            found = "one that is encrypted"
        elif member.compress_type not in METHODS:
            found = f"one packed by {OTHER_METHODS.get(member.compress_type, f'method {member.compress_type}')}"
        elif member.file_size > MOST_BYTES:
            found = f"one of {member.file_size} bytes, above {MOST_BYTES}"
        elif same is not None:
            found = f"also {same.filename}, of the same name"
        if found:
            rule = f"{self.place} must hold recordings that are plain or packed by deflate"
            raise ValueError(f"{rule}, got for {member.filename} {found}")

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            ValueError: it is damaged.
        """
        try:
            with self._zip.open(self._members[name]) as file:
                return file.read(MOST_BYTES + 1)  # one more, so that the end is reached and the checksum compared
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, struct.error, OSError, ValueError) as error:
            raise ValueError(f"{self.place} must hold whole recordings, got a damaged {name} ({error})") from None


class Wav(NamedTuple):
    """The form of a WAV file, and where its samples are.

    Attributes:
        channels: the number of channels.
        bits: the bits of a sample.
        rate: the samples a second.
        begin: the byte at which the samples begin.
        size: the number of bytes that they should have.
    """

    channels: int
    bits: int
    rate: int
    begin: int
    size: int


def read_samples(content: bytes, name: str, rate: int) -> np.ndarray:
    """The samples of a WAV file, (N,), float64 in [-1, 1).

    Args:
        content: the bytes of the file.
        name: the name of the file in errors.
        rate: the samples a second that it must have.

    Raises:
        ValueError: the file is not a whole WAV file of one channel of 16-bit samples at this rate.
    """
    return np.frombuffer(find_samples(content, name, rate), "<i2") / 32768


def find_samples(content: bytes, name: str, rate: int) -> memoryview:
    """The bytes of a WAV file's samples; arguments and errors are those of `read_samples`."""
    wav = _parse(content, name)
    if (wav.channels, wav.bits, wav.rate) != (1, 16, rate):
        rule = f"{name} must have 1 channel, 16 bits and {rate} samples a second"
        raise ValueError(f"{rule}, got {wav.channels}, {wav.bits} and {wav.rate}")
    count = wav.size // 2
    data = memoryview(content)[wav.begin : wav.begin + 2 * count]
    if count == 0 or len(data) != 2 * count:
        raise ValueError(f"{name} must hold its {count or 'first'} samples, got {len(data) // 2}")
    return data


def _parse(content: bytes, name: str) -> Wav:
    """Follows the chunks of a RIFF file up to its samples; a chunk is four letters, a size, and so many bytes."""

    def refuse(reason: str) -> ValueError:
        return ValueError(f"{name} must be a WAV file of 16-bit samples, got another ({reason})")

    if len(content) >= 12 and (content[:4], content[8:12]) != (b"RIFF", b"WAVE"):
        raise refuse(f"it begins with {content[:4]!r} and {content[8:12]!r}, not with RIFF and WAVE")
    begin, form = 12, None
    while begin + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, begin)
        begin += 8
        if kind == b"data" and form is not None:
            return Wav(*form, begin, size)
        if begin + size > len(content):
            raise refuse(f"its chunk {kind!r} should have {size} bytes, and {len(content) - begin} are left")
        if kind == b"fmt ":
            if size < 16:
                raise refuse(f"its chunk {kind!r} has {size} bytes")
            number, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", content, begin)
            if number != PCM and not (number == EXTENSIBLE and content[begin + 24 : begin + 40] == _GUID):
                raise refuse(f"unknown format: {number}")
            form = channels, bits, rate
        begin += size + size % 2
    raise refuse("it ends early")
