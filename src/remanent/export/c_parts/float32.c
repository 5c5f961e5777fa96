/* out += weight in */
static void add_product(float *out, const float *weight, const float *in, int rows, int columns)
{
    for (int i = 0; i < rows; i++) {
        float sum = 0.0f;
        for (int j = 0; j < columns; j++) {
            sum += *weight++ * in[j];
        }
        out[i] += sum;
    }
}

/* out += the columns of so many indices: a sum, without products */
static void add_columns(float *out, const float *weight, const uint16_t *indices, int count, int rows, int columns)
{
    for (int i = 0; i < rows; i++, weight += columns) {
        float sum = 0.0f;
        for (int j = 0; j < count; j++) {
            sum += weight[indices[j]];
        }
        out[i] += sum;
    }
}

/* out += the column of a letter */
static void add_column(float *out, const float *weight, uint32_t letter, int rows, int columns)
{
    for (int i = 0; i < rows; i++) {
        out[i] += weight[i * columns + (int)letter];
    }
}

/* a row of the table */
static void embed(float *out, const float *weight, uint32_t token, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = weight[token * (uint32_t)size + (uint32_t)i];
    }
}

/* MRU: each tracer goes to the largest logit in the row of its state, weight in plus bias. A row is computed where a
 * tracer is there, once for all of its head; the table is 255 elsewhere. */
static void move(uint8_t *state, uint8_t *table, float *logits, const float *weight, const float *bias,
                 const float *in, int heads, int tracers, int states, int columns)
{
    for (int k = 0; k < heads; k++, state += tracers) {
        for (int j = 0; j < states; j++) {
            table[j] = 255;
        }
        for (int r = 0; r < tracers; r++) {
            const int j = state[r], row = (k * states + j) * states;
            if (table[j] == 255) {
                copy(logits, bias + row, states);
                add_product(logits, weight + row * columns, in, states, columns);
                table[j] = first_largest(logits, states);
            }
            state[r] = table[j];
        }
    }
}
