/* A reasoner that repeats what a file says of a content: for dry runs, forecasts and tests, without a model.
 *
 * The file is JSON lines, plain or gzip: verdicts as check writes them, label lines, or rows of a data set. A line is
 * known by content_sha256, else by the SHA-256 of its text; of several lines for one content and policy the last
 * counts, and one that names the policy's version goes before one that names none. */
#include "base/file.h"
#include "reasoner/reasoner_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <zlib.h>

#define MAX_LINE (80u << 20) /* a content of the largest size, escaped a little */
#define MAX_ENTRIES 20000000
#define IN_FLIGHT 64

struct entry {
    uint64_t key[2]; /* first half of the content's hash */
    uint64_t policy; /* start of the policy's hash; 0: any policy */
    enum sg_decision decision;
    double p_violation;
    char *json; /* the whole line, where it has more than a decision */
};

struct replay {
    struct sg_reasoner base;
    char *category; /* NULL: any */
    struct entry *entries;
    size_t n, cap;
    uint32_t *slots; /* index + 1 into entries; 0: free */
    size_t n_slots;
};

static bool parse_hash(const char *hex, uint64_t key_out[2])
{
    if (!hex || strlen(hex) != 64 || strspn(hex, "0123456789abcdefABCDEF") != 64)
        return false;
    char half[17] = "";
    for (int i = 0; i < 2; i++) {
        memcpy(half, hex + 16 * i, 16);
        key_out[i] = strtoull(half, NULL, 16);
    }
    return true;
}

/* --- the table ------------------------------------------------------------------------------------------------ */

static uint32_t *slot_of(const struct replay *replay, const uint64_t key[2], uint64_t policy)
{
    size_t i = (key[0] ^ policy) & (replay->n_slots - 1);
    for (; replay->slots[i]; i = (i + 1) & (replay->n_slots - 1)) {
        const struct entry *entry = &replay->entries[replay->slots[i] - 1];
        if (entry->key[0] == key[0] && entry->key[1] == key[1] && entry->policy == policy)
            break;
    }
    return &replay->slots[i];
}

static bool grow(struct replay *replay)
{
    size_t cap = replay->cap ? 2 * replay->cap : 1024;
    struct entry *entries = realloc(replay->entries, cap * sizeof *entries);
    uint32_t *slots = calloc(2 * cap, sizeof *slots);
    if (entries)
        replay->entries = entries;
    if (!entries || !slots) {
        free(slots);
        return false;
    }
    free(replay->slots);
    replay->slots = slots;
    replay->n_slots = 2 * cap;
    replay->cap = cap;
    for (size_t i = 0; i < replay->n; i++)
        *slot_of(replay, entries[i].key, entries[i].policy) = (uint32_t)i + 1;
    return true;
}

static enum sg_status remember(struct replay *replay, const struct entry *entry, const char *where,
                               struct sg_error *err)
{
    if (replay->n == replay->cap) {
        if (replay->n >= MAX_ENTRIES)
            return sg_fail(err, SG_ELIMIT, "%s: more than %d contents", where, MAX_ENTRIES);
        if (!grow(replay))
            return sg_fail(err, SG_ENOMEM, "%s: out of memory after %zu contents", where, replay->n);
    }
    uint32_t *slot = slot_of(replay, entry->key, entry->policy);
    if (*slot) {
        free(replay->entries[*slot - 1].json);
        replay->entries[*slot - 1] = *entry;
        return SG_OK;
    }
    replay->entries[replay->n++] = *entry;
    *slot = (uint32_t)replay->n;
    return SG_OK;
}

/* --- reading -------------------------------------------------------------------------------------------------- */

static int truth_of(const json_t *value)
{
    if (json_is_boolean(value))
        return json_is_true(value);
    if (json_is_integer(value) && (json_integer_value(value) == 0 || json_integer_value(value) == 1))
        return (int)json_integer_value(value);
    return -1;
}

/* 1, 0, or -1 for unknown: of one category, or of all that are known, of which the worst counts. */
static int category_truth(const json_t *categories, const char *wanted)
{
    int worst = -1;
    const char *name;
    json_t *value;
    if (wanted)
        return truth_of(json_object_get(categories, wanted));
    json_object_foreach((json_t *)categories, name, value)
    {
        int truth = truth_of(value);
        worst = truth > worst ? truth : worst;
    }
    return worst;
}

static enum sg_decision decision_of(const struct replay *replay, const json_t *line)
{
    const json_t *categories = json_object_get(line, "categories");
    if (!json_is_object(categories))
        categories = json_object_get(line, "labels");
    int truth = json_is_object(categories) ? category_truth(categories, replay->category) : -1;
    if (truth < 0 && !replay->category)
        truth = truth_of(json_object_get(line, "violation"));
    return truth < 0 ? SG_UNDECIDED : truth ? SG_VIOLATES : SG_DOES_NOT_VIOLATE;
}

