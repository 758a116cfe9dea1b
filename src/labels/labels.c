/* The store of labels: every content once, every voice on it once. */
#include "labels/labels_internal.h"

#include "base/file.h"

#include <math.h>
#include <stdlib.h>

static enum sg_status out_of_memory(struct sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "out of memory for labels");
}

/* Room for one more element; false when memory is short. */
static bool grow(void **array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    size_t new_cap = *cap ? 2 * *cap : 64;
    void *data = realloc(*array, new_cap * size);
    if (!data)
        return false;
    *array = data;
    *cap = new_cap;
    return true;
}
#define GROW(array, n, cap) grow((void **)&(array), n, &(cap), sizeof *(array))

/* --- names ------------------------------------------------------------------------------------------------ */

static bool same_name(const void *context, uint32_t number, const void *key)
{
    const struct sg_labels *labels = context;
    return strcmp(labels->names[number], key) == 0;
}

/* SG_INDEX_NONE when memory is short. */
static uint32_t intern(struct sg_labels *labels, const char *name)
{
    uint32_t hash = sg_index_hash(&labels->by_name, name, strlen(name));
    uint32_t number = sg_index_find(&labels->by_name, hash, same_name, labels, name);
    if (number != SG_INDEX_NONE)
        return number;
    if (labels->n_names >= SG_INDEX_NONE - 1 || !GROW(labels->names, labels->n_names, labels->cap_names))
        return SG_INDEX_NONE;
    const char *copy = sg_arena_copy(&labels->arena, sg_slice_of(name));
    if (!copy || sg_index_add(&labels->by_name, hash, (uint32_t)labels->n_names, NULL) != SG_OK)
        return SG_INDEX_NONE;
    labels->names[labels->n_names] = copy;
    return (uint32_t)labels->n_names++;
}

static const char *interned(struct sg_labels *labels, const char *name)
{
    uint32_t number = intern(labels, name);
    return number == SG_INDEX_NONE ? NULL : labels->names[number];
}

/* The category's interned name, in the list of categories from now on. */
static const char *category(struct sg_labels *labels, const char *name, struct sg_error *err)
{
    const char *kept = interned(labels, name);
    for (size_t i = 0; kept && i < labels->n_categories; i++)
        if (labels->categories[i] == kept)
            return kept;
    if (!kept || !GROW(labels->categories, labels->n_categories, labels->cap_categories)) {
        sg_fail(err, SG_ENOMEM, "out of memory for labels");
        return NULL;
    }
    if (labels->n_categories == SG_LABEL_MAX_CATEGORIES) {
        sg_fail(err, SG_ELIMIT, "more than the limit of %d categories", SG_LABEL_MAX_CATEGORIES);
        return NULL;
    }
    return labels->categories[labels->n_categories++] = kept;
}

/* --- contents and voices ---------------------------------------------------------------------------------- */

static bool same_content(const void *context, uint32_t number, const void *key)
{
    const struct sg_labels *labels = context;
    return strcmp(labels->contents[number].item.content_sha256, key) == 0;
}

static uint32_t find_content(const struct sg_labels *labels, const char *sha256, uint32_t *hash_out)
{
    struct sg_index *index = (struct sg_index *)(uintptr_t)&labels->by_sha256; /* its seed may be drawn here */
    *hash_out = sg_index_hash(index, sha256, strlen(sha256));
    return sg_index_find(index, *hash_out, same_content, labels, sha256);
}

static enum sg_status take_content(struct sg_labels *labels, const char *sha256, uint32_t *content_out,
                                   struct sg_error *err)
{
    uint32_t hash;
    *content_out = find_content(labels, sha256, &hash);
    if (*content_out != SG_INDEX_NONE)
        return SG_OK;
    if (labels->n_contents >= SG_INDEX_NONE - 1)
        return sg_fail(err, SG_ELIMIT, "more than %u contents", SG_INDEX_NONE - 1);
    const char *copy = sg_arena_copy(&labels->arena, sg_slice_of(sha256));
    if (!copy || !GROW(labels->contents, labels->n_contents, labels->cap_contents))
        return out_of_memory(err);
    enum sg_status status = sg_index_add(&labels->by_sha256, hash, (uint32_t)labels->n_contents, err);
    if (status != SG_OK)
        return status;
    *content_out = (uint32_t)labels->n_contents++;
    labels->contents[*content_out] = (struct content){
        .item = {.content_sha256 = copy,
                 .violation = SG_LABEL_UNKNOWN,
                 .p_drawn = NAN,
                 .reasoner_p_drawn = NAN,
                 .group = copy,
                 .reasoner_violation = SG_LABEL_UNKNOWN},
        .p_drawn = {NAN, NAN},
        .first = SG_INDEX_NONE,
        .last = SG_INDEX_NONE,
        .reasoner = SG_INDEX_NONE,
    };
    return SG_OK;
}

