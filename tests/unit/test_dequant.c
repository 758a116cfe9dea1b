/* Dequantisers against the `gguf` package (data/dequant.*, made by tools/oracle_dequant.py): bit for bit, except that
 * zeros of either sign are equal (MXFP4's code 8 is −0 here, 0 there). The half and bfloat16 conversions against
 * their definition, for every half and at every boundary between two of them. */
#include "weights_helpers.h"

#include <jansson.h>
#include <math.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static enum sg_dtype dtype_named(const char *name)
{
    for (int i = 0; i < SG_DTYPE_COUNT; i++)
        if (strcmp(sg_dtype_name((enum sg_dtype)i), name) == 0)
            return (enum sg_dtype)i;
    fail_msg("no dtype %s", name);
    return SG_DTYPE_COUNT;
}

static void expect_equal(const char *type, const float *got, const uint8_t *expected, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float want;
        memcpy(&want, expected + 4 * i, 4);
        if (bits_of(got[i]) != bits_of(want) && !(got[i] == 0.0f && want == 0.0f))
            fail_msg("%s: value %zu is %a, expected %a", type, i, (double)got[i], (double)want);
    }
}

static json_int_t field(const json_t *entry, const char *key)
{
    const json_t *value = json_object_get(entry, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* MXFP4's other two layouts hold the same values: move the codes, not the meaning. */
static void check_mxfp4_layouts(const uint8_t *raw, int n_blocks, const uint8_t *expected)
{
    for (int b = 0; b < n_blocks; b++) {
        const uint8_t *block = raw + 17 * b;
        uint8_t pairs[17] = {block[0]};
        for (int i = 0; i < 16; i++) { /* elements 2i and 2i + 1 */
            int low = 2 * i < 16 ? block[1 + 2 * i] & 15 : block[1 + 2 * i - 16] >> 4;
            int high = 2 * i + 1 < 16 ? block[2 + 2 * i] & 15 : block[2 + 2 * i - 16] >> 4;
            pairs[1 + i] = (uint8_t)(low | high << 4);
        }
        float values[32];
        sg_dequant(SG_MXFP4_T4, pairs, NULL, 32, values);
        expect_equal("MXFP4_T4", values, expected + 128 * b, 32);
        sg_dequant(SG_MXFP4_ST, pairs + 1, pairs, 32, values);
        expect_equal("MXFP4_ST", values, expected + 128 * b, 32);
    }
}

static void test_oracle(void **state)
{
    (void)state;
    struct sg_buffer bytes = {0};
    assert_int_equal(sg_file_read(SG_TEST_DATA "/dequant.bin", 1 << 20, &bytes, NULL), SG_OK);
    json_t *index = json_load_file(SG_TEST_DATA "/dequant.json", 0, NULL);
    assert_non_null(index);
    bool seen[SG_DTYPE_COUNT] = {0};
    for (size_t i = 0; i < json_array_size(index); i++) {
        const json_t *entry = json_array_get(index, i);
        const char *type = json_string_value(json_object_get(entry, "type"));
        enum sg_dtype dtype = dtype_named(type);
        assert_int_equal(sg_dtype_block_values(dtype), field(entry, "values"));
        assert_int_equal(sg_dtype_block_bytes(dtype), field(entry, "block_bytes"));
        const uint8_t *raw = (uint8_t *)bytes.data + field(entry, "raw");
        const uint8_t *expected = (uint8_t *)bytes.data + field(entry, "expected");
        size_t n = (size_t)(field(entry, "blocks") * field(entry, "values"));
        assert_true(field(entry, "expected") + 4 * (json_int_t)n <= (json_int_t)bytes.len);
        float *values = malloc(n * sizeof *values);
        sg_dequant(dtype, raw, NULL, (int64_t)n, values);
        expect_equal(type, values, expected, n);
        free(values);
        seen[dtype] = true;
        if (dtype == SG_MXFP4)
            check_mxfp4_layouts(raw, (int)field(entry, "blocks"), expected);
    }
    for (int i = 0; i < SG_DTYPE_COUNT; i++)
        assert_true(seen[i] || i == SG_MXFP4_T4 || i == SG_MXFP4_ST || i == SG_U8);
    json_decref(index);
    sg_buffer_free(&bytes);
}

/* All 16 codes under scale bytes at both ends, by the OCP definition. */
static void test_mxfp4_definition(void **state)
{
    (void)state;
    static const double codes[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6};
    for (int scale = 0; scale <= 252; scale++) {
        uint8_t block[17] = {(uint8_t)scale};
        for (int i = 0; i < 16; i++)
            block[1 + i] = (uint8_t)(i | (15 - i) << 4);
        float values[32];
        sg_dequant(SG_MXFP4, block, NULL, 32, values);
        for (int i = 0; i < 16; i++) {
            assert_int_equal(bits_of(values[i]), bits_of((float)ldexp(codes[i], scale - 127)));
            assert_int_equal(bits_of(values[16 + i]), bits_of((float)ldexp(codes[15 - i], scale - 127)));
        }
    }
}

/* Row 5 of [2, 3, 64]: the last row of the second matrix. */
static void test_row(void **state)
{
    (void)state;
    uint8_t blocks[2 * 3 * 2 * 16], scales[2 * 3 * 2];
    memset(blocks, 0x22, sizeof blocks); /* code 2: 1.0 */
    for (int i = 0; i < 12; i++)
        scales[i] = (uint8_t)(120 + i);
    struct sg_tensor tensor = {.name = "t",
                               .dtype = SG_MXFP4_ST,
                               .n_dims = 3,
                               .shape = {2, 3, 64, 1},
                               .data = blocks,
                               .n_bytes = sizeof blocks,
                               .scales = scales};
    assert_int_equal(sg_tensor_row_bytes(&tensor), 32);
    float row[64];
    sg_dequant_row(&tensor, 5, row);
    assert_true(row[0] == ldexpf(1, 130 - 127) && row[31] == row[0]);
    assert_true(row[32] == ldexpf(1, 131 - 127) && row[63] == row[32]);
}

/* The value of a half that is not NaN, from the definition of binary16. */
static double half_value(int half)
{
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double magnitude = exponent == 31  ? (double)INFINITY
                       : exponent == 0 ? ldexp(mantissa, -24)
                                       : ldexp(1024 + mantissa, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

static void test_f16_to_f32(void **state)
{
    (void)state;
    for (int half = 0; half < 65536; half++) {
        float got = sg_f16_to_f32((uint16_t)half);
        if ((half & 0x7fff) > 0x7c00)
            assert_true(isnan(got));
        else
            assert_int_equal(bits_of(got), bits_of((float)half_value(half)));
    }
}

/* Rounding is monotonic, so it is right everywhere when it is right at each value, at each midpoint (to even) and one
 * float to either side of it. */
static void test_f32_to_f16(void **state)
{
    (void)state;
    for (int half = 0; half < 0x7c00; half++) {
        double low = half_value(half), high = half == 0x7bff ? 65536 : half_value(half + 1);
        float middle = (float)((low + high) / 2);
        int even = half & 1 ? half + 1 : half;
        assert_int_equal(sg_f32_to_f16((float)low), half);
        assert_int_equal(sg_f32_to_f16((float)-low), half | 0x8000);
        assert_int_equal(sg_f32_to_f16(middle), even);
        assert_int_equal(sg_f32_to_f16(-middle), even | 0x8000);
        assert_int_equal(sg_f32_to_f16(nextafterf(middle, 0)), half);
        assert_int_equal(sg_f32_to_f16(nextafterf(middle, INFINITY)), half + 1);
    }
    assert_int_equal(sg_f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(sg_f32_to_f16(-3e38f), 0xfc00);
    assert_true((sg_f32_to_f16(NAN) & 0x7fff) > 0x7c00);
#ifdef __FLT16_MAX__
    for (uint64_t bits = 0; bits < UINT32_MAX; bits += 4099) {
        uint32_t word = (uint32_t)bits;
        float value;
        memcpy(&value, &word, sizeof value);
        if (isnan(value))
            continue;
        _Float16 half = (_Float16)value; /* the compiler's own */
        uint16_t expected;
        memcpy(&expected, &half, sizeof expected);
        assert_int_equal(sg_f32_to_f16(value), expected);
    }
#endif
}

static void test_bf16(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 65536; half++) {
        float value = sg_bf16_to_f32((uint16_t)half);
        bool special = (half & 0x7f80) == 0x7f80;
        if (!special) {
            double mantissa = (half & 127) + ((half & 0x7f80) ? 128 : 0);
            int exponent = (int)(half >> 7 & 255);
            double expected = ldexp(mantissa, (exponent ? exponent : 1) - 134);
            assert_true((double)value == (half & 0x8000 ? -expected : expected));
            /* the midpoint to the next, and its neighbours */
            uint32_t middle = half << 16 | 0x8000;
            float below, at, above;
            memcpy(&at, &middle, 4);
            middle--;
            memcpy(&below, &middle, 4);
            middle += 2;
            memcpy(&above, &middle, 4);
            assert_int_equal(sg_f32_to_bf16(value), half);
            assert_int_equal(sg_f32_to_bf16(below), half);
            assert_int_equal(sg_f32_to_bf16(at), half & 1 ? half + 1 : half);
            assert_int_equal(sg_f32_to_bf16(above), half + 1);
        } else if ((half & 127) == 0) {
            assert_int_equal(sg_f32_to_bf16(value), half);
        } else {
            assert_true(isnan(value) && (sg_f32_to_bf16(value) & 0x7fff) > 0x7f80);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle),     cmocka_unit_test(test_mxfp4_definition), cmocka_unit_test(test_row),
        cmocka_unit_test(test_f16_to_f32), cmocka_unit_test(test_f32_to_f16),       cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests_name("dequant", tests, NULL, NULL);
}
