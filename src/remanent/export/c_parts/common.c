static void copy(float *out, const float *in, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = in[i];
    }
}

static void standardise(float *out, const float *in, const float *mean, const float *deviation, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = (in[i] - mean[i]) / deviation[i];
    }
}

static void restore(float *out, const float *deviation, const float *mean, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = out[i] * deviation[i] + mean[i];
    }
}

static void clear(float *out, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = 0.0f;
    }
}

static void copy_bytes(uint8_t *out, const uint8_t *in, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = in[i];
    }
}

static void one_hot(float *out, uint32_t letter, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = letter == (uint32_t)i ? 1.0f : 0.0f;
    }
}

static void clear_sums(double *out, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = 0.0;
    }
}

static void clear_bits(uint8_t *bits, int size)
{
    for (int i = 0; i < (size + 7) / 8; i++) {
        bits[i] = 0;
    }
}

static int get_bit(const uint8_t *bits, int i)
{
    return (bits[i / 8] >> (i % 8)) & 1;
}

static void set_bit(uint8_t *bits, int i, int value)
{
    const unsigned mask = 1u << (i % 8);
    bits[i / 8] = (uint8_t)(value ? bits[i / 8] | mask : bits[i / 8] & ~mask);
}

static int all_set(const uint8_t *bits, int size)
{
    for (int i = 0; i < size; i++) {
        if (!get_bit(bits, i)) {
            return 0;
        }
    }
    return 1;
}

/* which bits are set, and how many */
static int list_set(uint16_t *indices, const uint8_t *bits, int size)
{
    int count = 0;
    for (int i = 0; i < size; i++) {
        if (get_bit(bits, i)) {
            indices[count++] = (uint16_t)i;
        }
    }
    return count;
}

/* which values of a one-hot state for each tracer are ones, and how many */
static int list_ones(uint16_t *indices, const uint8_t *state, int tracers, int states)
{
    for (int i = 0; i < tracers; i++) {
        indices[i] = (uint16_t)(i * states + state[i]);
    }
    return tracers;
}

/* out += a one-hot state for each tracer */
static void add_one_hot(float *out, const uint8_t *state, int tracers, int states)
{
    for (int i = 0; i < tracers; i++) {
        out[i * states + state[i]] += 1.0f;
    }
}

/* out += in */
static void add(float *out, const float *in, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] += in[i];
    }
}

/* out *= factor */
static void multiply(float *out, const float *factor, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] *= factor[i];
    }
}

/* out += alpha where a bit is set, else -alpha */
static void add_signs(float *out, const uint8_t *high, const float *alpha, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] += get_bit(high, i) ? alpha[i] : -alpha[i];
    }
}

/* out += alpha where a bit is set */
static void add_ones(float *out, const uint8_t *high, const float *alpha, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] += get_bit(high, i) ? alpha[i] : 0.0f;
    }
}

/* out += start where the state has not been written */
static void add_start(float *out, const uint8_t *written, const float *start, int size)
{
    for (int i = 0; i < size; i++) {
        if (!get_bit(written, i)) {
            out[i] += start[i];
        }
    }
}

/* in over its root mean square, times scale */
static void rms_norm(float *out, const float *in, const float *scale, int size)
{
    float sum = 0.0f;
    for (int i = 0; i < size; i++) {
        sum += in[i] * in[i];
    }
    const float factor = 1.0f / sqrtf(sum / (float)size + 1.1920929e-7f);
    for (int i = 0; i < size; i++) {
        out[i] = in[i] * factor * scale[i];
    }
}

/* in at mean 0 and variance 1, times scale, plus shift */
static void layer_norm(float *out, const float *in, const float *scale, const float *shift, int size)
{
    float mean = 0.0f, variance = 0.0f;
    for (int i = 0; i < size; i++) {
        mean += in[i];
    }
    mean /= (float)size;
    for (int i = 0; i < size; i++) {
        variance += (in[i] - mean) * (in[i] - mean);
    }
    const float factor = 1.0f / sqrtf(variance / (float)size + 1e-5f);
    for (int i = 0; i < size; i++) {
        out[i] = (in[i] - mean) * factor * scale[i] + shift[i];
    }
}

static float sigmoid(float value)
{
    return 1.0f / (1.0f + expf(-value));
}

static void sigmoids(float *values, int size)
{
    for (int i = 0; i < size; i++) {
        values[i] = sigmoid(values[i]);
    }
}

/* the first half times the sigmoid of the second, in place */
static void glu(float *values, int size)
{
    for (int i = 0; i < size; i++) {
        values[i] *= sigmoid(values[size + i]);
    }
}

static void gelu(float *values, int size)
{
    for (int i = 0; i < size; i++) {
        values[i] *= 0.5f * (1.0f + erff(values[i] * 0.70710678f));
    }
}

