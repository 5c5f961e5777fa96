
/* Starts one stream. */
void NAME_start(NAME_state *state, const float *given)
{
    NAME_init(state, given);
}

/* Runs streams over steps: inputs (streams, steps, inputs), and outputs of every step, or of the last alone. */
void NAME_run(NAME_state *states, const INPUT_TYPE *x, float *y, int64_t streams, int64_t steps, int64_t every,
              const float *given)
{
    for (int64_t b = 0; b < streams; b++, states++) {
        for (int64_t t = 0; t < steps; t++, x += INPUT_STEP) {
            NAME_step(states, GIVEN_INPUT, y, given);
            y += every ? NAME_OUTPUT_SIZE : 0;
        }
        y += every ? 0 : NAME_OUTPUT_SIZE;
    }
}
