/* out += weight in, of a weight in tiles of 16 rows: of each, one column after another */
static void add_tiles(float *out, const float *tiles, const float *in, int rows, int columns)
{
    for (int i = 0; i < rows; i += 16, tiles += 16 * columns) {
        float sum[16] = {0.0f};
        for (int j = 0; j < columns; j++) {
            for (int k = 0; k < 16; k++) {
                sum[k] += tiles[16 * j + k] * in[j];
            }
        }
        for (int k = 0; k < 16 && i + k < rows; k++) {
            out[i + k] += sum[k];
        }
    }
}

/* out += the columns of so many indices, of a weight in tiles */
static void add_tile_columns(float *out, const float *tiles, const uint16_t *indices, int count, int rows, int columns)
{
    for (int i = 0; i < rows; i += 16, tiles += 16 * columns) {
        float sum[16] = {0.0f};
        for (int j = 0; j < count; j++) {
            for (int k = 0; k < 16; k++) {
                sum[k] += tiles[16 * indices[j] + k];
            }
        }
        for (int k = 0; k < 16 && i + k < rows; k++) {
            out[i + k] += sum[k];
        }
    }
}

/* sums += in */
static void add_to_sums(double *sums, const float *in, int size)
{
    for (int i = 0; i < size; i++) {
        sums[i] += (double)in[i];
    }
}
