#include "eval/eval_rows.h"

#include "base/file.h"

#include <stdlib.h>

/* --- strings ------------------------------------------------------------------------------------------------ */

/* A copy that lives as long as the rows; NULL when memory is short. */
static const char *own(struct sg_eval_rows *rows, const char *bytes, size_t len)
{
    if (rows->n_strings == rows->cap_strings) {
        size_t cap = rows->cap_strings ? 2 * rows->cap_strings : 1024;
        char **strings = realloc(rows->strings, cap * sizeof *strings);
        if (!strings)
            return NULL;
        rows->strings = strings;
        rows->cap_strings = cap;
    }
    char *copy = malloc(len + 1);
    if (!copy)
        return NULL;
    memcpy(copy, bytes, len);
    copy[len] = '\0';
    rows->strings[rows->n_strings++] = copy;
    return copy;
}

/* --- loading ------------------------------------------------------------------------------------------------ */

/* What a row still needs until all files are read. */
struct loading {
    struct sg_eval_rows *rows;
    size_t cap;
    const char **groups; /* [n] */
    int8_t (*truth)[SG_EVAL_MAX_CATEGORIES];
    struct sg_error *err;
};

static enum sg_status grow(struct loading *loading)
{
    struct sg_eval_rows *rows = loading->rows;
    if (rows->n < loading->cap)
        return SG_OK;
    size_t cap = loading->cap ? 2 * loading->cap : 1024;
    struct sg_eval_row *more = realloc(rows->rows, cap * sizeof *more);
    rows->rows = more ? more : rows->rows;
    const char **groups = realloc(loading->groups, cap * sizeof *groups);
    loading->groups = groups ? groups : loading->groups;
    void *truth = realloc(loading->truth, cap * sizeof *loading->truth);
    loading->truth = truth ? truth : loading->truth;
    bool good = more && groups && truth;
    for (size_t i = 0; i < SG_EVAL_MAX_FIELDS; i++) {
        uint8_t *of_row = realloc(rows->fields[i].of_row, cap);
        rows->fields[i].of_row = of_row ? of_row : rows->fields[i].of_row;
        good = good && of_row;
    }
    if (!good)
        return sg_fail(loading->err, SG_ENOMEM, "no memory for %zu rows", cap);
    loading->cap = cap;
    return SG_OK;
}

static enum sg_status category_index(struct loading *loading, const char *name, size_t *out)
{
    struct sg_eval_rows *rows = loading->rows;
    if (sg_eval_find_category(rows, name, out) && *out < SG_EVAL_MAX_CATEGORIES)
        return SG_OK;
    if (rows->n_categories == SG_EVAL_MAX_CATEGORIES)
        return sg_fail(loading->err, SG_ELIMIT, "more than the limit of %d categories", SG_EVAL_MAX_CATEGORIES);
    const char *copy = own(rows, name, strlen(name));
    if (!copy)
        return sg_fail(loading->err, SG_ENOMEM, "no memory for a category");
    *out = rows->n_categories;
    rows->categories[rows->n_categories++] = copy;
    return SG_OK;
}

/* Number of `value` in a field, SG_EVAL_NO_VALUE when the field has too many. */
static enum sg_status value_index(struct loading *loading, struct sg_eval_field *field, const char *value,
                                  uint8_t *out)
{
    *out = SG_EVAL_NO_VALUE;
    for (size_t i = 0; i < field->n_values && *out == SG_EVAL_NO_VALUE; i++)
        if (strcmp(field->values[i], value) == 0)
            *out = (uint8_t)i;
    if (*out != SG_EVAL_NO_VALUE || field->too_many)
        return SG_OK;
    if (field->n_values == SG_EVAL_MAX_VALUES) {
        field->too_many = true;
        field->n_values = 0;
        return SG_OK;
    }
    const char *copy = own(loading->rows, value, strlen(value));
    if (!copy)
        return sg_fail(loading->err, SG_ENOMEM, "no memory for a value of \"%s\"", field->name);
    *out = (uint8_t)field->n_values;
    field->values[field->n_values++] = copy;
    return SG_OK;
}

static enum sg_status take_field(struct loading *loading, const char *name, const char *value)
{
    struct sg_eval_rows *rows = loading->rows;
    if (!value || !*value)
        return SG_OK;
    size_t i = 0;
    while (i < rows->n_fields && strcmp(rows->fields[i].name, name) != 0)
        i++;
    if (i == SG_EVAL_MAX_FIELDS) {
        rows->more_fields = true;
        return SG_OK;
    }
    struct sg_eval_field *field = &rows->fields[i];
    if (i == rows->n_fields) {
        field->name = own(rows, name, strlen(name));
        if (!field->name)
            return sg_fail(loading->err, SG_ENOMEM, "no memory for a field");
        rows->n_fields++;
    }
    return value_index(loading, field, value, &field->of_row[rows->n]);
}

