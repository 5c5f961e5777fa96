/* Reads a sequence from standard input, the number of its steps and then their inputs, and writes how many seconds of
 * processor time a step takes: the mean of the fastest of five rounds, each of them of 20 ms or more. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "NAME_input.h"

int main(void)
{
    static NAME_state state;
    float y[NAME_OUTPUT_SIZE];
    double best = -1.0;
    uint32_t steps;
    if (fread(&steps, sizeof steps, 1, stdin) != 1) {
        return 1;
    }
    input *x = malloc((size_t)steps * VALUES * sizeof *x);
    if (x == NULL || fread(x, VALUES * sizeof *x, steps, stdin) != steps) {
        return 1;
    }
    for (int round = 0; round < 5; round++) {
        const clock_t start = clock();
        clock_t taken = 0;
        double count = 0.0;
        while (taken < CLOCKS_PER_SEC / 50) {
            NAME_init(&state);
            for (uint32_t i = 0; i < steps; i++) {
                NAME_step(&state, X(x + (size_t)i * VALUES), y);
            }
            count += steps;
            taken = clock() - start;
        }
        const double seconds = (double)taken / CLOCKS_PER_SEC / count;
        best = best < 0.0 || seconds < best ? seconds : best;
    }
    free(x);
    return printf("%.9g\n", best) < 0;
}
