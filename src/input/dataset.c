/* Data sets: rows of a file with what their columns or fields mean. */
#include "input/dataset.h"

#include "base/utf8.h"
#include "input/dataset_shape.h"
#include "input/input_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_LABEL_FIELDS 256

/* Offsets into `strings` until the row is complete, since the buffer moves; 0: none. */
struct row_strings {
    size_t group, split, lang, source, drawn;
    double p_drawn;
};

struct sg_dataset {
    struct sg_input *input;
    const struct sg_shape *shape;
    struct sg_dataset_options options;
    char *text_field, *id_field, *group_field;  /* copies; NULL where not given */
    struct sg_column own[MAX_LABEL_FIELDS + 1]; /* --label-field: name and category are copies */
    size_t n_own;
    char *categories[SG_DATASET_MAX_CATEGORIES];
    size_t n_categories;
    bool gathered; /* every category of the file stands in `categories` */

    /* of the row in hand */
    struct sg_buffer strings, messages;
    struct row_strings at;
    struct sg_label_value labels[SG_DATASET_MAX_CATEGORIES];
    size_t n_labels;
    size_t *meta_at; /* pairs of offsets */
    struct sg_dataset_field *meta;
    size_t n_meta, cap_meta;
};

/* --- strings of a row ------------------------------------------------------------------------------------- */

static size_t keep(struct sg_dataset *dataset, struct sg_slice text)
{
    size_t at = dataset->strings.len;
    sg_buffer_append(&dataset->strings, text.ptr, text.len);
    sg_buffer_putc(&dataset->strings, '\0');
    return at;
}

static const char *kept(const struct sg_dataset *dataset, size_t at)
{
    return at ? dataset->strings.data + at : NULL;
}

static enum sg_status add_meta(struct sg_dataset *dataset, const char *name, struct sg_slice value,
                               struct sg_error *err)
{
    if (dataset->n_meta == dataset->cap_meta) {
        size_t cap = dataset->cap_meta ? 2 * dataset->cap_meta : 16;
        size_t *at = realloc(dataset->meta_at, 2 * cap * sizeof *at);
        if (at)
            dataset->meta_at = at;
        struct sg_dataset_field *meta = realloc(dataset->meta, cap * sizeof *meta);
        if (meta)
            dataset->meta = meta;
        if (!at || !meta)
            return sg_fail(err, SG_ENOMEM, "out of memory for %zu fields", cap);
        dataset->cap_meta = cap;
    }
    if (dataset->n_meta == SG_INPUT_MAX_COLUMNS)
        return sg_fail(err, SG_ELIMIT, "more than the limit of %d fields", SG_INPUT_MAX_COLUMNS);
    size_t *at = dataset->meta_at + 2 * dataset->n_meta++;
    at[0] = keep(dataset, sg_slice_of(name));
    at[1] = keep(dataset, value);
    return SG_OK;
}

/* --- labels ----------------------------------------------------------------------------------------------- */

static enum sg_status find_category(struct sg_dataset *dataset, const char *name, const char **category_out,
                                    struct sg_error *err)
{
    for (size_t i = 0; i < dataset->n_categories; i++)
        if (strcmp(dataset->categories[i], name) == 0) {
            *category_out = dataset->categories[i];
            return SG_OK;
        }
    size_t len = strlen(name);
    if (len == 0 || len > SG_DATASET_MAX_NAME)
        return sg_fail(err, SG_ELIMIT, "a category with a name of %zu bytes, expected 1 to %d", len,
                       SG_DATASET_MAX_NAME);
    if (dataset->n_categories == SG_DATASET_MAX_CATEGORIES)
        return sg_fail(err, SG_ELIMIT, "more than the limit of %d categories", SG_DATASET_MAX_CATEGORIES);
    char *copy = strdup(name);
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "out of memory for a category");
    dataset->categories[dataset->n_categories++] = copy;
    *category_out = copy;
    return SG_OK;
}

