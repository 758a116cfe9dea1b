/* Every instruction set against the scalar table, bit for bit, on odd sizes; and the scalar table against plain
 * arithmetic in double precision, so that the specification itself is checked. */
#include "kernels/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t state;

static uint32_t random_bits(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static float random_value(void)
{
    return ((float)(random_bits() >> 8) / 8388608.0f - 1.0f) * 3.0f;
}

static float *random_values(size_t n)
{
    float *values = malloc(n * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < n; i++)
        values[i] = random_value();
    return values;
}

static void assert_same_bits(const float *a, const float *b, size_t n, const char *what, const char *level)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0)
            fail_msg("%s on %s: value %zu is %a, scalar has %a", what, level, i, (double)b[i], (double)a[i]);
}

/* Call `check` for each table but the first with the scalar table beside it. */
static void for_each_level(void (*check)(const struct sg_kernels *scalar, const struct sg_kernels *other))
{
    const struct sg_kernels *const *all = sg_kernels_all();
    check(all[0], all[0]); /* also against plain arithmetic */
    for (int i = 1; all[i]; i++) {
        state = 1;
        check(all[0], all[i]);
    }
}

static void check_dot(const struct sg_kernels *scalar, const struct sg_kernels *other)
{
    static const int sizes[] = {1, 15, 16, 17, 32, 96, 100, 2880};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int n = sizes[s];
        float *w = random_values((size_t)n), *x = random_values((size_t)n * 9), a[9], b[9];
        const int32_t rows[7] = {8, 0, 3, 3, 5, 1, 7};
        for (int n_rows = 1; n_rows <= 7; n_rows++) {
            scalar->dot(w, n, x, rows, n_rows, a, 1);
            other->dot(w, n, x, rows, n_rows, b, 1);
            assert_same_bits(a, b, (size_t)n_rows, "dot", other->name);
            for (int i = 0; i < n_rows; i++) {
                double sum = 0, size = 0;
                for (int k = 0; k < n; k++) {
                    double term = (double)w[k] * x[rows[i] * n + k];
                    sum += term;
                    size += fabs(term);
                }
                assert_true(fabs(sum - a[i]) <= 1e-6 * size + 1e-6);
            }
        }
        free(w);
        free(x);
    }
}

static void test_dot(void **unused)
{
    (void)unused;
    for_each_level(check_dot);
}

