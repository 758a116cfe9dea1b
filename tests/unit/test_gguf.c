/* GGUF: damage of every field of a small file built here byte by byte, truncation at every byte, split sets, and the
 * writer's files read back. */
#include "weights/weights_internal.h"
#include "weights_helpers.h"

#include <sys/mman.h>

/* --- a small file, with the place of each field -------------------------------------------------------- */

struct image {
    struct sg_buffer bytes;
    size_t version, tensor_count, key_count;
    size_t key_length, key_type, string_length; /* of general.architecture */
    size_t alignment_type, alignment;
    size_t item_type, array_length, item_length;                   /* of an array of strings */
    size_t numbers_length;                                         /* of an array of i32 */
    size_t name_length, name, n_dims, columns, rows, type, offset; /* of tensor "first.weight" Q8_0 [2, 64] */
    size_t second_name, second_offset;                             /* of tensor "second_weight" F32 [3] */
    size_t data;
};

static size_t number(struct image *image, uint64_t value, int n_bytes)
{
    size_t at = image->bytes.len;
    for (int i = 0; i < n_bytes; i++)
        sg_buffer_putc(&image->bytes, (char)(i < 8 ? value >> 8 * i & 255 : 0));
    return at;
}

static size_t string(struct image *image, const char *text)
{
    size_t at = number(image, strlen(text), 8);
    sg_buffer_puts(&image->bytes, text);
    return at;
}

static void key(struct image *image, const char *name, enum gguf_value type)
{
    string(image, name);
    number(image, type, 4);
}

static struct image make_image(const char *architecture, uint32_t version)
{
    struct image image = {0};
    sg_buffer_puts(&image.bytes, "GGUF");
    image.version = number(&image, version, 4);
    image.tensor_count = number(&image, 2, 8);
    image.key_count = number(&image, 12, 8);
    image.key_length = string(&image, "general.architecture");
    image.key_type = number(&image, GGUF_STRING, 4);
    image.string_length = string(&image, architecture);
    string(&image, "general.alignment");
    image.alignment_type = number(&image, GGUF_U32, 4);
    image.alignment = number(&image, 16, 4);
    key(&image, "words", GGUF_ARRAY);
    image.item_type = number(&image, GGUF_STRING, 4);
    image.array_length = number(&image, 3, 8);
    image.item_length = string(&image, "one");
    string(&image, "");
    string(&image, "three");
    key(&image, "numbers", GGUF_ARRAY);
    number(&image, GGUF_I32, 4);
    image.numbers_length = number(&image, 2, 8);
    number(&image, (uint32_t)-7, 4);
    number(&image, 8, 4);
    key(&image, "i8", GGUF_I8);
    number(&image, (uint8_t)-3, 1);
    key(&image, "u16", GGUF_U16);
    number(&image, 65535, 2);
    key(&image, "i64", GGUF_I64);
    number(&image, (uint64_t)-5, 8);
    key(&image, "u64", GGUF_U64);
    number(&image, UINT64_MAX, 8);
    key(&image, "f64", GGUF_F64);
    number(&image, 0x3ff8000000000000, 8); /* 1.5 */
    key(&image, "f32", GGUF_F32);
    number(&image, 0x3f800000, 4);
    key(&image, "bool", GGUF_BOOL);
    number(&image, 1, 1);
    key(&image, "singles", GGUF_ARRAY);
    number(&image, GGUF_F32, 4);
    number(&image, 1, 8);
    number(&image, 0xc0000000, 4); /* -2 */

    image.name_length = string(&image, "first.weight");
    image.name = image.name_length + 8;
    image.n_dims = number(&image, 2, 4);
    image.columns = number(&image, 64, 8);
    image.rows = number(&image, 2, 8);
    image.type = number(&image, 8, 4);
    image.offset = number(&image, 0, 8);
    image.second_name = string(&image, "second_weight") + 8;
    number(&image, 1, 4);
    number(&image, 3, 8);
    number(&image, 0, 4);
    image.second_offset = number(&image, 144, 8); /* 136 bytes and padding */
    number(&image, 0, (int)((16 - image.bytes.len % 16) % 16));
    image.data = image.bytes.len;
    for (int block = 0; block < 4; block++) {
        number(&image, 0x3c00, 2); /* scale 1 */
        for (int i = 0; i < 32; i++)
            number(&image, (uint64_t)(i + block), 1);
    }
    number(&image, 0, 8);
    for (int i = 0; i < 3; i++)
        number(&image, 0x3f800000 + ((uint32_t)i << 23), 4); /* 1, 2, 4 */
    assert_false(image.bytes.failed);
    return image;
}