struct voice {
    uint32_t content, who;
};

static bool same_voice(const void *context, uint32_t number, const void *key)
{
    const struct sg_labels *labels = context;
    const struct said *said = &labels->said[number];
    const struct voice *voice = key;
    return said->content == voice->content && said->who == voice->who;
}

static uint32_t find_voice(const struct sg_labels *labels, struct voice voice, uint32_t *hash_out)
{
    struct sg_index *index = (struct sg_index *)(uintptr_t)&labels->by_content_and_who;
    *hash_out = sg_index_hash(index, &voice, sizeof voice);
    return sg_index_find(index, *hash_out, same_voice, labels, &voice);
}

static enum sg_status take_voice(struct sg_labels *labels, struct voice voice, uint32_t *said_out,
                                 struct sg_error *err)
{
    uint32_t hash;
    *said_out = find_voice(labels, voice, &hash);
    if (*said_out != SG_INDEX_NONE)
        return SG_OK;
    if (labels->n_said >= SG_INDEX_NONE - 1 || !GROW(labels->said, labels->n_said, labels->cap_said))
        return out_of_memory(err);
    enum sg_status status = sg_index_add(&labels->by_content_and_who, hash, (uint32_t)labels->n_said, err);
    if (status != SG_OK)
        return status;
    *said_out = (uint32_t)labels->n_said++;
    labels->said[*said_out] = (struct said){
        .content = voice.content, .next = SG_INDEX_NONE, .who = voice.who, .file = UINT32_MAX, .time = INT64_MIN};
    struct content *content = &labels->contents[voice.content];
    if (content->last == SG_INDEX_NONE)
        content->first = *said_out;
    else
        labels->said[content->last].next = *said_out;
    content->last = *said_out;
    return SG_OK;
}

/* Lines of one file stand in the order in which they were written; between files the time decides. */
static bool replaces(uint32_t file, int64_t time, const struct said *earlier)
{
    return file == earlier->file || time >= earlier->time;
}

static enum sg_status take_draw_and_names(struct sg_labels *labels, struct content *content,
                                          const struct sg_label_line *line, struct sg_error *err)
{
    int draw = line->role == SG_ROLE_REASONER ? DRAW_REASONER : DRAW_PERSON;
    bool better = isnan(content->p_drawn[draw]) && !isnan(line->p_drawn);
    if (line->drawn && (better || !content->drawn[draw])) {
        if (!(content->drawn[draw] = interned(labels, line->drawn)))
            return out_of_memory(err);
        content->p_drawn[draw] = line->p_drawn;
    }
    struct sg_labelled *item = &content->item;
    if (line->group && !(item->group = interned(labels, line->group)))
        return out_of_memory(err);
    if (line->id && !item->id && !(item->id = sg_arena_copy(&labels->arena, sg_slice_of(line->id))))
        return out_of_memory(err);
    if (line->text && !item->text) {
        item->text = sg_arena_copy(&labels->arena, (struct sg_slice){line->text, line->text_len});
        item->text_len = line->text_len;
        if (!item->text)
            return out_of_memory(err);
    }
    return SG_OK;
}

static enum sg_status take_categories(struct sg_labels *labels, const struct sg_label_line *line, struct said *said,
                                      struct sg_error *err)
{
    said->categories = NULL;
    said->n_categories = 0;
    if (line->n_categories == 0)
        return SG_OK;
    struct sg_label_value *values = sg_arena_alloc(&labels->arena, line->n_categories * sizeof *values);
    if (!values)
        return out_of_memory(err);
    for (size_t i = 0; i < line->n_categories; i++) {
        struct sg_error why = {.code = SG_ENOMEM};
        values[i] =
            (struct sg_label_value){category(labels, line->categories[i].category, &why), line->categories[i].value};
        if (!values[i].category)
            return sg_fail(err, why.code, "%s", why.text);
    }
    said->categories = values;
    said->n_categories = (uint16_t)line->n_categories;
    return SG_OK;
}

enum sg_status sg_labels_take(struct sg_labels *labels, const struct sg_label_line *line, uint32_t file,
                              struct sg_error *err)
{
    struct voice voice = {0};
    enum sg_status status = take_content(labels, line->content_sha256, &voice.content, err);
    if (status != SG_OK)
        return status;
    if ((voice.who = intern(labels, line->who)) == SG_INDEX_NONE)
        return out_of_memory(err);
    uint32_t number;
    status = take_voice(labels, voice, &number, err);
    struct content *content = &labels->contents[voice.content];
    if (status == SG_OK)
        status = take_draw_and_names(labels, content, line, err);
    if (status != SG_OK)
        return status;
    labels->n_lines++;
    struct said *said = &labels->said[number];
    if (!replaces(file, line->time, said))
        return SG_OK;
    status = take_categories(labels, line, said, err);
    if (status != SG_OK)
        return status;
    said->violation = (int8_t)line->violation;
    said->role = (uint8_t)line->role;
    said->file = file;
    said->time = line->time;
    if (line->role == SG_ROLE_REASONER &&
        (content->reasoner == SG_INDEX_NONE || replaces(file, line->time, &labels->said[content->reasoner])))
        content->reasoner = number;
    return SG_OK;
}

