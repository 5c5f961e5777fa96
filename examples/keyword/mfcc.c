/* Mel-frequency cepstral coefficients in float32, by the definition that remanent's speech tasks are computed by. */
#include "mfcc.h"

#include <math.h>

#define POINTS (MFCC_FFT / 2)

void mfcc_init(mfcc_state *state)
{
    state->count = 0;
}

/* The order of a transform that halves: every index goes where its bits, read backwards, say. */
static void reverse(float *values)
{
    for (int i = 0, j = 0; i < POINTS; i++) {
        if (i < j) {
            const float value = values[i];
            values[i] = values[j];
            values[j] = value;
        }
        int bit = POINTS / 2; /* j is i backwards, so one is added to it from its other end */
        while (j & bit) {
            j ^= bit;
            bit /= 2;
        }
        j |= bit;
    }
}

/* The discrete Fourier transform of POINTS complex values, in place: sums of two transforms of half the size, of the
 * even and of the odd ones, from transforms of one value on. */
static void transform(float *real, float *imaginary)
{
    reverse(real);
    reverse(imaginary);
    for (int half = 1; half < POINTS; half *= 2) {
        const int stride = MFCC_FFT / (2 * half);
        for (int begin = 0; begin < POINTS; begin += 2 * half) {
            for (int k = 0; k < half; k++) {
                const int even = begin + k, odd = even + half;
                const float c = mfcc_cosine[k * stride], s = mfcc_sine[k * stride];
                const float a = c * real[odd] + s * imaginary[odd];
                const float b = c * imaginary[odd] - s * real[odd];
                real[odd] = real[even] - a;
                imaginary[odd] = imaginary[even] - b;
                real[even] += a;
                imaginary[even] += b;
            }
        }
    }
}

/* The power of every bin of a real signal of MFCC_FFT values, whose even ones were transformed as real parts and
 * whose odd ones as imaginary parts: by its symmetry, the transform of either can be told from that of both. */
static void powers(float *power, const float *real, const float *imaginary)
{
    for (int k = 0; k <= POINTS; k++) {
        const int i = k % POINTS, j = (POINTS - k) % POINTS;
        const float even_real = 0.5f * (real[i] + real[j]), even_imaginary = 0.5f * (imaginary[i] - imaginary[j]);
        const float odd_real = 0.5f * (imaginary[i] + imaginary[j]), odd_imaginary = 0.5f * (real[j] - real[i]);
        const float c = k < POINTS ? mfcc_cosine[k] : -1.0f, s = k < POINTS ? mfcc_sine[k] : 0.0f;
        const float a = even_real + c * odd_real + s * odd_imaginary;
        const float b = even_imaginary + c * odd_imaginary - s * odd_real;
        power[k] = a * a + b * b;
    }
}

/* A microphone's constant offset is no loudness. The sums are whole numbers, so that they are exact. */
static float loudness(const int16_t *samples)
{
    int64_t sum = 0, squares = 0;
    for (int i = 0; i < MFCC_WINDOW; i++) {
        sum += samples[i];
        squares += (int32_t)samples[i] * samples[i];
    }
    return (float)(MFCC_WINDOW * squares - sum * sum) / (MFCC_WINDOW * MFCC_WINDOW * 1073741824.0f);
}

static void compute(mfcc_state *state, mfcc_frame *frame)
{
    frame->power = loudness(state->samples);
    for (int i = 0; i < POINTS; i++) { /* zeros after the window's last sample */
        const int even = 2 * i, odd = 2 * i + 1;
        state->real[i] = even < MFCC_WINDOW ? mfcc_window[even] * (float)state->samples[even] : 0.0f;
        state->imaginary[i] = odd < MFCC_WINDOW ? mfcc_window[odd] * (float)state->samples[odd] : 0.0f;
    }
    transform(state->real, state->imaginary);
    powers(state->power, state->real, state->imaginary);
    for (int i = 0; i < MFCC_COUNT; i++) {
        frame->values[i] = 0.0f;
    }
    const float *weight = mfcc_filter_weight;
    for (int j = 0; j < MFCC_FILTERS; j++) {
        float sum = 0.0f;
        for (int k = 0; k < mfcc_filter_size[j]; k++) {
            sum += *weight++ * state->power[mfcc_filter_first[j] + k];
        }
        const float level = logf(sum > MFCC_FLOOR ? sum : MFCC_FLOOR);
        for (int i = 0; i < MFCC_COUNT; i++) {
            frame->values[i] += mfcc_transform[i][j] * level;
        }
    }
    for (int i = 0; i < MFCC_COUNT; i++) {
        frame->values[i] = (frame->values[i] - mfcc_mean[i]) / mfcc_deviation[i];
    }
}

int mfcc_next(mfcc_state *state, const int16_t **next, const int16_t *end, mfcc_frame *frame)
{
    while (*next != end) {
        state->samples[state->count++] = *(*next)++;
        if (state->count == MFCC_WINDOW) {
            compute(state, frame);
            state->count = MFCC_WINDOW - MFCC_HOP; /* the next frame begins a hop later */
            for (int i = 0; i < state->count; i++) {
                state->samples[i] = state->samples[i + MFCC_HOP];
            }
            return 1;
        }
    }
    return 0;
}
