/* Batch input: encodings, ids and the order of rows. The formats are in input_csv.c and input_jsonl.c. */
#include "input/input_rows.h"

#include "base/file.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <strings.h>

static bool starts(const struct sg_buffer *text, const char *bytes, size_t n)
{
    return text->len >= n && memcmp(text->data, bytes, n) == 0;
}

static int32_t unit(const unsigned char *bytes, bool big)
{
    return big ? bytes[0] << 8 | bytes[1] : bytes[1] << 8 | bytes[0];
}

/* UTF-16 behind its mark → UTF-8 in place. */
static enum sg_status from_utf16(struct sg_input *input, bool big, struct sg_error *err)
{
    struct sg_buffer *text = &input->text, out = {0};
    const unsigned char *bytes = (const unsigned char *)text->data;
    size_t n_broken = 0;
    if (text->len % 2)
        return sg_fail(err, SG_EFORMAT, "%s: UTF-16 of %zu bytes, expected an even number", input->name, text->len);
    for (size_t i = 2; i < text->len; i += 2) {
        int32_t code = unit(bytes + i, big);
        if (code >= 0xd800 && code <= 0xdbff && i + 3 < text->len) {
            int32_t low = unit(bytes + i + 2, big);
            if (low >= 0xdc00 && low <= 0xdfff) {
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                i += 2;
            }
        }
        if (code >= 0xd800 && code <= 0xdfff) {
            n_broken++;
            code = 0xfffd;
        }
        sg_utf8_encode(code, &out);
    }
    sg_buffer_printf(&input->notes, "read as UTF-16 %s endian\n", big ? "big" : "little");
    if (n_broken)
        sg_buffer_printf(&input->notes, "%zu unpaired surrogates were replaced by U+FFFD\n", n_broken);
    sg_buffer_free(text);
    *text = out;
    return sg_buffer_status(text, err);
}

