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

/* a row of the table */
static void embed(float *out, const float *weight, uint32_t token, int size)
{
    for (int i = 0; i < size; i++) {
        out[i] = weight[token * (uint32_t)size + (uint32_t)i];
    }
}
