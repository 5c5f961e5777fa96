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

/* out += the columns of so many indices, each row times its scale: a sum of integers, exact, without products */
static void add_columns(float *out, const int8_t *weight, const float *scale, const uint16_t *indices, int count,
                        int rows, int columns)
{
    for (int i = 0; i < rows; i++, weight += columns) {
        int32_t sum = 0;
        for (int j = 0; j < count; j++) {
            sum += weight[indices[j]];
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