/* A line that says nothing of any content is skipped: errors of rows, attempts at certificates. */
static enum sg_status read_line(struct replay *replay, const char *where, size_t number, struct sg_slice line,
                                struct sg_error *err)
{
    json_error_t error;
    json_t *object = json_loadb(line.ptr, line.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object)) {
        json_decref(object);
        return sg_fail(err, SG_EFORMAT, "%s: line %zu: not a JSON object with every key once", where, number);
    }
    const json_t *text = json_object_get(object, "text"), *p = json_object_get(object, "p_violation");
    const char *policy = json_string_value(json_object_get(object, "policy_sha256"));
    if (!policy)
        policy = json_string_value(json_object_get(json_object_get(object, "policy"), "sha256"));
    struct entry entry = {.p_violation = json_is_number(p) ? json_number_value(p) : NAN};
    char hash[SG_SHA256_HEX];
    uint64_t policy_key[2] = {0, 0};
    bool known = parse_hash(json_string_value(json_object_get(object, "content_sha256")), entry.key);
    if (!known && json_is_string(text)) {
        sg_sha256(json_string_value(text), json_string_length(text), hash);
        known = parse_hash(hash, entry.key);
    }
    enum sg_status status = SG_OK;
    if (known && !json_object_get(object, "error")) {
        entry.policy = parse_hash(policy, policy_key) ? policy_key[0] | 1 : 0;
        entry.decision = decision_of(replay, object);
        bool rich = json_object_get(object, "reasoning") || json_object_get(object, "model");
        entry.json = rich ? strndup(line.ptr, line.len) : NULL;
        if (rich && !entry.json)
            status = sg_fail(err, SG_ENOMEM, "%s: out of memory", where);
        if (status == SG_OK)
            status = remember(replay, &entry, where, err);
        if (status != SG_OK)
            free(entry.json);
    }
    json_decref(object);
    return status;
}

/* One line, without its end, of any length up to MAX_LINE; false at the end of the file. *has_nul: gzgets tells no
 * length, so what stands behind a NUL byte is lost. */
static bool next_line(gzFile file, struct sg_buffer *line, bool *too_long, bool *has_nul)
{
    char part[65536];
    sg_buffer_clear(line);
    *has_nul = false;
    for (z_off_t at = gztell(file); gzgets(file, part, sizeof part); at = gztell(file)) {
        size_t len = strlen(part);
        *has_nul |= gztell(file) - at != (z_off_t)len;
        bool end = len > 0 && part[len - 1] == '\n';
        sg_buffer_append(line, part, end ? len - 1 : len);
        *too_long = line->len > MAX_LINE;
        if (end || *too_long)
            return true;
    }
    return line->len > 0 || *has_nul;
}

static enum sg_status read_file(struct replay *replay, const char *path, struct sg_error *err)
{
    gzFile file = gzopen(path, "rb");
    if (!file)
        return sg_fail(err, SG_ENOTFOUND, "%s: cannot open", path);
    struct sg_buffer line = {0};
    enum sg_status status = SG_OK;
    bool too_long = false, has_nul = false;
    for (size_t number = 1; status == SG_OK && next_line(file, &line, &too_long, &has_nul); number++) {
        if (line.failed)
            status = sg_fail(err, SG_ENOMEM, "%s: line %zu: out of memory", path, number);
        else if (too_long)
            status = sg_fail(err, SG_ELIMIT, "%s: line %zu: longer than %u bytes", path, number, MAX_LINE);
        else if (has_nul)
            status = sg_fail(err, SG_EFORMAT, "%s: line %zu: a NUL byte, expected JSON", path, number);
        else if (line.len > 0)
            status = read_line(replay, path, number, (struct sg_slice){line.data, line.len}, err);
    }
    int code;
    const char *problem = gzerror(file, &code);
    if (status == SG_OK && code != Z_OK && code != Z_STREAM_END)
        status = sg_fail(err, SG_EIO, "%s: read failed: %s", path, problem);
    gzclose(file);
    sg_buffer_free(&line);
    return status;
}

/* --- answering ------------------------------------------------------------------------------------------------ */

static const struct entry *find(const struct replay *replay, const uint64_t key[2], uint64_t policy)
{
    uint32_t index = replay->n_slots ? *slot_of(replay, key, policy) : 0;
    return index ? &replay->entries[index - 1] : NULL;
}

static char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? strdup(text) : NULL;
}

static int64_t tokens_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(json_object_get(object, "tokens"), name);
    return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value) : -1;
}

