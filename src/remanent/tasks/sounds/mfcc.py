r"""The features of speech: mel-frequency cepstral coefficients of short frames, by a definition that can stream.

At a rate of $r$ samples a second, in $[-1, 1)$:

- Frame $t$ holds the $L = r / 40$ samples (25 ms) from sample $t\,r / 100$ (10 ms) on; none reaches beyond
  the end, so a clip of N samples has $1 + \lfloor (N - L) / (r / 100) \rfloor$. A clip shorter than one
  frame is padded with zeros to one.
- It is weighted by the periodic Hann window $w_n = (1 - \cos(2 \pi n / L)) / 2$ and filled up with zeros
  to F, the least power of two that holds it (256 at 8 kHz, 512 at 16 kHz).
- Its power at bin $k = 0 \dots F / 2$ is $|\sum_n w_n x_n e^{-2 \pi i k n / F}|^2$, without a factor.
- 26 triangular filters weigh the bins. With $m(f) = 2595 \log_{10}(1 + f / 700)$, their 28 corners
  lie evenly in m from 0 to $m(r / 2)$; filter j rises from 0 at corner j to 1 at corner j + 1, and falls to 0
  at corner j + 2, linearly in hertz.
- The natural logarithm of their sums, which are raised to $10^{-10}$ where they lie below, goes through the
  orthonormal discrete cosine transform of type II; the first 13 coefficients are the frame.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

COEFFICIENTS = 13
"""The number of coefficients of a frame."""
FILTERS = 26
"""The number of filters on the mel scale."""
FLOOR = 1e-10
"""The least power of a filter, to which a lower one is raised before the logarithm."""
LEAST_DEVIATION = 1e-5
"""The least standard deviation by which a coefficient is divided."""


class Tables(NamedTuple):
    """The constants of a rate: the window (L,), the filters (26, F / 2 + 1) and the cosines (13, 26)."""

    window: np.ndarray
    filters: np.ndarray
    cosines: np.ndarray

    @property
    def fft_size(self) -> int:
        """F, the number of samples that are transformed."""
        return 2 * (self.filters.shape[1] - 1)


@cache
def tables(rate: int) -> Tables:
    """The constants of a rate, in samples a second.

    >>> tables(8000).window.shape, tables(8000).fft_size
    ((200,), 256)
    """
    size = rate // 40
    fft_size = 1 << (size - 1).bit_length()
    window = (1 - np.cos(2 * np.pi * np.arange(size) / size)) / 2
    corners = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), FILTERS + 2) / 2595) - 1)
    bins = np.arange(fft_size // 2 + 1) * rate / fft_size
    low, middle, high = (corners[i : FILTERS + i, None] for i in range(3))
    filters = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clip(min=0)
    rows, columns = np.arange(COEFFICIENTS)[:, None], np.arange(FILTERS)
    cosines = np.sqrt(2 / FILTERS) * np.cos(np.pi * rows * (2 * columns + 1) / (2 * FILTERS))
    cosines[0] /= np.sqrt(2)
    return Tables(window, filters, cosines)


def mfcc(samples: np.ndarray, rate: int) -> np.ndarray:
    """The coefficients of a clip's frames.

    Args:
        samples: the clip, (N,), in [-1, 1).
        rate: samples a second.

    Returns:
        The first 13 coefficients, (T, 13), float64.

    >>> mfcc(np.zeros(8000), 8000).shape
    (98, 13)
    """
    window, filters, cosines = tables(rate)
    size = len(window)
    samples = np.pad(samples, (0, max(0, size - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: rate // 100]
    spectrum = np.fft.rfft(frames * window, n=tables(rate).fft_size)
    power = spectrum.real**2 + spectrum.imag**2
    return np.log(np.maximum(power @ filters.T, FLOOR)) @ cosines.T


def standardise(frames: np.ndarray) -> np.ndarray:
    """Brings each coefficient of a clip (T, 13) to mean 0 and standard deviation 1 over its frames.

    >>> standardise(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    return (frames - frames.mean(0)) / np.maximum(frames.std(0), LEAST_DEVIATION)