static void patch(struct image *image, size_t at, uint64_t value, int n_bytes)
{
    assert_true(at + (size_t)n_bytes <= image->bytes.len);
    for (int i = 0; i < n_bytes; i++)
        image->bytes.data[at + (size_t)i] = (char)(value >> 8 * i & 255);
}

static void test_image(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        struct image image = make_image("llama", version);
        write_file(scratch_path("good.gguf"), image.bytes.data, image.bytes.len);
        struct sg_weights *weights = open_or_fail(scratch_path("good.gguf"));
        const struct sg_tensor *tensor = sg_weights_find(weights, "first.weight");
        assert_non_null(tensor);
        assert_int_equal(tensor->dtype, SG_Q8_0);
        assert_int_equal(tensor->n_dims, 2);
        const int64_t shape[4] = {2, 64, 1, 1};
        assert_memory_equal(tensor->shape, shape, sizeof shape);
        assert_int_equal(tensor->n_bytes, 136);
        float row[64];
        sg_dequant_row(tensor, 1, row);
        assert_true(row[0] == 2 && row[31] == 33 && row[32] == 3 && row[63] == 34);
        tensor = sg_weights_find(weights, "second_weight");
        sg_dequant_row(tensor, 0, row);
        assert_true(row[0] == 1 && row[1] == 2 && row[2] == 4);
        assert_ptr_equal(sg_weights_at(weights, 1), tensor);
        assert_null(sg_weights_find(weights, "first.weigh"));

        int64_t i;
        double d;
        bool b;
        struct sg_slice text;
        assert_true(sg_meta_int(weights, "i8", &i) && i == -3);
        assert_true(sg_meta_int(weights, "u16", &i) && i == 65535);
        assert_true(sg_meta_int(weights, "i64", &i) && i == -5);
        assert_false(sg_meta_int(weights, "u64", &i)); /* does not fit */
        assert_true(sg_meta_double(weights, "f64", &d) && d == 1.5);
        assert_true(sg_meta_double(weights, "f32", &d) && d == 1);
        assert_true(sg_meta_double(weights, "i8", &d) && d == -3);
        assert_true(sg_meta_bool(weights, "bool", &b) && b);
        assert_false(sg_meta_bool(weights, "i8", &b));
        assert_int_equal(sg_meta_array_count(weights, "words"), 3);
        assert_true(sg_meta_array_string(weights, "words", 1, &text) && text.len == 0);
        assert_true(sg_meta_array_string(weights, "words", 2, &text) && sg_slice_equal(text, sg_slice_of("three")));
        assert_false(sg_meta_array_string(weights, "numbers", 0, &text));
        assert_true(sg_meta_array_int(weights, "numbers", 0, &i) && i == -7);
        assert_false(sg_meta_array_int(weights, "words", 0, &i));
        assert_true(sg_meta_array_double(weights, "singles", 0, &d) && d == -2);
        assert_true(sg_meta_array_double(weights, "numbers", 1, &d) && d == 8);
        sg_weights_close(weights);
        sg_buffer_free(&image.bytes);
    }
}

/* --- damage --------------------------------------------------------------------------------------------- */

static void expect_damage(struct image *image, enum sg_status status, const char *what, const char *expected)
{
    const char *path = scratch_path("damaged.gguf");
    write_file(path, image->bytes.data, image->bytes.len);
    expect_failure(path, status, "damaged.gguf", what, expected, NULL);
    sg_buffer_free(&image->bytes);
}

#define DAMAGE(field, value, n_bytes, status, what, expected)                                                        \
    do {                                                                                                             \
        struct image image = make_image("llama", 3);                                                                 \
        patch(&image, image.field, value, n_bytes);                                                                  \
        expect_damage(&image, status, what, expected);                                                               \
    } while (0)

