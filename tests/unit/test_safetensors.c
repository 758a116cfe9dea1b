/* Safetensors: damaged headers, folders with an index, MXFP4 blocks with their scales. */
#include "weights/weights_internal.h"
#include "weights_helpers.h"

static uint8_t data[4096]; /* tensors' bytes: i % 251, so that a wrong offset shows */

static struct sg_buffer make_image(const char *header, size_t n_data)
{
    struct sg_buffer image = {0};
    uint64_t len = strlen(header);
    for (int i = 0; i < 8; i++)
        sg_buffer_putc(&image, (char)(len >> 8 * i & 255));
    sg_buffer_puts(&image, header);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i % 251);
    sg_buffer_append(&image, data, n_data);
    assert_false(image.failed);
    return image;
}

static const char *write_image(const char *name, const char *header, size_t n_data)
{
    struct sg_buffer image = make_image(header, n_data);
    const char *path = scratch_path(name);
    write_file(path, image.data, image.len);
    sg_buffer_free(&image);
    return path;
}

static void write_text(const char *name, const char *text)
{
    write_file(scratch_path(name), text, strlen(text));
}

static void test_lone_file(void **state)
{
    (void)state;
    const char *path = write_image("lone.safetensors",
                                   "{\"__metadata__\":{\"format\":\"pt\"},"
                                   "\"b\":{\"dtype\":\"BF16\",\"shape\":[3,2],\"data_offsets\":[16,28]},"
                                   "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                                   "\"position_ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[4,12]},"
                                   "\"five\":{\"dtype\":\"F16\",\"shape\":[1,1,2,1,1],\"data_offsets\":[12,16]},"
                                   "\"none\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[28,28]},"
                                   "\"new\":{\"dtype\":\"F99\",\"shape\":[3],\"data_offsets\":[28,30]}}   ",
                                   30);
    struct sg_weights *weights = open_or_fail(path);
    assert_int_equal(sg_weights_count(weights), 2);
    const struct sg_tensor *b = sg_weights_find(weights, "b"), *a = sg_weights_find(weights, "a");
    assert_int_equal(b->dtype, SG_BF16);
    assert_int_equal(b->n_dims, 2);
    assert_int_equal(b->shape[0], 3);
    assert_int_equal(b->shape[1], 2);
    assert_int_equal(b->n_bytes, 12);
    assert_memory_equal(b->data, data + 16, 12);
    assert_int_equal(a->n_dims, 1); /* a scalar is one row of one value */
    assert_int_equal(a->shape[0], 1);
    assert_int_equal(sg_tensor_row_bytes(a), 4);
    assert_null(sg_weights_find(weights, "position_ids"));
    assert_string_equal(sg_weights_skipped(weights, "position_ids"), "dtype I64");
    assert_string_equal(sg_weights_skipped(weights, "five"), "5 dimensions");
    assert_string_equal(sg_weights_skipped(weights, "none"), "no elements");
    assert_string_equal(sg_weights_skipped(weights, "new"), "dtype F99");
    assert_null(sg_weights_skipped(weights, "a"));
    assert_null(sg_weights_config(weights));
    assert_string_equal(sg_weights_folder(weights), scratch);
    sg_weights_close(weights);
}

static void expect_bad_header(const char *header, size_t n_data, const char *what, const char *expected)
{
    expect_failure(write_image("bad.safetensors", header, n_data), SG_EFORMAT, "bad.safetensors: ", what, expected,
                   NULL);
}

#define ONE(fields) "{\"t\":{" fields "}}"

static void test_damaged(void **state)
{
    (void)state;
    expect_bad_header("", 0, "JSON", "");
    expect_bad_header("[1]", 0, "expected a JSON object", "");
    expect_bad_header("{\"t\":1}", 0, "tensor t", "expected \"dtype\"");
    expect_bad_header("{\"t\":{}", 0, "JSON, line 1, byte 7", "");
    expect_bad_header("{\"t\":{},\"t\":{}}", 0, "duplicate", "");
    expect_bad_header(ONE("\"shape\":[1],\"data_offsets\":[0,4]"), 4, "tensor t", "expected \"dtype\"");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), 4, "tensor t", "expected \"dtype\"");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[1]"), 4, "tensor t", "expected \"dtype\"");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]"), 4, "tensor t", "two integers");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]"), 4, "tensor t", "two integers");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]"), 4, "tensor t", "two integers");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,99999999999999999999]"), 4, "JSON",
                      "");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]"), 4,
                      "tensor t has data_offsets [0, 8]", "4 data bytes");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]"), 4,
                      "tensor t has data_offsets [4, 0]", "4 data bytes");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"), 4,
                      "tensor t has 4 bytes of data", "expected 8 for its shape and F32");
    expect_bad_header(ONE("\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,4]"), 4,
                      "tensor t has 4 bytes of data", "expected 16 for its shape and I64");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]"), 4, "tensor t: dimension 0", "");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]"), 4, "tensor t: dimension 0",
                      "");
    expect_bad_header(ONE("\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]"), 4,
                      "tensor t has 4 bytes", "overflows"); /* × 4 is 4 modulo 2^64 */
    expect_bad_header("{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                      "\"u\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
                      7, "tensor u starts at data offset 3, expected 4", "overlap");
    expect_bad_header("{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                      "\"u\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
                      4, "tensor u starts at data offset 0, expected 4", "overlap");
    expect_bad_header("{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                      "\"u\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[5,9]}}",
                      9, "tensor u starts at data offset 5, expected 4", "gap");
    expect_bad_header(ONE("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]"), 5, "end at data offset 4",
                      "5 data bytes");
}

