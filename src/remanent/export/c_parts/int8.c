/* out += weight in, each row times its scale */
static void add_product(float *out, const int8_t *weight, const float *scale, const float *in, int rows, int columns)
{
    for (int i = 0; i < rows; i++) {
        float sum = 0.0f;
        for (int j = 0; j < columns; j++) {
            sum += (float)*weight++ * in[j];
        }
        out[i] += scale[i] * sum;
    }
}

/* out += weight s, where s is 1 for a set bit, else -1: a sum of integers, exact, without products */
static void add_signed(float *out, const int8_t *weight, const float *scale, const uint8_t *high, int rows,
                       int columns)
{
    for (int i = 0; i < rows; i++) {
        int32_t sum = 0;
        for (int j = 0; j < columns; j++, weight++) {
            sum += get_bit(high, j) ? *weight : -*weight;
        }
        out[i] += scale[i] * (float)sum;
    }
}

/* out += weight s, where s is 1 for a set bit, else -1, or 0 where the state has not been written */
static void add_signed_where(float *out, const int8_t *weight, const float *scale, const uint8_t *high,
                             const uint8_t *written, int rows, int columns)
{
    for (int i = 0; i < rows; i++) {
        int32_t sum = 0;
        for (int j = 0; j < columns; j++, weight++) {
            if (get_bit(written, j)) {
                sum += get_bit(high, j) ? *weight : -*weight;
            }
        }
        out[i] += scale[i] * (float)sum;
    }
}

/* out += weight s, where s is 1 for a set bit, else 0: a sum of integers, exact, without products */
static void add_set(float *out, const int8_t *weight, const float *scale, const uint8_t *high, int rows, int columns)
{
    for (int i = 0; i < rows; i++) {
        int32_t sum = 0;
        for (int j = 0; j < columns; j++, weight++) {
            sum += get_bit(high, j) ? *weight : 0;
        }
        out[i] += scale[i] * (float)sum;
    }
}

/* a row of the table, times its scale */
static void embed(float *out, const int8_t *weight, const float *scale, uint32_t token, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = scale[token] * (float)weight[token * (uint32_t)size + (uint32_t)i];
    }
}