static void test_damaged_header(void **state)
{
    (void)state;
    DAMAGE(version - 4, 0x12345678, 4, SG_EFORMAT, "bytes 78 56 34 12", "expected \"GGUF\"");
    DAMAGE(version, 1, 4, SG_EUNSUPPORTED, "version is 1", "expected 2 or 3");
    DAMAGE(version, 4, 4, SG_EUNSUPPORTED, "version is 4", "expected 2 or 3");
    DAMAGE(version, 0x03000000, 4, SG_EUNSUPPORTED, "version is", "big-endian");
    DAMAGE(tensor_count, UINT64_MAX, 8, SG_ELIMIT, "tensor count at byte 8 is 18446744073709551615", "at most 65536");
    DAMAGE(tensor_count, 60000, 8, SG_EFORMAT, "tensor count at byte 8 is 60000", "hold at most");
    DAMAGE(tensor_count, 3, 8, SG_EFORMAT, "tensor name", "");
    DAMAGE(key_count, 1u << 20, 8, SG_ELIMIT, "key count at byte 16 is 1048576", "at most 65536");
    DAMAGE(key_count, 50, 8, SG_EFORMAT, "key count at byte 16 is 50", "hold at most");
    DAMAGE(key_count, 11, 8, SG_EFORMAT, "tensor singles has 9 dimensions", "expected 1 to 4");
}

static void test_damaged_keys(void **state)
{
    (void)state;
    DAMAGE(key_length, 0, 8, SG_EFORMAT, "key at byte 24 has 0 bytes", "expected 1 to 1024");
    DAMAGE(key_length, UINT64_MAX, 8, SG_EFORMAT, "key at byte 32 needs 18446744073709551615 bytes", "file has only");
    DAMAGE(key_length + 9, 0, 1, SG_EFORMAT, "key at byte 24", "NUL");
    DAMAGE(key_type, 13, 4, SG_EFORMAT, "general.architecture has value type 13", "expected 0 to 12");
    DAMAGE(string_length, UINT64_MAX - 7, 8, SG_EFORMAT, "string value", "file has only");
    DAMAGE(alignment, 0, 4, SG_EFORMAT, "general.alignment is 0", "power of two");
    DAMAGE(alignment, 48, 4, SG_EFORMAT, "general.alignment is 48", "power of two");
    DAMAGE(alignment_type, GGUF_F32, 4, SG_EFORMAT, "general.alignment is -1 (f32)", "power of two");
    DAMAGE(alignment, 0x80000000, 4, SG_EFORMAT, "first.weight needs 136 bytes", "starts at byte 2147483648");
    DAMAGE(alignment, 32, 4, SG_EFORMAT, "tensor second_weight has offset 144", "expected a multiple of 32");
    DAMAGE(item_type, 99, 4, SG_EFORMAT, "words has value type 99", "expected 0 to 12");
    DAMAGE(item_type, GGUF_ARRAY, 4, SG_EUNSUPPORTED, "words is an array of arrays", "expected");
    DAMAGE(array_length, UINT64_MAX, 8, SG_ELIMIT, "key words", "at most 16777216");
    DAMAGE(array_length, 1000, 8, SG_EFORMAT, "key words", "hold at most");
    DAMAGE(item_length, UINT64_MAX, 8, SG_EFORMAT, "key words, element 0", "file has only");
    DAMAGE(numbers_length, 1u << 24, 8, SG_EFORMAT, "key numbers", "hold at most");

    struct image image = make_image("llama", 3);
    char *i64 = memmem(image.bytes.data, image.bytes.len, "i64", 3);
    memcpy(i64, "u16", 3);
    expect_damage(&image, SG_EFORMAT, "key u16 occurs twice", "expected once");
}

