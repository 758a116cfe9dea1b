/* Data sets: the first bytes choose the options, the rest is the file. Whatever the bytes, the reader ends in rows or
 * errors; a label is 0 or 1 and stands once, every string ends and is UTF-8. */
#include "base/utf8.h"
#include "input/dataset.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_string(const char *text)
{
    if (text && !sg_utf8_valid(sg_slice_of(text)))
        abort();
}

static void check_row(const struct sg_dataset_row *row)
{
    if (!row->id || !sg_utf8_valid(row->text))
        abort();
    for (size_t i = 0; i < row->n_labels; i++) {
        if (row->labels[i].value != 0 && row->labels[i].value != 1)
            abort();
        for (size_t k = 0; k < i; k++)
            if (strcmp(row->labels[i].category, row->labels[k].category) == 0)
                abort();
    }
    if (row->n_labels == 0 && row->violation != SG_LABEL_UNKNOWN)
        abort();
    for (size_t i = 0; i < row->n_meta; i++) {
        check_string(row->meta[i].name);
        check_string(row->meta[i].value);
    }
    const char *const strings[] = {row->id, row->group, row->split, row->lang, row->source, row->drawn};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        check_string(strings[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {NULL,        "jsonl",     "csv",        NULL,
                                          "toxicchat", "hatecheck", "guardrails", "openai-2022"};
    static const char *const labels[] = {"a=b", "S"};
    if (size < 2)
        return 0;
    struct sg_dataset_options options = {
        .format = formats[data[0] & 7],
        .text_field = data[0] & 8 ? "t" : NULL,
        .group_field = data[0] & 16 ? "g" : NULL,
        .labels = labels,
        .n_labels = data[0] >> 5 & 1 ? 2 : 0,
        .skip_lines = data[0] >> 6 & 1,
    };
    struct sg_dataset *dataset;
    struct sg_error err;
    if (sg_dataset_parse(data[1] & 1 ? "fuzz.csv" : "fuzz.jsonl", (const char *)data + 2, size - 2, &options,
                         &dataset, &err) != SG_OK) {
        if (dataset)
            abort();
        return 0;
    }
    size_t n_categories, n_before;
    sg_dataset_categories(dataset, &n_before);
    for (size_t i = 0; i < sg_dataset_count(dataset); i++) {
        struct sg_dataset_row row;
        if (sg_dataset_row(dataset, i, &row, &err) == SG_OK)
            check_row(&row);
        if (row.row != i + 1)
            abort();
    }
    sg_dataset_categories(dataset, &n_categories);
    if (n_categories != n_before)
        abort();
    sg_dataset_close(dataset);
    return 0;
}