static enum sg_status add_label(struct sg_dataset *dataset, const char *name, int value, struct sg_error *err)
{
    if (value == SG_LABEL_UNKNOWN)
        return SG_OK;
    const char *category = NULL;
    enum sg_status status = find_category(dataset, name, &category, err);
    if (status != SG_OK)
        return status;
    for (size_t i = 0; i < dataset->n_labels; i++)
        if (dataset->labels[i].category == category)
            return dataset->labels[i].value == value
                       ? SG_OK
                       : sg_fail(err, SG_EFORMAT, "category \"%.64s\" is said to be both 0 and 1", name);
    dataset->labels[dataset->n_labels++] = (struct sg_label_value){category, value};
    return SG_OK;
}

static enum sg_status json_label(const json_t *value, int *value_out, struct sg_error *err)
{
    *value_out = SG_LABEL_UNKNOWN;
    if (json_is_null(value))
        return SG_OK;
    if (json_is_boolean(value)) {
        *value_out = json_is_true(value);
        return SG_OK;
    }
    if (json_is_string(value))
        return sg_label_spelling((struct sg_slice){json_string_value(value), json_string_length(value)}, value_out,
                                 err);
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    if (number == 0 || number == 1) {
        *value_out = (int)number;
        return SG_OK;
    }
    return json_is_number(value)
               ? sg_fail(err, SG_EFORMAT, "label %g, expected 0, 1 or null", number)
               : sg_fail(err, SG_EFORMAT, "a label that is an object or an array, expected 0, 1 or null");
}

static int violation_of(const struct sg_dataset *dataset)
{
    bool any = false;
    for (size_t i = 0; i < dataset->n_labels; i++) {
        if (strcmp(dataset->labels[i].category, "violation") == 0)
            return dataset->labels[i].value;
        any |= dataset->labels[i].value == 1;
    }
    return dataset->n_labels > 0 ? any : SG_LABEL_UNKNOWN;
}

/* --- what a column or field means -------------------------------------------------------------------------- */

static bool is_name(const char *name, const char *wanted)
{
    return wanted && strcmp(name, wanted) == 0;
}

static struct sg_column column_of(const struct sg_dataset *dataset, const char *name)
{
    static const struct sg_column skip = {NULL, SG_COLUMN_SKIP, NULL}, meta = {NULL, SG_COLUMN_META, NULL},
                                  group = {NULL, SG_COLUMN_GROUP, NULL};
    const struct sg_input_options *options = &dataset->input->options;
    const char *text = options->text_field;
    bool is_text =
        text ? is_name(name, text) : is_name(name, "text") || is_name(name, "messages") || is_name(name, "judge");
    if (is_text || is_name(name, options->id_field ? options->id_field : "id"))
        return skip;
    if (is_name(name, dataset->group_field))
        return group;
    for (size_t i = 0; i < dataset->n_own; i++)
        if (strcmp(dataset->own[i].name, name) == 0)
            return dataset->own[i];
    const struct sg_column *column = sg_shape_column(dataset->shape, name);
    if (!column || (column->role == SG_COLUMN_GROUP && dataset->group_field))
        return meta;
    return *column;
}

/* A field whose value is a string, wherever it came from. */
static enum sg_status take_string(struct sg_dataset *dataset, const char *name, struct sg_column column,
                                  struct sg_slice value, struct sg_error *err)
{
    struct row_strings *at = &dataset->at;
    if (value.len && memchr(value.ptr, '\0', value.len))
        return sg_fail(err, SG_EFORMAT, "a NUL in field \"%.64s\"", name);
    switch (column.role) {
    case SG_COLUMN_META:
        return add_meta(dataset, name, value, err);
    case SG_COLUMN_GROUP:
        at->group = value.len ? keep(dataset, value) : 0;
        return SG_OK;
    case SG_COLUMN_SPLIT:
        at->split = value.len ? keep(dataset, value) : 0;
        return SG_OK;
    case SG_COLUMN_LANG:
        at->lang = value.len ? keep(dataset, value) : 0;
        return add_meta(dataset, name, value, err);
    case SG_COLUMN_SOURCE:
        at->source = value.len ? keep(dataset, value) : 0;
        return SG_OK;
    case SG_COLUMN_DRAWN:
        at->drawn = value.len ? keep(dataset, value) : 0;
        return SG_OK;
    case SG_COLUMN_P_DRAWN: {
        if (value.len == 0)
            return SG_OK;
        char text[32] = "", *end = text;
        if (value.len < sizeof text)
            memcpy(text, value.ptr, value.len);
        at->p_drawn = strtod(text, &end);
        if (end == text || *end || !(at->p_drawn > 0 && at->p_drawn <= 1))
            return sg_fail(err, SG_EFORMAT, "\"p_drawn\": expected a number above 0 and at most 1");
        return SG_OK;
    }
    default:
        return SG_OK;
    }
}