/* a row of the table, zeros after its last */
static void clock_features(float *out, const float *table, uint32_t time, uint32_t span, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = time < span ? table[time * (uint32_t)size + (uint32_t)i] : 0.0f;
    }
}

/* in and the inputs in the window, each times its weight; then the window goes on by one step */
static void convolve(float *out, float *window, const float *in, const float *weight, int size, int taps)
{
    for (int i = 0; i < size; i++) {
        out[i] = weight[i * taps + taps - 1] * in[i];
        for (int k = taps - 2; k >= 0; k--) {
            out[i] += weight[i * taps + k] * window[k * size + i];
        }
    }
    for (int i = 0; i < (taps - 2) * size; i++) {
        window[i] = window[size + i];
    }
    copy(window + (taps - 2) * size, in, size);
}

/* BMRU: where a candidate reaches its threshold, its sign is kept */
static void latch(uint8_t *high, const float *gates, int size)
{
    for (int i = 0; i < size; i++) {
        if (fabsf(gates[i]) >= fabsf(gates[size + i])) {
            set_bit(high, i, gates[i] >= 0.0f);
        }
    }
}

/* BMRU: where a candidate reaches its threshold, its sign is kept, and that the state has been written */
static void latch_and_mark(uint8_t *high, uint8_t *written, const float *gates, int size)
{
    for (int i = 0; i < size; i++) {
        if (fabsf(gates[i]) >= fabsf(gates[size + i])) {
            set_bit(high, i, gates[i] >= 0.0f);
            set_bit(written, i, 1);
        }
    }
}

/* FQ-BMRU: high from the upper threshold on, low up to the lower one, else held; no candidate is below zero */
static void latch_between(uint8_t *high, const float *candidate, const float *lower, const float *upper, int size)
{
    for (int i = 0; i < size; i++) {
        const float value = candidate[i] > 0.0f ? candidate[i] : 0.0f;
        if (value >= upper[i]) {
            set_bit(high, i, 1);
        } else if (value <= lower[i]) {
            set_bit(high, i, 0);
        }
    }
}

/* the same, and that the state has been written */
static void latch_between_and_mark(uint8_t *high, uint8_t *written, const float *candidate, const float *lower,
                                   const float *upper, int size)
{
    latch_between(high, candidate, lower, upper, size);
    for (int i = 0; i < size; i++) {
        const float value = candidate[i] > 0.0f ? candidate[i] : 0.0f;
        if (value >= upper[i] || value <= lower[i]) {
            set_bit(written, i, 1);
        }
    }
}

/* MRU on a letter: each tracer goes where the table of its head sends its state */
static void look_up(uint8_t *state, const uint8_t *table, int heads, int tracers, int states)
{
    for (int k = 0; k < heads; k++, table += states) {
        for (int r = 0; r < tracers; r++, state++) {
            *state = table[*state];
        }
    }
}

/* the place of the largest value, the lowest of equal ones */
static uint8_t first_largest(const float *values, int size)
{
    float largest = -INFINITY;
    int place = 0;
    for (int i = 0; i < size; i++) {
        if (values[i] > largest) {
            largest = values[i];
            place = i;
        }
    }
    return (uint8_t)place;
}

/* CMRU, sample-and-hold: a write adds or takes away a step, to or from what is kept of the state, if anything is */
static void accumulate(float *state, const float *gates, const float *step, float epsilon, int size)
{
    for (int i = 0; i < size; i++) {
        if (fabsf(gates[i]) >= fabsf(gates[size + i])) {
            const float written = gates[i] >= 0.0f ? step[i] : -step[i];
            state[i] = epsilon == 0.0f ? written : written + epsilon * state[i];
        }
    }
}

/* minGRU: the candidate and what was, weighed by the gate */
static void min_gru(float *state, const float *gates, int size)
{
    for (int i = 0; i < size; i++) {
        state[i] = sigmoid(-gates[size + i]) * state[i] + sigmoid(gates[size + i]) * gates[i];
    }
}

/* LRU: a turn and a decay, then the input; all real parts, then all imaginary ones */
static void turn(float *state, const float *eigenvalues, const float *input, int size)
{
    for (int i = 0; i < size; i++) {
        const float real = state[i], imaginary = state[size + i];
        const float a = eigenvalues[i], b = eigenvalues[size + i];
        state[i] = a * real - b * imaginary + input[i];
        state[size + i] = a * imaginary + b * real + input[size + i];
    }
}

/* out = the mean of all that came, of which there have been so many */
static void mean(float *out, double *sums, uint32_t count, int size)
{
    for (int i = 0; i < size; i++) {
        sums[i] += (double)out[i];
        out[i] = (float)(sums[i] / (double)count);
    }
}
