/* Reads sequences from standard input, each the number of its steps and then their inputs, and writes what the
 * model says after every step, and its state's bytes. */
#include <stdio.h>
#include "NAME_input.h"

int main(void)
{
    static NAME_state state;
    input x[VALUES];
    float y[NAME_OUTPUT_SIZE];
    uint32_t steps;
    while (fread(&steps, sizeof steps, 1, stdin) == 1) {
        NAME_init(&state);
        for (uint32_t i = 0; i < steps; i++) {
            if (fread(x, sizeof x, 1, stdin) != 1) {
                return 1;
            }
            NAME_step(&state, X(x), y);
            if (fwrite(y, sizeof y, 1, stdout) != 1 || fwrite(&state, sizeof state, 1, stdout) != 1) {
                return 1;
            }
        }
    }
    return 0;
}
