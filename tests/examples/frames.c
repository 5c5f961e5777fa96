/* Reads clips, each the number of its samples and then these, and writes their frames; samples are handed over in
 * chunks of so many. */
#include <stdio.h>
#include <stdlib.h>

#include "mfcc.h"

int main(int count, char **words)
{
    static mfcc_state state;
    const long size = count > 1 ? atol(words[1]) : 1;
    int32_t total;
    while (fread(&total, sizeof total, 1, stdin) == 1) {
        int16_t *samples = malloc((size_t)total * sizeof *samples); /* of its own size, so that none is read beyond */
        mfcc_frame frame;
        if (!samples || fread(samples, sizeof *samples, (size_t)total, stdin) != (size_t)total) {
            return 1;
        }
        mfcc_init(&state);
        for (long at = 0; at < total; at += size) {
            const int16_t *next = samples + at, *end = samples + (at + size < total ? at + size : total);
            while (mfcc_next(&state, &next, end, &frame)) {
                fwrite(&frame, sizeof frame, 1, stdout);
            }
        }
        free(samples);
    }
    return 0;
}