static enum sg_status take_json(struct sg_dataset *dataset, const char *name, struct sg_column column,
                                const json_t *value, struct sg_error *err)
{
    if (json_is_null(value) || column.role == SG_COLUMN_SKIP)
        return SG_OK;
    if (json_is_string(value))
        return take_string(dataset, name, column,
                           (struct sg_slice){json_string_value(value), json_string_length(value)}, err);
    if (json_is_boolean(value))
        return take_string(dataset, name, column, sg_slice_of(json_is_true(value) ? "true" : "false"), err);
    if (json_is_number(value)) {
        char text[40];
        double number = json_number_value(value);
        snprintf(text, sizeof text, "%.15g", number);
        if (strtod(text, NULL) != number)
            snprintf(text, sizeof text, "%.17g", number);
        return take_string(dataset, name, column, sg_slice_of(text), err);
    }
    if (column.role != SG_COLUMN_META)
        return sg_fail(err, SG_EFORMAT, "\"%.64s\" is an object or an array, expected a string", name);
    char *text = json_dumps(value, JSON_COMPACT);
    if (!text)
        return sg_fail(err, SG_EFORMAT, "\"%.64s\" cannot be written as text", name);
    enum sg_status status = take_string(dataset, name, column, sg_slice_of(text), err);
    free(text);
    return status;
}

static enum sg_status take_label_object(struct sg_dataset *dataset, const char *name, json_t *object,
                                        struct sg_error *err)
{
    const char *key;
    json_t *value;
    if (json_is_null(object))
        return SG_OK;
    if (!json_is_object(object))
        return sg_fail(err, SG_EFORMAT,
                       "\"%.64s\" is no object {category: 0 or 1}; a list would not say what the others are", name);
    enum sg_status status = SG_OK;
    json_object_foreach(object, key, value)
    {
        int label = SG_LABEL_UNKNOWN;
        status = json_label(value, &label, err);
        if (status == SG_OK)
            status = add_label(dataset, key, label, err);
        if (status != SG_OK)
            return sg_fail_in(err, status, "\"%.64s\"", name);
    }
    return status;
}

static enum sg_status take_meta_object(struct sg_dataset *dataset, const char *name, json_t *object,
                                       struct sg_error *err)
{
    static const struct sg_column lang = {NULL, SG_COLUMN_LANG, NULL}, meta = {NULL, SG_COLUMN_META, NULL},
                                  group = {NULL, SG_COLUMN_GROUP, NULL};
    if (!json_is_object(object))
        return take_json(dataset, name, meta, object, err);
    const char *key;
    json_t *value;
    enum sg_status status = SG_OK;
    json_object_foreach(object, key, value)
    {
        struct sg_column column = strcmp(key, "lang") == 0 || strcmp(key, "language") == 0 ? lang : meta;
        if (status == SG_OK && is_name(key, dataset->group_field))
            status = take_json(dataset, key, group, value, err);
        if (status == SG_OK)
            status = take_json(dataset, key, column, value, err);
    }
    return status;
}