/* Is everything known of the row that its file knows of some row? */
static bool knows_all(const struct sg_dataset_row *row, size_t n_categories)
{
    for (size_t i = 0; i < row->n_labels; i++)
        if (strcmp(row->labels[i].category, "violation") == 0)
            return true;
    return row->n_labels == n_categories;
}

static enum sg_status take_row(struct loading *loading, const struct sg_dataset_row *from, size_t n_categories)
{
    struct sg_eval_rows *rows = loading->rows;
    enum sg_status status = grow(loading);
    if (status != SG_OK)
        return status;
    for (size_t i = 0; i < SG_EVAL_MAX_FIELDS; i++)
        rows->fields[i].of_row[rows->n] = SG_EVAL_NO_VALUE;
    int8_t *truth = loading->truth[rows->n];
    memset(truth, SG_LABEL_UNKNOWN, SG_EVAL_MAX_CATEGORIES);
    for (size_t i = 0; i < from->n_labels && status == SG_OK; i++) {
        size_t category;
        status = category_index(loading, from->labels[i].category, &category);
        if (status == SG_OK)
            truth[category] = (int8_t)from->labels[i].value;
    }
    for (size_t i = 0; i < from->n_meta && status == SG_OK; i++)
        if (strcmp(from->meta[i].name, "lang") != 0 && strcmp(from->meta[i].name, "language") != 0)
            status = take_field(loading, from->meta[i].name, from->meta[i].value);
    if (status == SG_OK)
        status = take_field(loading, "language", from->lang);
    if (status == SG_OK)
        status = take_field(loading, "source", from->source);
    if (status == SG_OK)
        status = take_field(loading, "split", from->split);
    if (status != SG_OK)
        return status;
    char hash[SG_SHA256_HEX];
    sg_sha256(from->text.ptr, from->text.len, hash);
    struct sg_eval_row row = {.id = own(rows, from->id, strlen(from->id)),
                              .text = {own(rows, from->text.ptr, from->text.len), from->text.len},
                              .is_messages = from->is_messages,
                              .violation = from->violation,
                              .all_known = knows_all(from, n_categories)};
    const char *group = from->group ? from->group : hash;
    loading->groups[rows->n] = own(rows, group, strlen(group));
    if (!row.id || !row.text.ptr || !loading->groups[rows->n])
        return sg_fail(loading->err, SG_ENOMEM, "no memory for row %zu", rows->n + 1);
    rows->rows[rows->n++] = row;
    return SG_OK;
}

static void note_unreadable(struct sg_eval_rows *rows, const char *path, const struct sg_dataset_row *row,
                            const struct sg_error *why)
{
    if (rows->n_unreadable++ < 10)
        sg_buffer_printf(&rows->notes, "%s line %zu: %s\n", path, row->line, why->text);
}

static enum sg_status load_file(struct loading *loading, const char *path, const struct sg_dataset_options *options)
{
    struct sg_dataset *data;
    struct sg_dataset_row row;
    struct sg_error why;
    enum sg_status status = sg_dataset_open(path, options, &data, loading->err);
    if (status != SG_OK)
        return status;
    for (const char *at = sg_dataset_notes(data); *at; at += strcspn(at, "\n") + 1)
        sg_buffer_printf(&loading->rows->notes, "%s: %.*s\n", path, (int)strcspn(at, "\n"), at);
    size_t n_categories;
    sg_dataset_categories(data, &n_categories);
    for (size_t i = 0; i < sg_dataset_count(data) && status == SG_OK; i++) {
        if (sg_dataset_row(data, i, &row, &why) != SG_OK)
            note_unreadable(loading->rows, path, &row, &why);
        else
            status = take_row(loading, &row, n_categories);
    }
    sg_dataset_close(data);
    return status;
}

/* --- order, groups and the split ------------------------------------------------------------------------------ */

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct sg_eval_row *)a)->id, ((const struct sg_eval_row *)b)->id);
}

struct by_group {
    const char *group;
    size_t row;
};
static int compare_groups(const void *a, const void *b)
{
    return strcmp(((const struct by_group *)a)->group, ((const struct by_group *)b)->group);
}

/* The first 60 bits of a SHA-256 as a number: the same on every machine. */
static uint64_t hash_number(const char *what, const char *text)
{
    struct sg_buffer both = {0};
    char hex[SG_SHA256_HEX];
    sg_buffer_printf(&both, "%s:%s", what, text);
    sg_sha256(both.data, both.len, hex);
    sg_buffer_free(&both);
    hex[15] = '\0';
    return strtoull(hex, NULL, 16);
}

