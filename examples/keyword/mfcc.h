/* Features of speech from a stream of samples: every 10 ms a frame of 13 mel-frequency cepstral coefficients of the
 * last 25 ms, standardised by the constants that the model was trained with.
 *
 * A stream has a mfcc_state of its own, which mfcc_init starts. Nothing is allocated, and every frame costs
 * the same. tables.h is written by make_tables.py from a training run. */
#ifndef MFCC_H
#define MFCC_H

#include <stdint.h>
#include "tables.h"

typedef struct {
    float values[MFCC_COUNT]; /* what the model reads */
    float power;                  /* the mean square of the samples about their mean; 1 for the loudest there are */
} mfcc_frame;

typedef struct {
    int16_t samples[MFCC_WINDOW]; /* those of the next frame that have come */
    int count;
    float real[MFCC_FFT / 2];
    float imaginary[MFCC_FFT / 2];
    float power[MFCC_FFT / 2 + 1];
} mfcc_state;

void mfcc_init(mfcc_state *state);

/* Takes samples from *next up to end, at most to the end of a frame. Returns 1 where one is whole, and fills it; *next
 * is then the first sample not taken. Returns 0 when all samples are taken. So a chunk of any size is read by
 *
 *     while (mfcc_next(&state, &next, end, &frame)) { ... }
 */
int mfcc_next(mfcc_state *state, const int16_t **next, const int16_t *end, mfcc_frame *frame);

#endif
