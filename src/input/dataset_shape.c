/* The shapes in which labelled moderation data is published, and how people spell a label.
 *
 * Sources: ToxicChat (lmsys/toxic-chat, toxic-chat_annotation_*.csv), OpenAI's moderation test set of 2022
 * (moderation-api-release, samples-1680.jsonl.gz), HateCheck and Multilingual HateCheck (test_suite_cases.csv,
 * hatecheck_cases_final_*.csv), OpenAI Guardrails (docs/evals.md). */
#include "input/dataset_shape.h"

#include <stdio.h>
#include <strings.h>

/* Fields that mean the same in every shape that is marked so. */
static const struct sg_column common[] = {
    {"group", SG_COLUMN_GROUP, NULL},     {"split", SG_COLUMN_SPLIT, NULL},   {"lang", SG_COLUMN_LANG, NULL},
    {"language", SG_COLUMN_LANG, NULL},   {"source", SG_COLUMN_SOURCE, NULL}, {"drawn", SG_COLUMN_DRAWN, NULL},
    {"p_drawn", SG_COLUMN_P_DRAWN, NULL}, {NULL, SG_COLUMN_META, NULL},
};

/* The first that fits is taken: the plain ones stand last. */
static const struct sg_shape shapes[] = {
    {.name = "toxicchat",
     .needs = {"user_input", "toxicity", "jailbreaking"},
     .text = "user_input",
     .ids = {"conv_id"},
     .columns = {{"toxicity", SG_COLUMN_LABEL, "toxic"},
                 {"jailbreaking", SG_COLUMN_LABEL, "jailbreak"},
                 {"model_output", SG_COLUMN_SKIP, NULL},
                 {"openai_moderation", SG_COLUMN_SKIP, NULL}}},
    {.name = "hatecheck",
     .needs = {"functionality", "test_case", "label_gold"},
     .text = "test_case",
     .ids = {"case_id", "mhc_case_id"},
     .columns = {{"label_gold", SG_COLUMN_LABEL, "hate"},
                 {"templ_id", SG_COLUMN_GROUP, NULL},
                 {"case_templ", SG_COLUMN_SKIP, NULL},
                 {"", SG_COLUMN_SKIP, NULL}}},
    {.name = "openai-2022",
     .needs = {"prompt"},
     .needs_label = true,
     .text = "prompt",
     .columns = {{"S", SG_COLUMN_LABEL, "sexual"},
                 {"H", SG_COLUMN_LABEL, "hate"},
                 {"V", SG_COLUMN_LABEL, "violence"},
                 {"HR", SG_COLUMN_LABEL, "harassment"},
                 {"SH", SG_COLUMN_LABEL, "self_harm"},
                 {"S3", SG_COLUMN_LABEL, "sexual_minors"},
                 {"H2", SG_COLUMN_LABEL, "hate_threatening"},
                 {"V2", SG_COLUMN_LABEL, "violence_graphic"}}},
    {.name = "guardrails",
     .needs = {"data", "expected_triggers"},
     .common = true,
     .text = "data",
     .columns = {{"expected_triggers", SG_COLUMN_LABELS, NULL}}},
    {.name = "jsonl",
     .common = true,
     .columns = {{"labels", SG_COLUMN_LABELS, NULL},
                 {"label", SG_COLUMN_LABEL, "violation"},
                 {"violation", SG_COLUMN_LABEL, "violation"},
                 {"meta", SG_COLUMN_METAS, NULL}}},
    {.name = "csv",
     .common = true,
     .columns = {{"label", SG_COLUMN_LABEL, "violation"}, {"violation", SG_COLUMN_LABEL, "violation"}}},
};
#define N_SHAPES (sizeof shapes / sizeof shapes[0])

static const struct sg_column *look(const struct sg_column *columns, const char *name)
{
    for (; columns->name; columns++)
        if (strcmp(columns->name, name) == 0)
            return columns;
    return NULL;
}

const struct sg_column *sg_shape_column(const struct sg_shape *shape, const char *name)
{
    const struct sg_column *column = look(shape->columns, name);
    return column || !shape->common ? column : look(common, name);
}

bool sg_names_have(const struct sg_slice *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (sg_slice_equal(names[i], sg_slice_of(name)))
            return true;
    return false;
}

/* Every name is the text, an id or a column of the shape, and one at least is a label. */
static bool only_its_own(const struct sg_shape *shape, const struct sg_slice *names, size_t n)
{
    bool labelled = false;
    for (size_t i = 0; i < n; i++) {
        bool known =
            sg_slice_equal(names[i], sg_slice_of(shape->text)) || sg_slice_equal(names[i], sg_slice_of("id"));
        for (const struct sg_column *column = shape->columns; !known && column->name; column++) {
            known = sg_slice_equal(names[i], sg_slice_of(column->name));
            labelled |= known && column->role == SG_COLUMN_LABEL;
        }
        if (!known)
            return false;
    }
    return labelled;
}

static bool fits(const struct sg_shape *shape, const struct sg_slice *names, size_t n)
{
    for (size_t i = 0; i < SG_SHAPE_MAX_NEEDS && shape->needs[i]; i++)
        if (!sg_names_have(names, n, shape->needs[i]))
            return false;
    return !shape->needs_label || only_its_own(shape, names, n);
}