static enum sg_status settle_groups(struct loading *loading)
{
    struct sg_eval_rows *rows = loading->rows;
    struct by_group *order = malloc((rows->n + 1) * sizeof *order);
    if (!order)
        return sg_fail(loading->err, SG_ENOMEM, "no memory for %zu groups", rows->n);
    for (size_t i = 0; i < rows->n; i++)
        order[i] = (struct by_group){loading->groups[i], i};
    qsort(order, rows->n, sizeof *order, compare_groups);
    bool test = false;
    for (size_t i = 0; i < rows->n; i++) {
        if (i == 0 || strcmp(order[i].group, order[i - 1].group) != 0) {
            rows->n_groups++;
            test = hash_number("safeguard test split", order[i].group) % 100 < SG_EVAL_TEST_PERCENT;
        }
        rows->rows[order[i].row].group = (uint32_t)(rows->n_groups - 1);
        rows->rows[order[i].row].test = test;
        rows->n_test += test;
    }
    free(order);
    return SG_OK;
}

/* Bring everything that is kept per row into a new order, `order[i]` being the old place; n may shrink. */
static enum sg_status reorder(struct sg_eval_rows *rows, const size_t *order, size_t n)
{
    struct sg_eval_row *new_rows = malloc((n + 1) * sizeof *new_rows);
    int8_t *truth = malloc((n + 1) * (rows->n_categories + 1));
    uint8_t *values = malloc(n + 1);
    if (!new_rows || !truth || !values) {
        free(new_rows);
        free(truth);
        free(values);
        return SG_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        new_rows[i] = rows->rows[order[i]];
        memcpy(truth + i * rows->n_categories, rows->truth + order[i] * rows->n_categories, rows->n_categories);
    }
    for (size_t f = 0; f < rows->n_fields; f++) {
        for (size_t i = 0; i < n; i++)
            values[i] = rows->fields[f].of_row[order[i]];
        memcpy(rows->fields[f].of_row, values, n);
    }
    free(values);
    free(rows->rows);
    free(rows->truth);
    rows->rows = new_rows;
    rows->truth = truth;
    rows->n = n;
    return SG_OK;
}

static int compare_rows(const void *a, const void *b, void *context)
{
    const struct sg_eval_rows *rows = context;
    return compare_ids(&rows->rows[*(const size_t *)a], &rows->rows[*(const size_t *)b]);
}

/* Rows in the order of their ids: found by bisection, and reports do not depend on the order of the files. */
static enum sg_status settle_order(struct loading *loading)
{
    struct sg_eval_rows *rows = loading->rows;
    size_t *order = malloc((rows->n + 1) * sizeof *order);
    rows->truth = malloc((rows->n + 1) * (rows->n_categories + 1));
    if (!order || !rows->truth) {
        free(order);
        return sg_fail(loading->err, SG_ENOMEM, "no memory to sort %zu rows", rows->n);
    }
    for (size_t i = 0; i < rows->n; i++) {
        order[i] = i;
        memcpy(rows->truth + i * rows->n_categories, loading->truth[i], rows->n_categories);
    }
    qsort_r(order, rows->n, sizeof *order, compare_rows, rows);
    enum sg_status status = reorder(rows, order, rows->n);
    free(order);
    if (status != SG_OK)
        return sg_fail(loading->err, status, "no memory to sort %zu rows", rows->n);
    for (size_t i = 1; i < rows->n; i++)
        if (compare_ids(&rows->rows[i - 1], &rows->rows[i]) == 0)
            return sg_fail(loading->err, SG_EFORMAT, "id \"%.64s\" stands in two of the data files",
                           rows->rows[i].id);
    return SG_OK;
}

static enum sg_status name_test_split(struct sg_eval_rows *rows, struct sg_error *err)
{
    struct sg_sha256_stream *stream = sg_sha256_create();
    if (!stream)
        return sg_fail(err, SG_ENOMEM, "no memory for a hash");
    for (size_t i = 0; i < rows->n; i++) {
        const struct sg_eval_row *row = &rows->rows[i];
        if (!row->test)
            continue;
        sg_sha256_update(stream, row->id, strlen(row->id) + 1);
        sg_sha256_update(stream, row->text.ptr, row->text.len + 1);
    }
    sg_sha256_final(stream, rows->test_sha256);
    return SG_OK;
}

