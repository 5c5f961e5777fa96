"""The features of speech: against sums written out from their definition, and what frames see."""

import cmath
import math

import numpy as np
import pytest

from remanent.tasks.sounds.mfcc import FLOOR, mfcc, standardise, tables


def slow_mfcc(samples, rate):
    """Every sum of the definition, one term after another."""
    size, hop, bins = rate // 40, rate // 100, {8000: 256, 16_000: 512}[rate]
    corners = [700 * (10 ** (j / 27 * math.log10(1 + rate / 1400)) - 1) for j in range(28)]
    samples = list(samples) + [0.0] * (size - len(samples))
    frames = []
    for start in range(0, len(samples) - size + 1, hop):
        windowed = [samples[start + n] * 0.5 * (1 - math.cos(2 * math.pi * n / size)) for n in range(size)]
        energies = [0.0] * 26
        for k in range(bins // 2 + 1):
            total = sum(x * cmath.exp(-2j * math.pi * k * n / bins) for n, x in enumerate(windowed))
            hertz = k * rate / bins
            for j in range(26):
                low, middle, high = corners[j : j + 3]
                if low < hertz <= middle:
                    energies[j] += abs(total) ** 2 * (hertz - low) / (middle - low)
                elif middle < hertz < high:
                    energies[j] += abs(total) ** 2 * (high - hertz) / (high - middle)
        logs = [math.log(max(energy, 1e-10)) for energy in energies]
        frames.append(
            [
                math.sqrt((1 if c == 0 else 2) / 26)
                * sum(value * math.cos(math.pi * c * (j + 0.5) / 26) for j, value in enumerate(logs))
                for c in range(13)
            ]
        )
    return np.array(frames)


def sound(count, rate, seed=0):
    """A gliding tone with an overtone, a little noise and a silent end, in steps of 16 bits."""
    time = np.arange(count) / rate
    tone = 0.4 * np.sin(2 * np.pi * (300 + 400 * time) * time) + 0.1 * np.sin(2 * np.pi * 1900 * time)
    noisy = (tone + 0.01 * np.random.default_rng(seed).standard_normal(count)) * (time < 0.9 * time[-1])
    return np.round(noisy * 32767) / 32768


@pytest.mark.parametrize(("rate", "count"), [(8000, 1000), (8000, 200), (8000, 279), (8000, 280), (16_000, 1300)])
def test_features_are_the_sums_of_their_definition(rate, count):
    samples = sound(count, rate)
    slow = slow_mfcc(samples, rate)
    assert slow.shape == (1 + (count - rate // 40) // (rate // 100), 13)
    np.testing.assert_allclose(mfcc(samples, rate), slow, rtol=0, atol=1e-8)


def test_a_clip_shorter_than_a_frame_is_one_frame():
    samples = sound(150, 8000)
    filled = np.concatenate([samples, np.zeros(50)])
    assert np.array_equal(mfcc(samples, 8000), mfcc(filled, 8000))
    assert mfcc(samples, 8000).shape == (1, 13)


def test_frames_do_not_look_ahead_nor_back():
    samples = sound(4000, 8000)
    whole = mfcc(samples, 8000)
    for t in (0, 7, len(whole) - 1):
        np.testing.assert_allclose(mfcc(samples[80 * t : 80 * t + 200], 8000)[0], whole[t], rtol=0, atol=1e-10)


def test_silence_is_at_the_floor():
    expected = np.zeros((6, 13))
    expected[:, 0] = np.sqrt(26) * np.log(FLOOR)
    np.testing.assert_allclose(mfcc(np.zeros(600), 8000), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_filters_weigh_a_bin_once_and_cosines_are_orthonormal(rate):
    window, filters, cosines = tables(rate)
    assert len(window) == rate // 40
    middle = filters.argmax(1)
    assert (np.diff(middle) > 0).all()
    np.testing.assert_allclose(filters.sum(0)[middle[0] + 1 : middle[-1]], 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(cosines @ cosines.T, np.eye(13), rtol=0, atol=1e-12)


def test_a_standardised_clip_has_mean_zero_and_deviation_one():
    frames = standardise(mfcc(sound(4000, 8000), 8000))
    np.testing.assert_allclose(frames.mean(0), 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(frames.std(0), 1, rtol=0, atol=1e-12)
    for still in (np.zeros(4000), np.zeros(100)):
        np.testing.assert_allclose(standardise(mfcc(still, 8000)), 0, rtol=0, atol=1e-8)