static enum sg_status add_text(struct sg_labels *labels, const char ***list, size_t *n, size_t *cap, const char *text,
                               struct sg_error *err)
{
    if (!grow((void **)list, *n, cap, sizeof **list))
        return out_of_memory(err);
    const char *copy = sg_arena_copy(&labels->arena, sg_slice_of(text));
    if (!copy)
        return out_of_memory(err);
    (*list)[(*n)++] = copy;
    return SG_OK;
}

enum sg_status sg_labels_attempt_add(struct sg_labels *labels, const char *json, struct sg_error *err)
{
    return add_text(labels, &labels->attempts, &labels->n_attempts, &labels->cap_attempts, json, err);
}

enum sg_status sg_labels_note(struct sg_labels *labels, const char *text, struct sg_error *err)
{
    return add_text(labels, &labels->notes, &labels->n_notes, &labels->cap_notes, text, err);
}

/* --- looking ---------------------------------------------------------------------------------------------- */

bool sg_said_same(const struct said *said, const struct sg_label_line *line)
{
    if (said->violation != line->violation || said->role != line->role || said->n_categories != line->n_categories)
        return false;
    for (size_t i = 0; i < line->n_categories; i++) {
        bool found = false;
        for (size_t k = 0; !found && k < said->n_categories; k++)
            found = said->categories[k].value == line->categories[i].value &&
                    strcmp(said->categories[k].category, line->categories[i].category) == 0;
        if (!found)
            return false;
    }
    return true;
}

struct said *sg_labels_who_said(struct sg_labels *labels, const char *content_sha256, const char *who)
{
    uint32_t hash;
    struct voice voice = {find_content(labels, content_sha256, &hash), 0};
    voice.who =
        sg_index_find(&labels->by_name, sg_index_hash(&labels->by_name, who, strlen(who)), same_name, labels, who);
    if (voice.content == SG_INDEX_NONE || voice.who == SG_INDEX_NONE)
        return NULL;
    uint32_t number = find_voice(labels, voice, &hash);
    return number == SG_INDEX_NONE ? NULL : &labels->said[number];
}

void sg_labels_close(struct sg_labels *labels)
{
    if (!labels)
        return;
    sg_index_free(&labels->by_sha256);
    sg_index_free(&labels->by_content_and_who);
    sg_index_free(&labels->by_name);
    free(labels->contents);
    free(labels->said);
    free(labels->names);
    free(labels->categories);
    free(labels->attempts);
    free(labels->notes);
    sg_arena_free(&labels->arena);
    free(labels);
}

size_t sg_labels_count(const struct sg_labels *labels)
{
    return labels->n_contents;
}

const struct sg_labelled *sg_labels_at(const struct sg_labels *labels, size_t i)
{
    return &labels->contents[i].item;
}

bool sg_labels_find(const struct sg_labels *labels, const char *content_sha256, size_t *i_out)
{
    uint32_t hash, number = find_content(labels, content_sha256, &hash);
    if (number == SG_INDEX_NONE)
        return false;
    *i_out = number;
    return true;
}

int sg_labels_value(const struct sg_labels *labels, size_t i, const char *name)
{
    const struct content *content = &labels->contents[i];
    if (strcmp(name, "any") == 0)
        return content->item.violation;
    for (size_t k = 0; !content->item.disputed && k < content->n_categories; k++)
        if (strcmp(content->categories[k].category, name) == 0)
            return content->categories[k].value;
    return SG_LABEL_UNKNOWN;
}

size_t sg_labels_said(const struct sg_labels *labels, size_t i, struct sg_said *said_out, size_t max)
{
    size_t n = 0;
    for (uint32_t number = labels->contents[i].first; number != SG_INDEX_NONE; number = labels->said[number].next) {
        const struct said *said = &labels->said[number];
        if (n < max)
            said_out[n] = (struct sg_said){labels->names[said->who], (enum sg_label_role)said->role,
                                           said->violation,          said->categories,
                                           said->n_categories,       said->time};
        n++;
    }
    return n;
}

const char *const *sg_labels_categories(const struct sg_labels *labels, size_t *n_out)
{
    *n_out = labels->n_categories;
    return labels->categories;
}

const char *const *sg_labels_attempts(const struct sg_labels *labels, size_t *n_out)
{
    *n_out = labels->n_attempts;
    return labels->attempts;
}

const char *const *sg_labels_notes(const struct sg_labels *labels, size_t *n_out)
{
    *n_out = labels->n_notes;
    return labels->notes;
}