enum sg_status sg_eval_rows_open(const char *const *paths, size_t n_paths, const struct sg_dataset_options *options,
                                 struct sg_eval_rows *rows, struct sg_error *err)
{
    struct loading loading = {.rows = rows, .err = err};
    *rows = (struct sg_eval_rows){0};
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < n_paths && status == SG_OK; i++)
        status = load_file(&loading, paths[i], options);
    if (status == SG_OK && rows->n == 0)
        status = sg_fail(err, SG_EFORMAT, "the data has no readable row");
    if (status == SG_OK)
        status = settle_groups(&loading);
    if (status == SG_OK)
        status = settle_order(&loading);
    if (status == SG_OK)
        status = name_test_split(rows, err);
    for (size_t f = 0; f < rows->n_fields && status == SG_OK; f++)
        if (rows->fields[f].too_many)
            sg_buffer_printf(&rows->notes, "field \"%s\" has more than %d values: no slices of it\n",
                             rows->fields[f].name, SG_EVAL_MAX_VALUES);
    if (rows->more_fields)
        sg_buffer_printf(&rows->notes, "the rows have more than %d fields: no slices of the others\n",
                         SG_EVAL_MAX_FIELDS);
    if (status == SG_OK)
        status = sg_buffer_status(&rows->notes, err);
    free(loading.groups);
    free(loading.truth);
    if (status != SG_OK)
        sg_eval_rows_close(rows);
    return status;
}

void sg_eval_rows_close(struct sg_eval_rows *rows)
{
    for (size_t i = 0; i < rows->n_strings; i++)
        free(rows->strings[i]);
    for (size_t i = 0; i < SG_EVAL_MAX_FIELDS; i++)
        free(rows->fields[i].of_row);
    free(rows->strings);
    free(rows->rows);
    free(rows->truth);
    sg_buffer_free(&rows->notes);
    *rows = (struct sg_eval_rows){0};
}

struct drawn {
    uint64_t hash;
    size_t row;
};
static int compare_drawn(const void *a, const void *b)
{
    const struct drawn *x = a, *y = b;
    return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash) : (x->row > y->row) - (x->row < y->row);
}
static int compare_places(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

enum sg_status sg_eval_rows_choose(struct sg_eval_rows *rows, enum sg_eval_split split, size_t sample, uint64_t seed,
                                   struct sg_error *err)
{
    struct drawn *drawn = malloc((rows->n + 1) * sizeof *drawn);
    size_t *order = malloc((rows->n + 1) * sizeof *order), n = 0;
    char what[48];
    snprintf(what, sizeof what, "safeguard sample %llu", (unsigned long long)seed);
    enum sg_status status = drawn && order ? SG_OK : SG_ENOMEM;
    for (size_t i = 0; i < rows->n && status == SG_OK; i++)
        if (split == SG_SPLIT_ALL || rows->rows[i].test == (split == SG_SPLIT_TEST))
            drawn[n++] = (struct drawn){sample ? hash_number(what, rows->rows[i].id) : 0, i};
    if (status == SG_OK) {
        qsort(drawn, n, sizeof *drawn, compare_drawn);
        n = sample && sample < n ? sample : n;
        for (size_t i = 0; i < n; i++)
            order[i] = drawn[i].row;
        qsort(order, n, sizeof *order, compare_places);
        status = reorder(rows, order, n);
    }
    free(drawn);
    free(order);
    return status == SG_OK ? SG_OK : sg_fail(err, status, "no memory to choose among %zu rows", rows->n);
}

/* --- asking --------------------------------------------------------------------------------------------------- */

int sg_eval_truth(const struct sg_eval_rows *rows, size_t row, size_t category)
{
    const struct sg_eval_row *of = &rows->rows[row];
    if (category == SG_EVAL_ANY)
        return of->violation;
    if (category == SG_EVAL_ANY_STRICT)
        return of->violation == 0 && !of->all_known ? SG_LABEL_UNKNOWN : of->violation;
    return rows->truth[row * rows->n_categories + category];
}

bool sg_eval_find_category(const struct sg_eval_rows *rows, const char *name, size_t *category_out)
{
    for (size_t i = 0; i < rows->n_categories; i++)
        if (strcmp(rows->categories[i], name) == 0) {
            *category_out = i;
            return true;
        }
    *category_out = strcmp(name, "any-strict") == 0 ? SG_EVAL_ANY_STRICT : SG_EVAL_ANY;
    return *category_out == SG_EVAL_ANY_STRICT || strcmp(name, "any") == 0;
}

bool sg_eval_find_row(const struct sg_eval_rows *rows, const char *id, size_t *row_out)
{
    struct sg_eval_row wanted = {.id = id};
    const struct sg_eval_row *found = bsearch(&wanted, rows->rows, rows->n, sizeof wanted, compare_ids);
    *row_out = found ? (size_t)(found - rows->rows) : 0;
    return found != NULL;
}