static void test_header_length(void **state)
{
    (void)state;
    static const uint8_t short_file[7] = {1}, huge[9] = {255, 255, 255, 255, 255, 255, 255, 255, '{'};
    write_file(scratch_path("h.safetensors"), short_file, 7);
    expect_failure(scratch_path("h.safetensors"), SG_EFORMAT, "h.safetensors: has 7 bytes, expected at least 8",
                   NULL);
    write_file(scratch_path("h.safetensors"), "", 0);
    expect_failure(scratch_path("h.safetensors"), SG_EFORMAT, "has 0 bytes, expected at least 8", NULL);
    write_file(scratch_path("h.safetensors"), huge, 9);
    expect_failure(scratch_path("h.safetensors"), SG_EFORMAT, "header's length is 18446744073709551615",
                   "expected at most 1", NULL);
    static const uint8_t large[8] = {1, 0, 0, 2}; /* 32 MiB and a byte, in a file that has it (a hole) */
    write_file(scratch_path("h.safetensors"), large, 8);
    assert_int_equal(truncate(scratch_path("h.safetensors"), 64 << 20), 0);
    expect_failure(scratch_path("h.safetensors"), SG_ELIMIT, "header's length is 33554433", "at most 33554432", NULL);
}

static void test_truncated_everywhere(void **state)
{
    (void)state;
    struct sg_buffer image = make_image("{\"t\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", 24);
    for (size_t len = 0; len <= image.len; len++) {
        char *bytes = malloc(len + 1); /* exact, for the sanitizer: the reader gets the last len bytes */
        memcpy(bytes + 1, image.data, len);
        struct sg_weights *weights;
        struct sg_error err = {0};
        enum sg_status status =
            sg_weights_open_memory(SG_WEIGHTS_SAFETENSORS, "memory", bytes + 1, len, &weights, &err);
        assert_int_equal(status, len < image.len ? SG_EFORMAT : SG_OK);
        if (len < image.len)
            expect_text(err.text, "memory: ");
        sg_weights_close(weights);
        free(bytes);
    }
    sg_buffer_free(&image);
}

/* --- MXFP4 ------------------------------------------------------------------------------------------------ */

#define BLOCKS "\"x_blocks\":{\"dtype\":\"U8\",\"shape\":[2,3,1,16],\"data_offsets\":[0,96]}"

static void test_mxfp4(void **state)
{
    (void)state;
    struct sg_weights *weights = open_or_fail(
        write_image("m.safetensors",
                    "{" BLOCKS ",\"x_scales\":{\"dtype\":\"U8\",\"shape\":[2,3,1],\"data_offsets\":[96,102]},"
                    "\"plain\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[102,104]}}",
                    104));
    assert_int_equal(sg_weights_count(weights), 2);
    const struct sg_tensor *x = sg_weights_find(weights, "x_blocks");
    assert_int_equal(x->dtype, SG_MXFP4_ST);
    assert_int_equal(x->n_dims, 3);
    const int64_t shape[4] = {2, 3, 32, 1};
    assert_memory_equal(x->shape, shape, sizeof shape);
    assert_int_equal(x->n_bytes, 96);
    assert_memory_equal(x->data, data, 96);
    assert_memory_equal(x->scales, data + 96, 6);
    assert_null(sg_weights_find(weights, "x_scales"));
    assert_int_equal(sg_weights_find(weights, "plain")->dtype, SG_U8);
    sg_weights_close(weights);

    expect_bad_header("{" BLOCKS "}", 96, "tensor x_blocks: there is no x_scales", "");
    expect_bad_header("{" BLOCKS ",\"x_scales\":{\"dtype\":\"U8\",\"shape\":[3,2,1],\"data_offsets\":[96,102]}}", 102,
                      "tensor x_scales is U8 [3, 2, 1, 1]", "expected U8 [2, 3, 1]");
    expect_bad_header("{" BLOCKS ",\"x_scales\":{\"dtype\":\"F32\",\"shape\":[2,3,1],\"data_offsets\":[96,120]}}",
                      120, "tensor x_scales is F32", "expected U8 [2, 3, 1]");
}

/* --- folders ----------------------------------------------------------------------------------------------- */

#define T(name, begin, end) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[" #begin "," #end "]}"

static void write_index(const char *weight_map)
{
    struct sg_buffer text = {0};
    sg_buffer_printf(&text, "{\"metadata\":{\"total_size\":1},\"weight_map\":%s}", weight_map);
    write_text("f/model.safetensors.index.json", sg_buffer_text(&text));
    sg_buffer_free(&text);
}