static void test_damaged_tensors(void **state)
{
    (void)state;
    DAMAGE(name_length, 0, 8, SG_EFORMAT, "tensor name at byte", "expected 1 to 1024");
    DAMAGE(name_length, 5000, 8, SG_EFORMAT, "tensor name at byte", "needs 5000 bytes");
    DAMAGE(name + 2, 0, 1, SG_EFORMAT, "tensor name at byte", "NUL");
    DAMAGE(n_dims, 0, 4, SG_EFORMAT, "tensor first.weight has 0 dimensions", "expected 1 to 4");
    DAMAGE(n_dims, 5, 4, SG_EFORMAT, "tensor first.weight has 5 dimensions", "expected 1 to 4");
    DAMAGE(columns, 0, 8, SG_EFORMAT, "first.weight: dimension 0 is 0", "expected 1 to");
    DAMAGE(columns, UINT64_MAX, 8, SG_EFORMAT, "first.weight: dimension 0 is 18446744073709551615", "expected 1 to");
    DAMAGE(columns, 65, 8, SG_EFORMAT, "first.weight: rows have 65 values", "multiple of 32 for Q8_0");
    DAMAGE(columns, 96, 8, SG_EFORMAT, "first.weight needs 204 bytes at offset 0", "the file has");
    DAMAGE(rows, 1ull << 60, 8, SG_EFORMAT, "first.weight: shape [1152921504606846976, 64, 1, 1]", "overflows");
    DAMAGE(rows, 1 << 20, 8, SG_EFORMAT, "first.weight needs 71303168 bytes at offset 0", "the file has");
    DAMAGE(type, 10, 4, SG_EUNSUPPORTED, "first.weight has type 10 (Q2_K)", "expected F32");
    DAMAGE(type, 77, 4, SG_EUNSUPPORTED, "first.weight has type 77 (unknown)", "expected F32");
    DAMAGE(type, 4, 4, SG_EUNSUPPORTED, "first.weight has type 4 (Q4_2)", "expected F32"); /* not gpt-oss */
    DAMAGE(offset, 8, 8, SG_EFORMAT, "first.weight has offset 8", "multiple of 16");
    DAMAGE(offset, 16, 8, SG_EFORMAT, "second_weight starts at offset 144", "inside tensor first.weight");
    DAMAGE(offset, UINT64_MAX - 15, 8, SG_EFORMAT, "first.weight needs 136 bytes at offset", "the file has");
    DAMAGE(second_offset, 160, 8, SG_EFORMAT, "second_weight needs 12 bytes at offset 160", "the file has");
    DAMAGE(second_offset, 128, 8, SG_EFORMAT, "second_weight starts at offset 128", "first.weight (ends at 136)");
    DAMAGE(second_offset, 0, 8, SG_EFORMAT, "inside tensor", "starts at offset 0");

    struct image image = make_image("llama", 3); /* as F32: the values fit in 63 bits, their bytes not in 64 */
    patch(&image, image.rows, INT64_MAX / 64, 8);
    patch(&image, image.type, 0, 4);
    expect_damage(&image, SG_EFORMAT, "first.weight: shape", "overflows 64 bits");

    image = make_image("gptoss", 3); /* type 4 is MXFP4 here, 17 bytes a block */
    patch(&image, image.type, 4, 4);
    write_file(scratch_path("type4.gguf"), image.bytes.data, image.bytes.len);
    struct sg_weights *weights = open_or_fail(scratch_path("type4.gguf"));
    assert_int_equal(sg_weights_find(weights, "first.weight")->dtype, SG_MXFP4_T4);
    assert_int_equal(sg_weights_find(weights, "first.weight")->n_bytes, 68);
    sg_weights_close(weights);
    sg_buffer_free(&image.bytes);
}

static void test_duplicate_tensor(void **state)
{
    (void)state;
    struct image image = make_image("llama", 3);
    char *name = image.bytes.data + image.second_name; /* 13 bytes; give the first the same */
    struct sg_buffer longer = {0};
    sg_buffer_append(&longer, image.bytes.data, image.name);
    sg_buffer_append(&longer, name, 13);
    sg_buffer_append(&longer, image.bytes.data + image.n_dims, image.bytes.len - image.n_dims);
    sg_buffer_free(&image.bytes);
    image.bytes = longer;
    patch(&image, image.name_length, 13, 8);
    number(&image, 0, 16); /* the data section may have moved by one step of the alignment */
    expect_damage(&image, SG_EFORMAT, "tensor second_weight occurs twice", "expected once");
}

/* At the end of a page that nothing follows: a read past the end is a crash. */
static void test_truncated_everywhere(void **state)
{
    (void)state;
    struct image image = make_image("llama", 3);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = image.bytes.len;
    assert_true(size <= page);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
    for (size_t len = 0; len <= size; len++) {
        char *bytes = pages + page - len;
        memcpy(bytes, image.bytes.data, len);
        struct sg_weights *weights;
        struct sg_error err = {0};
        enum sg_status status = sg_weights_open_memory(SG_WEIGHTS_GGUF, "memory", bytes, len, &weights, &err);
        assert_int_equal(status, len < size ? SG_EFORMAT : SG_OK);
        if (len < size)
            expect_text(err.text, "memory: ");
        sg_weights_close(weights);
    }
    /* Every byte set to other values: any status, but no crash, and the tensors that are found can be read. */
    char *bytes = pages + page - size;
    memcpy(bytes, image.bytes.data, size);
    for (size_t i = 0; i < size; i++) {
        static const uint8_t flips[] = {0x01, 0x80, 0xff, 0x7f};
        for (size_t k = 0; k < sizeof flips; k++) {
            bytes[i] = (char)(image.bytes.data[i] ^ flips[k]);
            struct sg_weights *weights;
            if (sg_weights_open_memory(SG_WEIGHTS_GGUF, "memory", bytes, size, &weights, NULL) == SG_OK) {
                for (size_t t = 0; t < sg_weights_count(weights); t++) {
                    float row[512];
                    sg_dequant_row(sg_weights_at(weights, t), 0, row);
                }
            }
            sg_weights_close(weights);
        }
        bytes[i] = image.bytes.data[i];
    }
    munmap(pages, 2 * page);
    sg_buffer_free(&image.bytes);
}

