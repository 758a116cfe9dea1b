/* CSV after RFC 4180: quoted fields with doubled quotes and newlines in them, LF or CRLF, one header line. */
#include "input/input_rows.h"

#include "base/utf8.h"

#include <stdio.h>

#define LOOK_AHEAD 20 /* lines below the first that are looked at for a header, to name it in the error */

struct csv {
    const char *text;
    size_t len, at, line;
    char separator;
};

static void end_field(struct csv_fields *fields)
{
    if (fields->n < SG_INPUT_MAX_COLUMNS)
        fields->ends[fields->n] = fields->text.len;
    else
        fields->bad = "too many fields";
    fields->n++;
}

struct sg_slice sg_csv_field(const struct csv_fields *fields, size_t i)
{
    size_t start = i ? fields->ends[i - 1] : 0;
    return (struct sg_slice){sg_buffer_text(&fields->text) + start, fields->ends[i] - start};
}

/* Read a quoted field whose opening quote stands at csv->at. */
static enum sg_status read_quoted(struct csv *csv, struct csv_fields *fields, struct sg_error *err)
{
    size_t opened = csv->line;
    csv->at++;
    for (;;) {
        const char *rest = csv->text + csv->at;
        const char *quote = csv->at < csv->len ? memchr(rest, '"', csv->len - csv->at) : NULL;
        if (!quote)
            return sg_fail(err, SG_EFORMAT, "line %zu: a quote opens here and never closes", opened);
        size_t n = (size_t)(quote - rest);
        for (size_t i = 0; i < n; i++)
            csv->line += rest[i] == '\n';
        sg_buffer_append(&fields->text, rest, n);
        csv->at += n + 1;
        if (csv->at >= csv->len || csv->text[csv->at] != '"')
            return SG_OK;
        sg_buffer_putc(&fields->text, '"');
        csv->at++;
    }
}

/* Read one record and the end of its line. What is wrong with this record alone lands in fields->bad; an error is
 * for the whole file. */
static enum sg_status read_record(struct csv *csv, struct csv_fields *fields, struct sg_error *err)
{
    sg_buffer_clear(&fields->text);
    fields->n = 0;
    fields->bad = NULL;
    for (;;) {
        if (csv->at < csv->len && csv->text[csv->at] == '"') {
            enum sg_status status = read_quoted(csv, fields, err);
            if (status != SG_OK)
                return status;
            char next = csv->at < csv->len ? csv->text[csv->at] : '\n';
            if (next != csv->separator && next != '\n' && next != '\r')
                fields->bad = "text follows a closing quote";
        }
        size_t start = csv->at;
        while (csv->at < csv->len && csv->text[csv->at] != csv->separator && csv->text[csv->at] != '\n')
            csv->at++;
        bool ends = csv->at == csv->len || csv->text[csv->at] == '\n';
        size_t n = csv->at - start;
        if (ends && n && csv->text[csv->at - 1] == '\r')
            n--;
        sg_buffer_append(&fields->text, csv->text + start, n);
        end_field(fields);
        csv->at += csv->at < csv->len;
        if (ends)
            break;
    }
    csv->line++;
    return sg_buffer_status(&fields->text, err);
}

static bool is_blank(const struct csv_fields *fields)
{
    return fields->n == 1 && fields->text.len == 0;
}

/* Number of columns of that name; *column_out is the first. */
static size_t find_column(const struct csv_fields *fields, const char *name, size_t *column_out)
{
    size_t found = 0;
    for (size_t i = 0; i < fields->n && i < SG_INPUT_MAX_COLUMNS; i++)
        if (sg_slice_equal(sg_csv_field(fields, i), sg_slice_of(name)) && found++ == 0)
            *column_out = i;
    return found;
}

static const char *separator_name(char separator)
{
    return separator == ',' ? "comma" : separator == ';' ? "semicolon" : "tab";
}