static void check_panels(const struct sg_kernels *scalar, const struct sg_kernels *other)
{
    static const int block_counts[] = {1, 2, 3, 5, 90};
    for (size_t c = 0; c < sizeof block_counts / sizeof block_counts[0]; c++) {
        int n_blocks = block_counts[c], n_rows = 6, n = 32 * n_blocks;
        float *x = random_values((size_t)n * (size_t)n_rows);
        x[3] = 0;
        if (n_blocks > 1)
            memset(x + 32, 0, 32 * sizeof *x); /* an all-zero block */
        struct sg_q8 q8[2];
        for (int side = 0; side < 2; side++) {
            size_t count = (size_t)n_blocks * (size_t)n_rows;
            q8[side] = (struct sg_q8){
                malloc(count * 32), malloc(count * 4), malloc(count * 4), malloc(count * 4), n_rows, n_blocks};
            for (int i = 0; i < n_rows; i++)
                (side ? other : scalar)->quantize(x + (size_t)i * (size_t)n, &q8[side], i);
        }
        size_t count = (size_t)n_blocks * (size_t)n_rows;
        assert_memory_equal(q8[0].q, q8[1].q, count * 32);
        assert_memory_equal(q8[0].d, q8[1].d, count * 4);
        assert_memory_equal(q8[0].sum, q8[1].sum, count * 4);

        /* rows in both file formats, extreme codes included; the last two are absent */
        enum sg_dtype types[] = {SG_Q8_0, SG_MXFP4, SG_MXFP4_T4, SG_MXFP4_ST};
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            enum sg_dtype dtype = types[t];
            size_t row_bytes = (size_t)n_blocks * (size_t)sg_dtype_block_bytes(dtype);
            uint8_t *file = malloc(row_bytes * 16), *scales = malloc((size_t)n_blocks * 16);
            for (size_t i = 0; i < row_bytes * 16; i++)
                file[i] = (uint8_t)random_bits();
            for (int b = 0; b < n_blocks * 16; b++) {
                scales[b] = (uint8_t)(110 + random_bits() % 20);
                uint16_t half = sg_f32_to_f16(0.001f + 0.01f * (float)(random_bits() % 100));
                if (dtype == SG_Q8_0)
                    memcpy(file + (size_t)b * 34, &half, 2);
                else if (dtype != SG_MXFP4_ST)
                    file[(size_t)b * 17] = scales[b];
            }
            if (dtype == SG_Q8_0)
                memset(file + 2, 0x80, 32); /* -128 */
            const uint8_t *rows[16] = {0}, *row_scales[16] = {0};
            for (int r = 0; r < 14; r++) {
                rows[r] = file + (size_t)r * row_bytes;
                row_scales[r] = scales + r * n_blocks;
            }
            uint8_t *panel = aligned_alloc(64, sg_panel_q8_bytes(n_blocks));
            if (dtype == SG_Q8_0)
                sg_pack_q8(rows, n_blocks, panel);
            else
                sg_pack_mxfp4(dtype, rows, row_scales, n_blocks, panel);
            for (int m = 1; m <= 4; m++) {
                const int32_t picks[4] = {5, 0, 0, 2};
                float a[4][20], b[4][20];
                (dtype == SG_Q8_0 ? scalar->panel_q8 : scalar->panel_mxfp4)(panel, &q8[0], picks, m, a[0], 20);
                (dtype == SG_Q8_0 ? other->panel_q8 : other->panel_mxfp4)(panel, &q8[1], picks, m, b[0], 20);
                for (int i = 0; i < m; i++)
                    assert_same_bits(a[i], b[i], 16, sg_dtype_name(dtype), other->name);
                float *w = malloc((size_t)n * sizeof *w);
                for (int r = 0; r < 16; r++) { /* against the file's own values and plain arithmetic */
                    if (rows[r])
                        sg_dequant(dtype, rows[r], row_scales[r], n, w);
                    else
                        memset(w, 0, (size_t)n * sizeof *w);
                    for (int i = 0; i < m; i++) {
                        double sum = 0, size = 0;
                        for (int k = 0; k < n; k++) {
                            size_t at = (size_t)(k / 32) * (size_t)n_rows + (size_t)picks[i];
                            double term = (double)w[k] * ((double)q8[0].d[at] * q8[0].q[at * 32 + (size_t)k % 32]);
                            sum += term;
                            size += fabs(term);
                        }
                        assert_true(fabs(sum - a[i][r]) <= 1e-5 * size + 1e-12);
                    }
                }
                free(w);
            }
            free(panel);
            free(file);
            free(scales);
        }
        for (int side = 0; side < 2; side++) {
            free(q8[side].q);
            free(q8[side].d);
            free(q8[side].sum);
            free(q8[side].sum12);
        }
        free(x);
    }
}

static void test_panels(void **unused)
{
    (void)unused;
    for_each_level(check_panels);
}

static void check_dequant(const struct sg_kernels *scalar, const struct sg_kernels *other)
{
    (void)scalar;
    static const enum sg_dtype types[] = {SG_F32, SG_F16, SG_BF16, SG_Q8_0, SG_MXFP4, SG_Q4_1};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
        for (int n = 32; n <= 160; n += 32) {
            uint8_t file[160 * 4];
            for (size_t i = 0; i < sizeof file; i++) /* no NaN patterns: 0x7f.. and 0xff.. are left out */
                file[i] = (uint8_t)(random_bits() & 0x3f);
            float a[160], b[160];
            sg_dequant(types[t], file, NULL, n, a);
            other->dequant(types[t], file, NULL, n, b);
            assert_same_bits(a, b, (size_t)n, sg_dtype_name(types[t]), other->name);
        }
}

static void test_dequant(void **unused)
{
    (void)unused;
    for_each_level(check_dequant);
}