/* "a, b, (40 bytes)": names of columns, which may be content where the first line is no header. */
static void put_names(const struct sg_slice *names, size_t n, struct sg_buffer *out)
{
    for (size_t i = 0; i < n && i < 24; i++) {
        bool plain = names[i].len > 0 && names[i].len <= 32;
        for (size_t k = 0; plain && k < names[i].len; k++)
            plain = names[i].ptr[k] > ' ' && names[i].ptr[k] < 0x7f;
        sg_buffer_puts(out, i ? ", " : "");
        if (plain)
            sg_buffer_append(out, names[i].ptr, names[i].len);
        else
            sg_buffer_printf(out, "(%zu bytes)", names[i].len);
    }
}

static enum sg_status unknown_shape(const struct sg_slice *names, size_t n, const char *wanted, struct sg_error *err)
{
    struct sg_buffer list = {0};
    put_names(names, n, &list);
    enum sg_status status =
        sg_fail(err, SG_EFORMAT,
                "the %zu fields (%s) %s%s; known shapes are %s; or say --text-field NAME and --label-field NAME", n,
                sg_buffer_text(&list), wanted ? "are not those of " : "are of no known shape", wanted ? wanted : "",
                SG_DATASET_FORMATS);
    sg_buffer_free(&list);
    return status;
}

enum sg_status sg_shape_find(const char *format, const struct sg_slice *names, size_t n, const char *text_field,
                             bool csv, const struct sg_shape **shape_out, struct sg_error *err)
{
    *shape_out = NULL;
    for (size_t i = 0; i < N_SHAPES; i++) {
        const struct sg_shape *shape = &shapes[i];
        bool plain = strcmp(shape->name, "jsonl") == 0 || strcmp(shape->name, "csv") == 0;
        if (format) {
            if (strcmp(format, shape->name) != 0)
                continue;
            /* A row without any label may stand first: a forced format asks for the text alone. */
            const char *text = text_field ? text_field : shape->text;
            if (text && !sg_names_have(names, n, text))
                return unknown_shape(names, n, format, err);
        } else if (plain ? strcmp(shape->name, csv ? "csv" : "jsonl") != 0 : text_field || !fits(shape, names, n)) {
            continue;
        }
        if (plain && !text_field && !sg_names_have(names, n, "text") && (csv || !sg_names_have(names, n, "messages")))
            return unknown_shape(names, n, format, err);
        *shape_out = shape;
        return SG_OK;
    }
    return sg_shape_known(format ? format : "", err);
}

enum sg_status sg_shape_known(const char *format, struct sg_error *err)
{
    for (size_t i = 0; i < N_SHAPES; i++)
        if (strcmp(shapes[i].name, format) == 0)
            return SG_OK;
    return sg_fail(err, SG_EINVALID, "--format: got \"%.32s\", expected %s", format, SG_DATASET_FORMATS);
}

/* --- spellings -------------------------------------------------------------------------------------------- */

static const struct {
    const char *text; /* without case; "_" and " " as "-" */
    int value;
} spellings[] = {
    {"1", 1},         {"0", 0},
    {"1.0", 1},       {"0.0", 0},
    {"true", 1},      {"false", 0},
    {"yes", 1},       {"no", 0},
    {"violates", 1},  {"safe", 0},
    {"violation", 1}, {"no-violation", 0},
    {"violating", 1}, {"non-violating", 0},
    {"unsafe", 1},    {"compliant", 0},
    {"harmful", 1},   {"benign", 0},
    {"hateful", 1},   {"non-hateful", 0},
    {"toxic", 1},     {"non-toxic", 0},
    {"sexist", 1},    {"not-sexist", 0},
    {"spam", 1},      {"ham", 0},
    {"", -1},         {"unknown", -1},
    {"null", -1},     {"none", -1},
    {"nan", -1},      {"na", -1},
    {"n/a", -1},      {"?", -1},
};
#define N_SPELLINGS (sizeof spellings / sizeof spellings[0])
_Static_assert(SG_LABEL_UNKNOWN == -1, "the table says -1 for unknown");

static bool spelled(struct sg_slice text, const char *word)
{
    size_t i = 0;
    for (; i < text.len && word[i]; i++) {
        char c = text.ptr[i];
        c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c == '_' || c == ' ' ? '-' : c;
        if (c != word[i])
            return false;
    }
    return i == text.len && word[i] == '\0';
}

enum sg_status sg_label_spelling(struct sg_slice text, int *value_out, struct sg_error *err)
{
    while (text.len && strchr(" \t\r\n", text.ptr[0]) && text.ptr[0]) {
        text.ptr++;
        text.len--;
    }
    while (text.len && strchr(" \t\r\n", text.ptr[text.len - 1]) && text.ptr[text.len - 1])
        text.len--;
    for (size_t i = 0; i < N_SPELLINGS; i++)
        if (spelled(text, spellings[i].text)) {
            *value_out = spellings[i].value;
            return SG_OK;
        }
    bool plain = text.len <= 16;
    for (size_t k = 0; plain && k < text.len; k++)
        plain = (text.ptr[k] >= '0' && text.ptr[k] <= '9') || (text.ptr[k] >= 'a' && text.ptr[k] <= 'z') ||
                (text.ptr[k] >= 'A' && text.ptr[k] <= 'Z') || (text.ptr[k] && strchr("._-+", text.ptr[k]));
    return plain ? sg_fail(err, SG_EFORMAT, "label \"%.*s\", expected 1, 0, true, false, violates, safe or empty",
                           (int)text.len, text.ptr)
                 : sg_fail(err, SG_EFORMAT,
                           "a label of %zu bytes, expected 1, 0, true, false, violates, safe or empty", text.len);
}