/* What else a verdict's line says. A string that memory is short for is absent, which is what NULL means anyway. */
static void repeat_line(const char *text, struct sg_verdict *verdict)
{
    json_t *object = json_loads(text, JSON_ALLOW_NUL, NULL);
    const json_t *model = json_object_get(object, "model");
    verdict->reason = text_of(object, "reason");
    verdict->category = text_of(object, "category");
    verdict->rationale = text_of(object, "rationale");
    verdict->reasoning = text_of(object, "reasoning");
    verdict->output = text_of(object, "output");
    verdict->p_source = text_of(object, "p_source");
    verdict->effort = text_of(object, "effort");
    verdict->model_name = text_of(model, "name");
    verdict->model_sha256 = text_of(model, "sha256");
    verdict->needs_review = json_is_true(json_object_get(object, "needs_review"));
    verdict->n_prompt_tokens = tokens_of(object, "prompt");
    verdict->n_cached_tokens = tokens_of(object, "cached");
    verdict->n_output_tokens = tokens_of(object, "output");
    json_decref(object);
}

static enum sg_status check(struct sg_reasoner *reasoner, const struct sg_policy *policy,
                            const struct sg_content *content, const struct sg_check_options *options,
                            sg_stream_fn stream, void *stream_context, struct sg_verdict *verdict,
                            struct sg_error *err)
{
    const struct replay *replay = (const struct replay *)reasoner;
    uint64_t key[2], policy_key[2];
    char hash[SG_SHA256_HEX];
    size_t len;
    const char *text = sg_content_text(content, &len);
    (void)options;
    sg_sha256(text, len, hash);
    if (!parse_hash(hash, key) || !parse_hash(sg_policy_sha256(policy), policy_key))
        return sg_fail(err, SG_EINTERNAL, "replay: a hash is no SHA-256");
    const struct entry *entry = find(replay, key, policy_key[0] | 1);
    if (!entry)
        entry = find(replay, key, 0);
    if (entry && entry->json)
        repeat_line(entry->json, verdict);
    if (entry) {
        verdict->decision = entry->decision;
        verdict->p_violation = entry->p_violation;
    }
    if (verdict->decision == SG_UNDECIDED && !verdict->reason)
        verdict->reason = strdup(entry ? "the replayed line has no decision" : "not in the replayed file");
    if (verdict->reasoning && stream) {
        struct sg_stream_event event = {SG_STREAM_REASONING, verdict->reasoning, strlen(verdict->reasoning), 0, 0};
        stream(stream_context, &event);
    }
    if (!verdict->model_name)
        verdict->model_name = strdup("replay");
    verdict->policy_id = strdup(sg_policy_id(policy));
    verdict->policy_sha256 = strdup(sg_policy_sha256(policy));
    verdict->stage = strdup("reasoner");
    return verdict->model_name && verdict->policy_id && verdict->policy_sha256 && verdict->stage
               ? SG_OK
               : sg_fail(err, SG_ENOMEM, "replay: out of memory for a verdict");
}

static void cancel(struct sg_reasoner *reasoner)
{
    (void)reasoner; /* it answers at once */
}

static enum sg_status count(struct sg_reasoner *reasoner, const char *text, size_t len, int64_t *tokens_out,
                            struct sg_error *err)
{
    (void)reasoner;
    (void)text;
    (void)len;
    *tokens_out = -1;
    return sg_fail(err, SG_ENOTFOUND, "replay: a file of verdicts has no tokenizer");
}

static int in_flight(const struct sg_reasoner *reasoner)
{
    (void)reasoner;
    return IN_FLIGHT;
}

static void destroy(struct sg_reasoner *reasoner)
{
    struct replay *replay = (struct replay *)reasoner;
    for (size_t i = 0; i < replay->n; i++)
        free(replay->entries[i].json);
    free(replay->entries);
    free(replay->slots);
    free(replay->category);
    free(replay);
}

static const struct sg_reasoner_class replay_class = {destroy, check, cancel, count, in_flight};

enum sg_status sg_reasoner_replay(const char *path, const char *category, struct sg_reasoner **reasoner_out,
                                  struct sg_error *err)
{
    *reasoner_out = NULL;
    struct replay *replay = calloc(1, sizeof *replay);
    if (!replay)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    replay->base.class = &replay_class;
    replay->category = category ? strdup(category) : NULL;
    enum sg_status status = category && !replay->category ? sg_fail(err, SG_ENOMEM, "%s: out of memory", path)
                                                          : read_file(replay, path, err);
    if (status == SG_OK && replay->n == 0)
        status = sg_fail(err, SG_EFORMAT,
                         "%s: no line says anything of a content, expected content_sha256 or text in "
                         "each",
                         path);
    if (status == SG_OK)
        *reasoner_out = &replay->base;
    else
        destroy(&replay->base);
    return status;
}