static void test_no_file(void **state)
{
    (void)state;
    expect_failure(scratch_path("absent.gguf"), SG_ENOTFOUND, "absent.gguf", "cannot open", NULL);
    write_file(scratch_path("empty.gguf"), "", 0);
    expect_failure(scratch_path("empty.gguf"), SG_EFORMAT, "empty.gguf: header at byte 0 needs 24 bytes", "only 0",
                   NULL);
}

/* --- the writer ------------------------------------------------------------------------------------------ */

static void finish(struct sg_gguf_writer *writer)
{
    struct sg_error err = {0};
    if (sg_gguf_finish(writer, &err) != SG_OK)
        fail_msg("%s", err.text);
}

static struct sg_gguf_writer *create(const char *path)
{
    struct sg_error err = {0};
    struct sg_gguf_writer *writer = sg_gguf_create(path, &err);
    if (!writer)
        fail_msg("%s", err.text);
    return writer;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct image image = make_image("llama", 3);
    write_file(scratch_path("source.gguf"), image.bytes.data, image.bytes.len);
    struct sg_weights *source = open_or_fail(scratch_path("source.gguf"));
    struct sg_gguf_writer *writer = create(scratch_path("copy.gguf"));
    sg_gguf_put_all(writer, source, "sin");
    sg_gguf_put_u32(writer, "new.u32", 4000000000u);
    sg_gguf_put_f32(writer, "new.f32", -0.5f);
    sg_gguf_put_bool(writer, "new.bool", true);
    sg_gguf_put_string(writer, "new.string", (struct sg_slice){"a\0b", 3});
    const struct sg_slice words[] = {{"x", 1}, {"", 0}, {"yz", 2}};
    sg_gguf_put_strings(writer, "new.strings", words, 3);
    const int32_t ints[] = {INT32_MIN, 0, 5};
    sg_gguf_put_ints(writer, "new.ints", ints, 3);
    const int64_t odd[] = {5, 3, 7}, blocks[] = {2, 32};
    sg_gguf_declare(writer, "odd", SG_F16, 3, odd);
    sg_gguf_declare(writer, "hole", SG_MXFP4, 2, blocks);
    sg_gguf_declare(writer, "last", SG_BF16, 1, odd + 2);
    uint8_t bytes[210];
    for (int i = 0; i < 210; i++)
        bytes[i] = (uint8_t)(i + 1);
    assert_int_equal(sg_gguf_write(writer, bytes, 100, NULL), SG_OK);
    assert_int_equal(sg_gguf_write(writer, bytes + 100, 110, NULL), SG_OK);
    assert_int_equal(sg_gguf_skip(writer, 34, NULL), SG_OK);
    assert_int_equal(sg_gguf_skip(writer, 14, NULL), SG_OK); /* the file ends in a hole */
    finish(writer);