/* Settle the encoding: UTF-8 without a mark remains, or an error that names what the bytes look like. */
static enum sg_status settle_encoding(struct sg_input *input, struct sg_error *err)
{
    struct sg_buffer *text = &input->text;
    static const struct {
        const char *bytes;
        size_t n;
        const char *what;
    } refused[] = {
        {"\xff\xfe\0\0", 4, "UTF-32; save it as UTF-8"},
        {"\0\0\xfe\xff", 4, "UTF-32; save it as UTF-8"},
        {"\x1f\x8b", 2, "compressed with gzip more than once; decompress it first"},
        {"\x28\xb5\x2f\xfd", 4, "compressed with zstd; decompress it first"},
        {"PK\3\4", 4, "a zip file or a workbook; save the sheet as CSV in UTF-8"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (starts(text, refused[i].bytes, refused[i].n))
            return sg_fail(err, SG_EFORMAT, "%s: this is %s", input->name, refused[i].what);
    if (starts(text, "\xff\xfe", 2) || starts(text, "\xfe\xff", 2))
        return from_utf16(input, text->data[0] == '\xfe', err);
    if (starts(text, "\xef\xbb\xbf", 3)) {
        text->len -= 3;
        memmove(text->data, text->data + 3, text->len + 1);
    }
    size_t head = text->len < 4 ? text->len : 4;
    if (head && memchr(text->data, '\0', head))
        return sg_fail(err, SG_EFORMAT,
                       "%s: NUL bytes at the start: UTF-16 without a byte order mark? Save it as UTF-8", input->name);
    if (text->len && memchr(text->data, '\r', text->len) && !memchr(text->data, '\n', text->len))
        return sg_fail(err, SG_EFORMAT, "%s: lines end in CR alone, expected LF or CRLF", input->name);
    return SG_OK;
}

enum sg_status sg_input_add(struct sg_input *input, size_t offset, size_t len, size_t line, const struct sg_slice *id,
                            struct sg_error *err)
{
    if (input->n == SG_INPUT_MAX_ROWS)
        return sg_fail(err, SG_ELIMIT, "%s: more than the limit of %d rows", input->name, SG_INPUT_MAX_ROWS);
    if (input->n == input->cap) {
        size_t cap = input->cap ? 2 * input->cap : 256;
        struct record *records = realloc(input->records, cap * sizeof *records);
        if (!records)
            return sg_fail(err, SG_ENOMEM, "%s: out of memory after %zu rows", input->name, input->n);
        input->records = records;
        input->cap = cap;
    }
    struct record *record = &input->records[input->n++];
    *record = (struct record){offset, len, line, NO_ID};
    if (!id)
        return SG_OK;
    record->id = input->ids.len;
    sg_buffer_append(&input->ids, id->ptr, id->len);
    sg_buffer_putc(&input->ids, '\0');
    return sg_buffer_status(&input->ids, err);
}

enum sg_status sg_input_check_id(struct sg_slice id, struct sg_error *err)
{
    if (id.len == 0)
        return sg_fail(err, SG_EFORMAT, "the id is empty");
    if (id.len > SG_INPUT_MAX_ID)
        return sg_fail(err, SG_ELIMIT, "the id has %zu bytes, the limit is %d", id.len, SG_INPUT_MAX_ID);
    if (memchr(id.ptr, '\0', id.len) || !sg_utf8_valid(id))
        return sg_fail(err, SG_EFORMAT, "the id is not UTF-8 text");
    return SG_OK;
}

static int compare_ids(const void *a, const void *b, void *context)
{
    const struct sg_input *input = context;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    int order = strcmp(input->ids.data + input->records[i].id, input->ids.data + input->records[j].id);
    return order ? order : (i > j) - (i < j);
}

/* Sorted rather than hashed, so that no choice of ids makes it slow. */
static enum sg_status refuse_doubled_ids(struct sg_input *input, struct sg_error *err)
{
    size_t n = 0, n_doubled = 0, *order = malloc((input->n + 1) * sizeof *order);
    const struct record *first = NULL, *second = NULL;
    if (!order)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory for %zu ids", input->name, input->n);
    for (size_t i = 0; i < input->n; i++)
        if (input->records[i].id != NO_ID)
            order[n++] = i;
    qsort_r(order, n, sizeof *order, compare_ids, input);
    input->by_id = order;
    input->n_by_id = n;
    for (size_t i = 1; i < n; i++) {
        const struct record *a = &input->records[order[i - 1]], *b = &input->records[order[i]];
        if (strcmp(input->ids.data + a->id, input->ids.data + b->id) != 0)
            continue;
        n_doubled++;
        if (!second || b->line < second->line) {
            first = a;
            second = b;
        }
    }
    if (!second)
        return SG_OK;
    return sg_fail(err, SG_EFORMAT, "%s: id \"%.64s\" stands in line %zu and in line %zu (%zu doubled in all)",
                   input->name, input->ids.data + first->id, first->line, second->line, n_doubled);
}

static bool ends(const char *name, size_t len, const char *ending)
{
    size_t n = strlen(ending);
    return len >= n && strncasecmp(name + len - n, ending, n) == 0;
}

static enum sg_status settle_format(struct sg_input *input, struct sg_error *err)
{
    if (input->options.format != SG_INPUT_BY_NAME)
        return SG_OK;
    size_t len = strlen(input->name);
    if (ends(input->name, len, ".gz"))
        len -= 3;
    bool tabs = ends(input->name, len, ".tsv");
    if (ends(input->name, len, ".jsonl") || ends(input->name, len, ".ndjson")) {
        input->options.format = SG_INPUT_JSONL;
    } else if (tabs || ends(input->name, len, ".csv")) {
        input->options.format = SG_INPUT_CSV;
        if (tabs && !input->options.separator)
            input->options.separator = '\t';
    } else {
        return sg_fail(err, SG_EINVALID,
                       "%s: the name ends in none of .jsonl, .ndjson, .csv, .tsv; say --format jsonl or csv",
                       input->name);
    }
    return SG_OK;
}

static enum sg_status read_rows(struct sg_input *input, struct sg_error *err)
{
    enum sg_status status = settle_format(input, err);
    if (status == SG_OK)
        status = sg_gz_inflate(input->name, &input->text, err);
    if (status == SG_OK)
        status = settle_encoding(input, err);
    if (status != SG_OK)
        return status;
    size_t at = 0, line = 1;
    for (; line <= (size_t)input->options.skip_lines; line++) {
        const char *end = at < input->text.len ? memchr(input->text.data + at, '\n', input->text.len - at) : NULL;
        if (!end)
            return sg_fail(err, SG_EINVALID, "%s: %zu lines, but %d were to be skipped", input->name, line - 1,
                           input->options.skip_lines);
        at = (size_t)(end + 1 - input->text.data);
    }
    status = input->options.format == SG_INPUT_CSV ? sg_csv_index(input, at, line, err)
                                                   : sg_jsonl_index(input, at, line, err);
    if (status == SG_OK && input->n == 0)
        status = sg_fail(err, SG_EFORMAT, "%s: no rows", input->name);
    if (status == SG_OK)
        status = refuse_doubled_ids(input, err);
    if (status == SG_OK)
        status = sg_buffer_status(&input->notes, err);
    return status;
}

/* Takes the bytes out of `text`. */
static enum sg_status open_text(const char *name, struct sg_buffer *text, const struct sg_input_options *options,
                                struct sg_input **input_out, struct sg_error *err)
{
    *input_out = NULL;
    struct sg_input *input = calloc(1, sizeof *input);
    if (input)
        input->fields = calloc(2, sizeof *input->fields);
    if (!input || !input->fields) {
        free(input);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    }
    input->header = input->fields + 1;
    input->name = name;
    input->options = *options;
    input->text = *text;
    *text = (struct sg_buffer){0};
    enum sg_status status = read_rows(input, err);
    input->name = NULL; /* borrowed until here */
    if (status == SG_OK)
        *input_out = input;
    else
        sg_input_close(input);
    return status;
}

enum sg_status sg_input_open(const char *path, const struct sg_input_options *options, struct sg_input **input_out,
                             struct sg_error *err)
{
    struct sg_buffer text = {0};
    *input_out = NULL;
    enum sg_status status = sg_file_read(path, SG_INPUT_MAX_BYTES, &text, err);
    if (status == SG_OK)
        status = open_text(strcmp(path, "-") == 0 ? "standard input" : path, &text, options, input_out, err);
    sg_buffer_free(&text);
    return status;
}

enum sg_status sg_input_parse(const char *name, const char *bytes, size_t len, const struct sg_input_options *options,
                              struct sg_input **input_out, struct sg_error *err)
{
    struct sg_buffer text = {0};
    *input_out = NULL;
    sg_buffer_append(&text, bytes, len);
    enum sg_status status = sg_buffer_status(&text, err);
    if (status == SG_OK)
        status = open_text(name, &text, options, input_out, err);
    sg_buffer_free(&text);
    return status;
}

void sg_input_close(struct sg_input *input)
{
    if (!input)
        return;
    sg_buffer_free(&input->text);
    sg_buffer_free(&input->ids);
    sg_buffer_free(&input->notes);
    sg_buffer_free(&input->row);
    sg_buffer_free(&input->fields->text);
    sg_buffer_free(&input->header->text);
    free(input->fields);
    json_decref(input->object);
    free(input->records);
    free(input->by_id);
    free(input);
}

size_t sg_input_count(const struct sg_input *input)
{
    return input->n;
}

bool sg_input_find(const struct sg_input *input, const char *id, size_t *row_out)
{
    for (size_t low = 0, high = input->n_by_id; low < high;) {
        size_t middle = low + (high - low) / 2, row = input->by_id[middle];
        int order = strcmp(id, input->ids.data + input->records[row].id);
        if (order == 0) {
            *row_out = row;
            return true;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

const char *sg_input_notes(const struct sg_input *input)
{
    return sg_buffer_text(&input->notes);
}

enum sg_status sg_input_row(struct sg_input *input, size_t i, struct sg_input_row *row_out, struct sg_error *err)
{
    const struct record *record = &input->records[i];
    *row_out = (struct sg_input_row){.row = i + 1, .line = record->line};
    if (record->id != NO_ID)
        row_out->id = input->ids.data + record->id;
    sg_buffer_clear(&input->row);
    return input->options.format == SG_INPUT_CSV ? sg_csv_row(input, record, row_out, err)
                                                 : sg_jsonl_row(input, record, row_out, err);
}
