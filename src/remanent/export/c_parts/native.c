typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
/* out += the sums of a tile, of which so many rows are left */
static void add_tile(float *out, four a, four b, four c, four d, int left)
{
    float sums[16];
    four *found = (four *)sums;
    found[0] = a;
    found[1] = b;
    found[2] = c;
    found[3] = d;
    for (int k = 0; k < 16 && k < left; k++) {
        out[k] += sums[k];
    }
}

/* out += weight in, of a weight in tiles of 16 rows: of each, one column after another. Four sums are added up at once;
 * each of them is that of `add_product`, in its order. */
static void add_tiles(float *out, const float *tiles, const float *in, int rows, int columns)
{
    for (int i = 0; i < rows; i += 16) {
        four a = {0.0f}, b = {0.0f}, c = {0.0f}, d = {0.0f};
        for (int j = 0; j < columns; j++, tiles += 16) {
            const four *column = (const four *)tiles;
            a += column[0] * in[j];
            b += column[1] * in[j];
            c += column[2] * in[j];
            d += column[3] * in[j];
        }
        add_tile(out + i, a, b, c, d, rows - i);
    }
}

/* out += the columns of so many indices, of a weight in tiles */
static void add_tile_columns(float *out, const float *tiles, const uint16_t *indices, int count, int rows, int columns)
{
    for (int i = 0; i < rows; i += 16, tiles += 16 * columns) {
        four a = {0.0f}, b = {0.0f}, c = {0.0f}, d = {0.0f};
        for (int j = 0; j < count; j++) {
            const four *column = (const four *)(tiles + 16 * indices[j]);
            a += column[0];
            b += column[1];
            c += column[2];
            d += column[3];
        }
        add_tile(out + i, a, b, c, d, rows - i);
    }
}

/* sums += in */
static void add_to_sums(double *sums, const float *in, int size)
{
    for (int i = 0; i < size; i++) {
        sums[i] += (double)in[i];
    }
}