    struct sg_weights *copy = open_or_fail(scratch_path("copy.gguf"));
    int64_t i;
    double d;
    bool b;
    struct sg_slice text;
    assert_true(sg_meta_int(copy, "i8", &i) && i == -3);
    assert_true(sg_meta_array_string(copy, "words", 2, &text) && sg_slice_equal(text, sg_slice_of("three")));
    assert_int_equal(sg_meta_array_count(copy, "singles"), -1); /* left out */
    assert_false(sg_meta_int(copy, "general.alignment", &i));
    assert_true(sg_meta_int(copy, "new.u32", &i) && i == 4000000000);
    assert_true(sg_meta_double(copy, "new.f32", &d) && d == -0.5);
    assert_true(sg_meta_bool(copy, "new.bool", &b) && b);
    assert_true(sg_meta_string(copy, "new.string", &text) && text.len == 3 && memcmp(text.ptr, "a\0b", 3) == 0);
    assert_true(sg_meta_array_string(copy, "new.strings", 2, &text) && sg_slice_equal(text, words[2]));
    assert_true(sg_meta_array_int(copy, "new.ints", 0, &i) && i == INT32_MIN);
    const struct sg_tensor *tensor = sg_weights_find(copy, "odd");
    assert_memory_equal(tensor->shape, odd, sizeof odd);
    assert_int_equal(tensor->n_bytes, 210);
    assert_memory_equal(tensor->data, bytes, 210);
    static const uint8_t zeros[34];
    assert_memory_equal(sg_weights_find(copy, "hole")->data, zeros, 34);
    assert_int_equal(sg_weights_find(copy, "last")->n_bytes, 14);
    sg_weights_close(copy);
    sg_weights_close(source);
    sg_buffer_free(&image.bytes);
}