/* Which separators does the header line have outside quotes? */
static enum sg_status settle_separator(struct sg_input *input, const struct csv *csv, struct sg_error *err)
{
    static const char separators[] = {',', ';', '\t'};
    char found = 0;
    bool quoted = false;
    for (size_t i = csv->at; i < csv->len && (quoted || csv->text[i] != '\n'); i++) {
        char c = csv->text[i];
        quoted ^= c == '"';
        if (quoted || !memchr(separators, c, sizeof separators) || c == found)
            continue;
        if (found)
            return sg_fail(err, SG_EFORMAT,
                           "line %zu: the header has both %s and %s between its words; say --separator comma, "
                           "semicolon or tab",
                           csv->line, separator_name(found), separator_name(c));
        found = c;
    }
    input->options.separator = found ? found : ',';
    if (found && found != ',')
        sg_buffer_printf(&input->notes, "columns are separated by %s\n", separator_name(found));
    return SG_OK;
}

/* A line "sep=;", which spreadsheets write above the header. */
static void take_separator_line(struct sg_input *input, struct csv *csv)
{
    const char *at = csv->text + csv->at;
    size_t left = csv->len - csv->at;
    if (input->options.separator || left < 6 || memcmp(at, "sep=", 4) != 0 || !strchr(",;\t", at[4]))
        return;
    size_t n = 5 + (at[5] == '\r');
    if (n >= left || at[n] != '\n')
        return;
    input->options.separator = at[4];
    sg_buffer_printf(&input->notes, "line %zu says that columns are separated by %s\n", csv->line,
                     separator_name(at[4]));
    csv->at += n + 1;
    csv->line++;
}

/* The text column is not in the header line: is it in a line below, or is its name another one? */
static enum sg_status no_text_column(struct sg_input *input, struct csv below, size_t line, size_t first_line,
                                     const char *name, struct csv_fields *fields, struct sg_error *err)
{
    struct sg_buffer names = {0};
    for (size_t i = 0; i < fields->n && i < 24; i++) {
        struct sg_slice column = sg_csv_field(fields, i);
        bool plain = column.len > 0 && column.len <= 32 && sg_utf8_valid(column);
        sg_buffer_printf(&names, "%s", i ? ", " : "");
        if (plain)
            sg_buffer_append(&names, column.ptr, column.len);
        else
            sg_buffer_printf(&names, "(%zu bytes)", column.len);
    }
    for (int i = 0; i < LOOK_AHEAD && below.at < below.len; i++) {
        size_t found_line = below.line, column;
        static const char separators[] = {',', ';', '\t'};
        for (size_t k = 0; k < sizeof separators; k++) {
            struct csv probe = below;
            probe.separator = separators[k];
            if (read_record(&probe, fields, NULL) == SG_OK && !fields->bad && find_column(fields, name, &column)) {
                sg_buffer_free(&names);
                return sg_fail(err, SG_EFORMAT,
                               "line %zu is not the header: the column \"%s\" is in line %zu; say --skip-lines %zu",
                               line, name, found_line, found_line - first_line + (size_t)input->options.skip_lines);
            }
        }
        const char *end = memchr(below.text + below.at, '\n', below.len - below.at);
        below.at = end ? (size_t)(end + 1 - below.text) : below.len;
        below.line++;
    }
    enum sg_status status = sg_fail(
        err, SG_EINVALID, "line %zu: no column \"%s\" among the %zu of the header (%s); say --text-field NAME", line,
        name, fields->n, sg_buffer_text(&names));
    sg_buffer_free(&names);
    return status;
}

/* Keep the header, and let the caller choose by its names. */
static enum sg_status settle_columns(struct sg_input *input, size_t line, struct sg_error *err)
{
    const struct csv_fields *fields = input->fields;
    struct sg_slice names[SG_INPUT_MAX_COLUMNS];
    sg_buffer_clear(&input->header->text);
    sg_buffer_append(&input->header->text, sg_buffer_text(&fields->text), fields->text.len);
    memcpy(input->header->ends, fields->ends, fields->n * sizeof *fields->ends);
    input->header->n = fields->n;
    enum sg_status status = sg_buffer_status(&input->header->text, err);
    if (status != SG_OK || !input->options.settle)
        return status;
    for (size_t i = 0; i < fields->n; i++)
        names[i] = sg_csv_field(input->header, i);
    status = input->options.settle(input->options.settle_context, names, fields->n, &input->options, err);
    return status == SG_OK ? SG_OK : sg_fail_in(err, status, "line %zu", line);
}