static enum sg_status take_object(struct sg_dataset *dataset, json_t *object, struct sg_error *err)
{
    const char *name;
    json_t *value;
    enum sg_status status = SG_OK;
    json_object_foreach(object, name, value)
    {
        struct sg_column column = column_of(dataset, name);
        int label;
        if (column.role == SG_COLUMN_LABELS) {
            status = take_label_object(dataset, name, value, err);
        } else if (column.role == SG_COLUMN_METAS) {
            status = take_meta_object(dataset, name, value, err);
        } else if (column.role == SG_COLUMN_LABEL) {
            status = json_label(value, &label, err);
            if (status == SG_OK)
                status = add_label(dataset, column.category, label, err);
            else
                sg_fail_in(err, status, "field \"%.64s\"", name);
        } else {
            status = take_json(dataset, name, column, value, err);
        }
        if (status != SG_OK)
            return status;
    }
    return status;
}

static enum sg_status take_record(struct sg_dataset *dataset, struct sg_error *err)
{
    const struct csv_fields *fields = dataset->input->fields, *header = dataset->input->header;
    for (size_t i = 0; i < fields->n; i++) {
        struct sg_slice value = sg_csv_field(fields, i), column_name = sg_csv_field(header, i);
        char name[SG_DATASET_MAX_NAME + 1];
        bool usable = column_name.len < sizeof name && sg_utf8_valid(column_name);
        if (usable)
            snprintf(name, sizeof name, "%.*s", (int)column_name.len, column_name.ptr);
        else
            snprintf(name, sizeof name, "column %zu", i + 1);
        struct sg_column column = column_of(dataset, name);
        enum sg_status status = SG_OK;
        int label;
        if (column.role == SG_COLUMN_LABEL) {
            status = sg_label_spelling(value, &label, err);
            if (status == SG_OK)
                status = add_label(dataset, column.category, label, err);
            else
                sg_fail_in(err, status, "column \"%.64s\"", name);
        } else if (column.role != SG_COLUMN_SKIP) {
            status = sg_utf8_valid(value) ? take_string(dataset, name, column, value, err)
                                          : sg_fail(err, SG_EFORMAT, "column \"%.64s\" is not UTF-8", name);
        }
        if (status != SG_OK)
            return status;
    }
    return SG_OK;
}

/* A conversation that is written as a JSON text (OpenAI Guardrails): all of it is judged. */
static void take_conversation(struct sg_dataset *dataset, struct sg_dataset_row *row)
{
    if (strcmp(dataset->shape->name, "guardrails") != 0 || row->text.len == 0 || row->text.ptr[0] != '[')
        return;
    json_t *turns = json_loadb(row->text.ptr, row->text.len, 0, NULL), *turn;
    size_t i;
    bool good = json_is_array(turns) && json_array_size(turns) > 0;
    json_array_foreach(turns, i, turn) good =
        good && json_is_string(json_object_get(turn, "role")) && json_object_get(turn, "content");
    json_decref(turns);
    if (!good)
        return;
    sg_buffer_puts(&dataset->messages, "{\"messages\":");
    sg_buffer_append(&dataset->messages, row->text.ptr, row->text.len);
    sg_buffer_puts(&dataset->messages, ",\"judge\":\"all\"}");
    row->text = (struct sg_slice){sg_buffer_text(&dataset->messages), dataset->messages.len};
    row->is_messages = true;
}

static enum sg_status read_row(struct sg_dataset *dataset, size_t i, struct sg_dataset_row *row_out,
                               struct sg_error *err)
{
    struct sg_input_row row;
    *row_out = (struct sg_dataset_row){.p_drawn = NAN, .violation = SG_LABEL_UNKNOWN};
    enum sg_status status = sg_input_row(dataset->input, i, &row, err);
    row_out->row = row.row;
    row_out->line = row.line;
    row_out->id = row.id;
    if (status != SG_OK)
        return status;
    row_out->text = row.text;
    row_out->is_messages = row.is_messages;
    sg_buffer_clear(&dataset->strings);
    sg_buffer_clear(&dataset->messages);
    sg_buffer_putc(&dataset->strings, '\0'); /* so that no offset is 0 */
    dataset->at = (struct row_strings){.p_drawn = NAN};
    dataset->n_labels = dataset->n_meta = 0;
    status = dataset->input->object ? take_object(dataset, dataset->input->object, err) : take_record(dataset, err);
    if (status == SG_OK)
        take_conversation(dataset, row_out);
    if (status == SG_OK)
        status = sg_buffer_status(&dataset->strings, err);
    if (status == SG_OK)
        status = sg_buffer_status(&dataset->messages, err);
    return status;
}