/* Each misuse is told, and leaves no file behind. */
static void test_writer_misuse(void **state)
{
    (void)state;
    const char *path = scratch_path("misuse.gguf");
    const int64_t three[] = {3}, eight[] = {8};
    struct sg_error err;
    for (int misuse = 0; misuse < 6; misuse++) {
        static const struct {
            enum sg_status status;
            const char *text;
        } expected[] = {{SG_EINVALID, "tensor t: 0 bytes written, expected 12"},
                        {SG_EINVALID, "tensor t: 13 bytes more after 0, expected 12"},
                        {SG_EINVALID, "4 bytes after the last of 1 tensors"},
                        {SG_EFORMAT, "rows have 8 values, expected a multiple of 32"},
                        {SG_EUNSUPPORTED, "GGUF has no type for U8"},
                        {SG_EINVALID, "key late: put after the first"}};
        struct sg_gguf_writer *writer = create(path);
        sg_gguf_declare(writer, "t", SG_F32, 1, three);
        uint8_t bytes[16] = {0};
        enum sg_status status = SG_OK;
        if (misuse == 1)
            status = sg_gguf_write(writer, bytes, 13, &err);
        if (misuse == 2 && sg_gguf_write(writer, bytes, 12, &err) == SG_OK)
            status = sg_gguf_write(writer, bytes, 4, &err);
        if (misuse == 3)
            sg_gguf_declare(writer, "q", SG_Q4_0, 1, eight);
        if (misuse == 4)
            sg_gguf_declare(writer, "u", SG_U8, 1, eight);
        if (misuse == 5 && sg_gguf_write(writer, bytes, 12, &err) == SG_OK)
            sg_gguf_put_u32(writer, "late", 1);
        if (misuse == 1 || misuse == 2)
            assert_int_equal(status, expected[misuse].status);
        assert_int_equal(sg_gguf_finish(writer, &err), expected[misuse].status);
        expect_text(err.text, "misuse.gguf: ");
        expect_text(err.text, expected[misuse].text);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    assert_null(sg_gguf_create(scratch_path("no/such/folder.gguf"), &err));
    assert_int_equal(err.code, SG_ENOTFOUND);
}

/* --- split sets ------------------------------------------------------------------------------------------- */

/* Part `no` of `count` with one F32 tensor "t<no>" of value no; `said_*` is what its keys say. */
static void write_part(const char *path, int no, int said_no, int said_count, int said_tensors)
{
    struct sg_gguf_writer *writer = create(path);
    if (no == 1)
        sg_gguf_put_string(writer, "general.architecture", sg_slice_of("gptoss"));
    if (said_count >= 0) {
        sg_gguf_put_u32(writer, "split.no", (uint32_t)said_no);
        sg_gguf_put_u32(writer, "split.count", (uint32_t)said_count);
        sg_gguf_put_u32(writer, "split.tensors.count", (uint32_t)said_tensors);
    }
    char name[16];
    snprintf(name, sizeof name, "t%d", no);
    const int64_t shape[] = {1, 32};
    sg_gguf_declare(writer, name, SG_MXFP4_T4, 2, shape);
    uint8_t block[17] = {127};
    memset(block + 1, no * 17, 16);
    assert_int_equal(sg_gguf_write(writer, block, 17, NULL), SG_OK);
    finish(writer);
}

static const char *part(int no)
{
    char name[64];
    snprintf(name, sizeof name, "set-%05d-of-00003.gguf", no);
    return scratch_path(name);
}

static void write_set(void)
{
    for (int no = 1; no <= 3; no++)
        write_part(part(no), no, no - 1, 3, 3);
}

static void test_split(void **state)
{
    (void)state;
    write_set();
    for (int opened = 1; opened <= 3; opened++) {
        struct sg_weights *weights = open_or_fail(part(opened));
        assert_int_equal(sg_weights_count(weights), 3);
        assert_int_equal(sg_weights_file_count(weights), 3);
        for (int no = 1; no <= 3; no++) {
            char name[16];
            snprintf(name, sizeof name, "t%d", no);
            static const float codes[] = {0, 0.5f, 1, 1.5f};
            float row[32];
            sg_dequant_row(sg_weights_find(weights, name), 0, row);
            assert_true(row[31] == codes[no]);
            assert_string_equal(sg_weights_file_path(weights, (size_t)no - 1), part(no));
        }
        struct sg_slice text;
        assert_true(sg_meta_string(weights, "general.architecture", &text));
        sg_weights_close(weights);
    }
    /* One part that calls itself the whole set is a plain file. */
    write_part(scratch_path("one-00001-of-00001.gguf"), 1, 0, 1, 1);
    sg_weights_close(open_or_fail(scratch_path("one-00001-of-00001.gguf")));
}

static void test_split_damage(void **state)
{
    (void)state;
    for (int no = 1; no <= 3; no++) { /* missing; the first is told when another is opened, too */
        write_set();
        assert_int_equal(unlink(part(no)), 0);
        for (int opened = 1; opened <= 3; opened++) {
            char text[64];
            snprintf(text, sizeof text,
                     opened == no ? "set-%05d-of-00003.gguf: cannot open"
                                  : "set-%05d-of-00003.gguf: part %d of 3 is missing",
                     no, no);
            expect_failure(part(opened), SG_ENOTFOUND, text, NULL);
        }
    }
    write_set();
    assert_int_equal(rename(part(2), scratch_path("aside")), 0); /* swapped */
    assert_int_equal(rename(part(3), part(2)), 0);
    assert_int_equal(rename(scratch_path("aside"), part(3)), 0);
    expect_failure(part(1), SG_EFORMAT, "set-00002-of-00003.gguf: split.no is 2, expected 1", NULL);
    write_set();
    write_part(part(2), 2, 1, 4, 3);
    expect_failure(part(3), SG_EFORMAT, "set-00002-of-00003.gguf: split.count is 4, expected 3", NULL);
    write_part(part(2), 2, 1, 3, 9);
    expect_failure(part(3), SG_EFORMAT, "set-00002-of-00003.gguf: split.tensors.count is 9, expected 3", NULL);
    write_part(part(2), 2, 0, -1, 0);
    expect_failure(part(3), SG_EFORMAT, "set-00002-of-00003.gguf: key split.no is missing, expected 1", NULL);
    write_part(part(2), 1, 1, 3, 3); /* holds t1 */
    expect_failure(part(1), SG_EFORMAT, "tensor t1 occurs twice", "set-00001", "set-00002", NULL);
    for (int no = 1; no <= 3; no++)
        write_part(part(no), no, no - 1, 3, 4);
    expect_failure(part(1), SG_EFORMAT, "the 3 parts hold 3 tensors, expected 4", NULL);
    write_set();
    assert_int_equal(truncate(part(3), 100), 0);
    expect_failure(part(1), SG_EFORMAT, "set-00003-of-00003.gguf", "file has only", NULL);
    write_part(scratch_path("renamed.gguf"), 1, 0, 3, 3);
    expect_failure(scratch_path("renamed.gguf"), SG_EFORMAT, "renamed.gguf: split.count is 3", "00001-of-00003",
                   NULL);
    write_part(scratch_path("set-00004-of-00003.gguf"), 1, 3, 3, 3);
    expect_failure(scratch_path("set-00004-of-00003.gguf"), SG_EFORMAT, "named part 4 of 3", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_damaged_header),
        cmocka_unit_test(test_damaged_keys),
        cmocka_unit_test(test_damaged_tensors),
        cmocka_unit_test(test_duplicate_tensor),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_writer_misuse),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_damage),
    };
    return cmocka_run_group_tests_name("gguf", tests, scratch_make, scratch_remove);
}