static void check_elementwise(const struct sg_kernels *scalar, const struct sg_kernels *other)
{
    static const int sizes[] = {1, 16, 31, 96, 576, 2880};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int n = sizes[s];
        float *x = random_values((size_t)n), *y = random_values((size_t)n);
        float *a = malloc((size_t)n * 4), *b = malloc((size_t)n * 4);
        for (int k = 0; k < n; k++)
            x[k] *= 5; /* beyond the clamp on both sides */
        scalar->rmsnorm(x, y, n, 1e-5f, a);
        other->rmsnorm(x, y, n, 1e-5f, b);
        assert_same_bits(a, b, (size_t)n, "rmsnorm", other->name);
        scalar->swiglu_clamped(x, y, n, 7.0f, a);
        other->swiglu_clamped(x, y, n, 7.0f, b);
        assert_same_bits(a, b, (size_t)n, "swiglu_clamped", other->name);
        for (int k = 0; k < n; k++) {
            double gate = fmin(x[k], 7), up = fmax(fmin(y[k], 7), -7);
            double expected = gate / (1 + exp(-1.702 * gate)) * (up + 1);
            assert_true(fabs(expected - a[k]) <= 1e-6 * fabs(expected) + 1e-9);
        }
        scalar->swiglu(x, y, n, a);
        other->swiglu(x, y, n, b);
        assert_same_bits(a, b, (size_t)n, "swiglu", other->name);
        for (int k = 0; k < n; k++) {
            double expected = x[k] / (1 + exp(-(double)x[k])) * y[k];
            assert_true(fabs(expected - a[k]) <= 1e-6 * fabs(expected) + 1e-9);
        }
        memcpy(a, x, (size_t)n * 4);
        memcpy(b, x, (size_t)n * 4);
        scalar->add_scaled(a, y, 0.3f, n);
        other->add_scaled(b, y, 0.3f, n);
        assert_same_bits(a, b, (size_t)n, "add_scaled", other->name);
        free(x);
        free(y);
        free(a);
        free(b);
    }
    float head[2][64], cosine[32], sine[32];
    for (int i = 0; i < 64; i++)
        head[0][i] = head[1][i] = random_value();
    for (int i = 0; i < 32; i++) {
        cosine[i] = cosf((float)i);
        sine[i] = sinf((float)i);
    }
    scalar->rope(head[0], cosine, sine, 32);
    other->rope(head[1], cosine, sine, 32);
    assert_same_bits(head[0], head[1], 64, "rope", other->name);
}

static void test_elementwise(void **unused)
{
    (void)unused;
    for_each_level(check_elementwise);
}

static void check_attention(const struct sg_kernels *scalar, const struct sg_kernels *other)
{
    enum { DIM = 64, N = 96 };
    for (int n_heads = 1; n_heads <= 5; n_heads++) {
        float *q = random_values((size_t)n_heads * DIM), *keys = random_values(DIM * N);
        float *values = random_values(DIM * N), s[2][5 * N], out[2][5 * DIM] = {{0}};
        int first = 37, end = 83;
        for (int side = 0; side < 2; side++) {
            const struct sg_kernels *k = side ? other : scalar;
            for (int block = 0; block < N / 32; block++)
                k->scores(q, n_heads, DIM, keys + block * 32 * DIM, 0.125f, s[side] + block * 32, N);
            for (int h = 0; h < n_heads; h++)
                k->softmax(s[side] + h * N, first, end, 0.5f);
            for (int block = first / 32; block <= (end - 1) / 32; block++)
                k->mix(s[side] + block * 32, N, n_heads, DIM, values + block * 32 * DIM,
                       block == first / 32 ? first % 32 : 0, block == (end - 1) / 32 ? (end - 1) % 32 + 1 : 32,
                       out[side]);
        }
        assert_same_bits(out[0], out[1], (size_t)n_heads * DIM, "attention", other->name);
        for (int h = 0; h < n_heads; h++) { /* against plain arithmetic */
            double weight[N], total = exp(0.5);
            for (int p = first; p < end; p++) {
                double dot = 0;
                for (int d = 0; d < DIM; d++)
                    dot += (double)q[h * DIM + d] * keys[(p / 32 * DIM + d) * 32 + p % 32];
                weight[p] = exp(dot * 0.125);
                total += weight[p];
            }
            for (int d = 0; d < DIM; d++) {
                double expected = 0;
                for (int p = first; p < end; p++)
                    expected += weight[p] / total * values[p * DIM + d];
                assert_true(fabs(expected - out[0][h * DIM + d]) < 1e-5);
            }
        }
        free(q);
        free(keys);
        free(values);
    }
}

static void test_attention(void **unused)
{
    (void)unused;
    for_each_level(check_attention);
}

static void test_norm_eps(void **unused)
{
    (void)unused; /* tiny inputs: eps decides, and 1e-6 in place of 1e-5 would be off by a factor of 1.7 */
    float x[64], scale[64], out[64];
    for (int k = 0; k < 64; k++) {
        x[k] = 1e-3f;
        scale[k] = 1;
    }
    sg_kernels_scalar.rmsnorm(x, scale, 64, 1e-5f, out);
    assert_true(fabs(out[5] - 1e-3 / sqrt(1e-6 + 1e-5)) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dot),         cmocka_unit_test(test_panels),    cmocka_unit_test(test_dequant),
        cmocka_unit_test(test_elementwise), cmocka_unit_test(test_attention), cmocka_unit_test(test_norm_eps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
