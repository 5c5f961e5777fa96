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

/* out += weight s, where s is 1 for a set bit, else -1: a sum, without products */
static void add_signed(float *out, const float *weight, const uint8_t *high, int rows, int columns)
{
    for (int i = 0; i < rows; i++) {
        float sum = 0.0f;
        for (int j = 0; j < columns; j++, weight++) {
            sum += get_bit(high, j) ? *weight : -*weight;
        }
        out[i] += sum;
    }
}

/* out += weight s, where s is 1 for a set bit, else -1, or 0 where the state has not been written */
static void add_signed_where(float *out, const float *weight, const uint8_t *high, const uint8_t *written, int rows,
                             int columns)
{
    for (int i = 0; i < rows; i++) {
        float sum = 0.0f;
        for (int j = 0; j < columns; j++, weight++) {
            if (get_bit(written, j)) {
                sum += get_bit(high, j) ? *weight : -*weight;
            }
        }
        out[i] += sum;
    }
}

/* out += weight s, where s is 1 for a set bit, else 0: a sum, without products */
static void add_set(float *out, const float *weight, const uint8_t *high, int rows, int columns)
{
    for (int i = 0; i < rows; i++) {
        float sum = 0.0f;
        for (int j = 0; j < columns; j++, weight++) {
            sum += get_bit(high, j) ? *weight : 0.0f;
        }
        out[i] += sum;
    }
}

/* a row of the table */
static void embed(float *out, const float *weight, uint32_t token, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = weight[token * (uint32_t)size + (uint32_t)i];
    }
}