static enum sg_status read_header(struct sg_input *input, struct csv *csv, struct sg_error *err)
{
    size_t first_line = csv->line;
    take_separator_line(input, csv);
    if (!input->options.separator) {
        enum sg_status status = settle_separator(input, csv, err);
        if (status != SG_OK)
            return status;
    }
    csv->separator = input->options.separator;
    size_t line = csv->line;
    struct csv_fields *fields = input->fields;
    enum sg_status status = read_record(csv, fields, err);
    if (status != SG_OK)
        return status;
    if (fields->bad)
        return sg_fail(err, SG_EFORMAT, "line %zu: header: %s", line, fields->bad);
    enum sg_status settled = settle_columns(input, line, err);
    if (settled != SG_OK)
        return settled;
    const char *text_name = input->options.text_field ? input->options.text_field : "text";
    const char *id_name = input->options.id_field ? input->options.id_field : "id";
    input->n_columns = fields->n;
    size_t n_text = find_column(fields, text_name, &input->text_column);
    size_t n_id = find_column(fields, id_name, &input->id_column);
    if (n_text == 0)
        return no_text_column(input, *csv, line, first_line, text_name, fields, err);
    if (n_text > 1 || n_id > 1)
        return sg_fail(err, SG_EFORMAT, "line %zu: the header has \"%s\" more than once", line,
                       n_text > 1 ? text_name : id_name);
    if (n_id == 0 && input->options.id_field)
        return sg_fail(err, SG_EINVALID, "line %zu: no column \"%s\" in the header", line, id_name);
    if (n_id == 0)
        input->id_column = SIZE_MAX;
    return SG_OK;
}

static enum sg_status check_record(const struct sg_input *input, const struct csv_fields *fields,
                                   struct sg_error *err)
{
    if (fields->bad)
        return sg_fail(err, SG_EFORMAT, "%s", fields->bad);
    if (fields->n != input->n_columns)
        return sg_fail(err, SG_EFORMAT, "%zu fields, expected %zu as in the header", fields->n, input->n_columns);
    if (input->id_column != SIZE_MAX)
        return sg_input_check_id(sg_csv_field(fields, input->id_column), err);
    return SG_OK;
}

enum sg_status sg_csv_index(struct sg_input *input, size_t at, size_t line, struct sg_error *err)
{
    struct csv csv = {sg_buffer_text(&input->text), input->text.len, at, line, 0};
    struct csv_fields *fields = input->fields;
    enum sg_status status = read_header(input, &csv, err);
    while (status == SG_OK && csv.at < csv.len) {
        size_t start = csv.at, start_line = csv.line;
        status = read_record(&csv, fields, err);
        if (status != SG_OK || is_blank(fields))
            continue;
        char number[24];
        struct sg_slice id = {number, (size_t)snprintf(number, sizeof number, "%zu", input->n + 1)};
        bool good = check_record(input, fields, NULL) == SG_OK;
        if (good && input->id_column != SIZE_MAX)
            id = sg_csv_field(fields, input->id_column);
        bool known = good || input->id_column == SIZE_MAX;
        status = sg_input_add(input, start, csv.at - start, start_line, known ? &id : NULL, err);
    }
    return status == SG_OK ? SG_OK : sg_fail_in(err, status, "%s", input->name);
}

enum sg_status sg_csv_row(struct sg_input *input, const struct record *record, struct sg_input_row *row_out,
                          struct sg_error *err)
{
    struct csv csv = {input->text.data, record->offset + record->len, record->offset, record->line,
                      input->options.separator};
    enum sg_status status = read_record(&csv, input->fields, err);
    if (status == SG_OK)
        status = check_record(input, input->fields, err);
    if (status != SG_OK)
        return status;
    row_out->text = sg_csv_field(input->fields, input->text_column);
    if (!sg_utf8_valid(row_out->text))
        return sg_fail(err, SG_EFORMAT, "the text is not UTF-8; save the file as UTF-8");
    return SG_OK;
}