enum sg_status sg_dataset_row(struct sg_dataset *dataset, size_t i, struct sg_dataset_row *row_out,
                              struct sg_error *err)
{
    enum sg_status status = read_row(dataset, i, row_out, err);
    if (status != SG_OK)
        return status;
    for (size_t k = 0; k < dataset->n_meta; k++)
        dataset->meta[k] = (struct sg_dataset_field){kept(dataset, dataset->meta_at[2 * k]),
                                                     kept(dataset, dataset->meta_at[2 * k + 1])};
    row_out->violation = violation_of(dataset);
    row_out->labels = dataset->labels;
    row_out->n_labels = dataset->n_labels;
    row_out->meta = dataset->meta;
    row_out->n_meta = dataset->n_meta;
    row_out->group = kept(dataset, dataset->at.group);
    row_out->split = kept(dataset, dataset->at.split);
    row_out->lang = kept(dataset, dataset->at.lang);
    row_out->source = kept(dataset, dataset->at.source);
    row_out->drawn = kept(dataset, dataset->at.drawn);
    row_out->p_drawn = dataset->at.p_drawn;
    return SG_OK;
}

/* --- opening ---------------------------------------------------------------------------------------------- */

static enum sg_status settle(void *context, const struct sg_slice *names, size_t n, struct sg_input_options *options,
                             struct sg_error *err)
{
    struct sg_dataset *dataset = context;
    bool csv = options->format == SG_INPUT_CSV;
    enum sg_status status =
        sg_shape_find(dataset->options.format, names, n, options->text_field, csv, &dataset->shape, err);
    if (status != SG_OK)
        return status;
    if (!options->text_field)
        options->text_field = dataset->shape->text;
    for (size_t i = 0; !options->id_field && i < 2 && dataset->shape->ids[i]; i++)
        if (sg_names_have(names, n, dataset->shape->ids[i]))
            options->id_field = dataset->shape->ids[i];
    for (size_t i = 0; csv && i < dataset->n_own; i++)
        if (!sg_names_have(names, n, dataset->own[i].name))
            return sg_fail(err, SG_EINVALID, "no column \"%.64s\" (--label-field)", dataset->own[i].name);
    return SG_OK;
}

static enum sg_status copy_options(struct sg_dataset *dataset, const struct sg_dataset_options *options,
                                   struct sg_error *err)
{
    dataset->options = *options;
    bool good = true;
    if (options->text_field)
        good &= (dataset->text_field = strdup(options->text_field)) != NULL;
    if (options->id_field)
        good &= (dataset->id_field = strdup(options->id_field)) != NULL;
    if (options->group_field)
        good &= (dataset->group_field = strdup(options->group_field)) != NULL;
    if (options->n_labels > MAX_LABEL_FIELDS)
        return sg_fail(err, SG_ELIMIT, "more than %d label fields", MAX_LABEL_FIELDS);
    for (size_t i = 0; good && i < options->n_labels; i++) {
        const char *equals = strrchr(options->labels[i], '=');
        size_t len = equals ? (size_t)(equals - options->labels[i]) : strlen(options->labels[i]);
        const char *category = equals ? equals + 1 : options->labels[i];
        if (len == 0 || *category == '\0')
            return sg_fail(err, SG_EINVALID, "--label-field: got \"%.64s\", expected COLUMN or COLUMN=CATEGORY",
                           options->labels[i]);
        struct sg_column *own = &dataset->own[dataset->n_own++];
        *own = (struct sg_column){strndup(options->labels[i], len), SG_COLUMN_LABEL, strdup(category)};
        good = own->name && own->category;
    }
    return good ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
}