/* Two parts; "stale" is in both and the index places it in the second; "unlisted" counts for nothing, nor does
 * the stray file. */
static void write_folder(void)
{
    assert_true(mkdir(scratch_path("f"), 0777) == 0 || access(scratch_path("f"), F_OK) == 0);
    write_text("f/config.json", "{\"model_type\":\"gpt_oss\"}");
    write_image("f/model-00001-of-00002.safetensors",
                "{" T("a", 0, 4) "," T("stale", 4, 8) "," T("unlisted", 8, 12) "}", 12);
    write_image("f/model-00002-of-00002.safetensors", "{" T("b", 4, 8) "," T("stale", 0, 4) "}", 8);
    write_image("f/stray.safetensors", "{" T("c", 0, 4) "}", 4);
    write_index("{\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\","
                "\"stale\":\"model-00002-of-00002.safetensors\"}");
}

static void test_folder(void **state)
{
    (void)state;
    write_folder();
    const char *const ways[] = {"f", "f/", "f/model-00002-of-00002.safetensors"};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct sg_weights *weights = open_or_fail(scratch_path(ways[i]));
        assert_int_equal(sg_weights_count(weights), 3);
        assert_int_equal(sg_weights_file_count(weights), 2);
        assert_string_equal(sg_weights_file_path(weights, 0), scratch_path("f/model-00001-of-00002.safetensors"));
        assert_memory_equal(sg_weights_find(weights, "a")->data, data, 4);
        assert_memory_equal(sg_weights_find(weights, "b")->data, data + 4, 4);
        assert_memory_equal(sg_weights_find(weights, "stale")->data, data, 4); /* not offset 4 of the first part */
        assert_null(sg_weights_find(weights, "unlisted"));
        assert_null(sg_weights_find(weights, "c"));
        assert_string_equal(json_string_value(json_object_get(sg_weights_config(weights), "model_type")), "gpt_oss");
        sg_weights_close(weights);
    }
    struct sg_weights *weights = open_or_fail(scratch_path("f/stray.safetensors")); /* a file of its own */
    assert_null(sg_weights_config(weights));
    assert_non_null(sg_weights_find(weights, "c"));
    sg_weights_close(weights);

    write_index("{\"c\":\"stray.safetensors\"}"); /* one part */
    weights = open_or_fail(scratch_path("f"));
    assert_int_equal(sg_weights_count(weights), 1);
    sg_weights_close(weights);
}

static void test_damaged_folder(void **state)
{
    (void)state;
    char folder[256];
    snprintf(folder, sizeof folder, "%s", scratch_path("f"));
    write_folder();
    unlink(scratch_path("f/model-00002-of-00002.safetensors"));
    expect_failure(folder, SG_ENOTFOUND, "model-00002-of-00002.safetensors: missing", "index.json lists it", NULL);
    write_folder();
    write_image("f/model-00002-of-00002.safetensors", "{" T("stale", 0, 4) "}", 4);
    expect_failure(folder, SG_EFORMAT, "model-00002-of-00002.safetensors: has no tensor b",
                   "model.safetensors.index.json places it there", NULL);
    write_folder();
    truncate(scratch_path("f/model-00002-of-00002.safetensors"), 60);
    expect_failure(folder, SG_EFORMAT, "model-00002-of-00002.safetensors: ", NULL);

    write_folder();
    static const char *const bad_places[] = {
        "\"../x.safetensors\"", "\"/etc/passwd\"", "\"a/b\"", "\"\"", "\"..\"", "\".hidden\"", "7"};
    for (size_t i = 0; i < sizeof bad_places / sizeof bad_places[0]; i++) {
        char map[96];
        snprintf(map, sizeof map, "{\"a\":%s}", bad_places[i]);
        write_index(map);
        expect_failure(folder, SG_EFORMAT, "index.json: tensor a is placed in",
                       "expected a file name in the same folder", NULL);
    }
    write_index("{}");
    expect_failure(folder, SG_EFORMAT, "index.json: expected an object \"weight_map\" that is not empty", NULL);
    write_index("[]");
    expect_failure(folder, SG_EFORMAT, "expected an object \"weight_map\"", NULL);
    write_text("f/model.safetensors.index.json", "{");
    expect_failure(folder, SG_EFORMAT, "index.json: JSON, line 1", NULL);

    unlink(scratch_path("f/model.safetensors.index.json"));
    expect_failure(folder, SG_ENOTFOUND, "has neither model.safetensors nor model.safetensors.index.json", NULL);
    write_text("f/config.json", "{\"a\"");
    expect_failure(folder, SG_EFORMAT, "f/config.json: JSON, line 1", NULL);
    unlink(scratch_path("f/config.json"));
    expect_failure(folder, SG_ENOTFOUND, "f/config.json: cannot open", NULL);
    expect_failure(scratch_path("absent.safetensors"), SG_ENOTFOUND, "absent.safetensors: cannot open", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lone_file),      cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_header_length),  cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_mxfp4),          cmocka_unit_test(test_folder),
        cmocka_unit_test(test_damaged_folder),
    };
    return cmocka_run_group_tests_name("safetensors", tests, scratch_make, scratch_remove);
}