/* All rows once: which categories does the file know? */
static void gather_categories(struct sg_dataset *dataset)
{
    struct sg_dataset_row row;
    for (size_t i = 0; i < sg_input_count(dataset->input); i++)
        if (read_row(dataset, i, &row, NULL) != SG_OK)
            continue; /* an error of that row, told when it is read */
}

/* A forced shape decides between lines of JSON and a table where the name does not. */
static enum sg_input_format file_format(const char *format)
{
    bool table = strcmp(format, "csv") == 0 || strcmp(format, "toxicchat") == 0 || strcmp(format, "hatecheck") == 0;
    return table ? SG_INPUT_CSV : SG_INPUT_JSONL;
}

static enum sg_status open_dataset(const char *path, const char *bytes, size_t len,
                                   const struct sg_dataset_options *options, struct sg_dataset **dataset_out,
                                   struct sg_error *err)
{
    *dataset_out = NULL;
    struct sg_dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    enum sg_status status = copy_options(dataset, options, err);
    struct sg_input_options input_options = {.text_field = dataset->text_field,
                                             .id_field = dataset->id_field,
                                             .format =
                                                 options->format ? file_format(options->format) : SG_INPUT_BY_NAME,
                                             .separator = options->separator,
                                             .skip_lines = options->skip_lines,
                                             .settle = settle,
                                             .settle_context = dataset};
    if (status == SG_OK && options->format)
        status = sg_shape_known(options->format, err);
    if (status == SG_OK)
        status = bytes ? sg_input_parse(path, bytes, len, &input_options, &dataset->input, err)
                       : sg_input_open(path, &input_options, &dataset->input, err);
    if (status == SG_OK && !dataset->shape)
        status = sg_fail(err, SG_EFORMAT, "%s: no row is a JSON object", path);
    if (status == SG_OK)
        *dataset_out = dataset;
    else
        sg_dataset_close(dataset);
    return status;
}

enum sg_status sg_dataset_open(const char *path, const struct sg_dataset_options *options,
                               struct sg_dataset **dataset_out, struct sg_error *err)
{
    return open_dataset(path, NULL, 0, options, dataset_out, err);
}

enum sg_status sg_dataset_parse(const char *name, const char *bytes, size_t len,
                                const struct sg_dataset_options *options, struct sg_dataset **dataset_out,
                                struct sg_error *err)
{
    return open_dataset(name, bytes, len, options, dataset_out, err);
}

void sg_dataset_close(struct sg_dataset *dataset)
{
    if (!dataset)
        return;
    sg_input_close(dataset->input);
    free(dataset->text_field);
    free(dataset->id_field);
    free(dataset->group_field);
    for (size_t i = 0; i < dataset->n_own; i++) {
        free((char *)(uintptr_t)dataset->own[i].name);
        free((char *)(uintptr_t)dataset->own[i].category);
    }
    for (size_t i = 0; i < dataset->n_categories; i++)
        free(dataset->categories[i]);
    sg_buffer_free(&dataset->strings);
    sg_buffer_free(&dataset->messages);
    free(dataset->meta_at);
    free(dataset->meta);
    free(dataset);
}

const char *sg_dataset_format(const struct sg_dataset *dataset)
{
    return dataset->shape->name;
}

size_t sg_dataset_count(const struct sg_dataset *dataset)
{
    return sg_input_count(dataset->input);
}

const char *const *sg_dataset_categories(struct sg_dataset *dataset, size_t *n_out)
{
    if (!dataset->gathered)
        gather_categories(dataset);
    dataset->gathered = true;
    *n_out = dataset->n_categories;
    return (const char *const *)dataset->categories;
}

bool sg_dataset_find(const struct sg_dataset *dataset, const char *id, size_t *row_out)
{
    return sg_input_find(dataset->input, id, row_out);
}

const char *sg_dataset_notes(const struct sg_dataset *dataset)
{
    return sg_input_notes(dataset->input);
}
