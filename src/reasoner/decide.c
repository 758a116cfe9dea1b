#include "reasoner/decide.h"

#include <math.h>
#include <stdlib.h>

#define NEGLIGIBLE 1e-4 /* a branch below this mass is not walked: it counts as it stands, an upper bound */

/* --- vocabulary ------------------------------------------------------------------------------------------- */

static bool is_line_end(struct sg_slice bytes)
{
    bool line_break = false;
    for (size_t i = 0; i < bytes.len; i++) {
        if (!memchr(" \t\r\n", bytes.ptr[i], 4))
            return false;
        line_break |= bytes.ptr[i] == '\n';
    }
    return line_break;
}

enum sg_status sg_vocabulary_init(struct sg_vocabulary *vocabulary, const struct sg_tokenizer *tokenizer,
                                  int n_logits, const int32_t *end_ids, size_t n_end_ids, struct sg_error *err)
{
    *vocabulary = (struct sg_vocabulary){.tokenizer = tokenizer, .n = n_logits};
    vocabulary->trie = sg_vocab_trie_create(tokenizer);
    vocabulary->ends = calloc(((size_t)n_logits + 63) / 64, sizeof *vocabulary->ends);
    sg_tokenize(tokenizer, sg_slice_of("```json\n"), &vocabulary->fence);
    if (!vocabulary->trie || !vocabulary->ends || vocabulary->fence.failed) {
        sg_vocabulary_deinit(vocabulary);
        return sg_fail(err, SG_ENOMEM, "out of memory for the vocabulary");
    }
    int32_t n = sg_tokenizer_count(tokenizer);
    for (int32_t id = 0; id < n && id < n_logits; id++)
        if (!sg_tokenizer_is_special(tokenizer, id) && is_line_end(sg_token_bytes(tokenizer, id)))
            vocabulary->ends[id / 64] |= (uint64_t)1 << (id % 64);
    for (size_t i = 0; i < n_end_ids; i++)
        if (end_ids[i] >= 0 && end_ids[i] < n_logits)
            vocabulary->ends[end_ids[i] / 64] |= (uint64_t)1 << (end_ids[i] % 64);
    return SG_OK;
}

void sg_vocabulary_deinit(struct sg_vocabulary *vocabulary)
{
    sg_vocab_trie_destroy(vocabulary->trie);
    free(vocabulary->ends);
    sg_tokens_free(&vocabulary->fence);
    *vocabulary = (struct sg_vocabulary){0};
}

/* --- decision --------------------------------------------------------------------------------------------- */

/* A node of the label trie that is still to be walked. */
struct branch {
    int32_t node;
    int depth; /* tokens from the root */
    double mass;
};

struct sg_decider {
    const struct sg_vocabulary *vocabulary;
    const struct sg_answers *answers;
    struct sg_sampling sampling;
    int start; /* position of the answer's first token; -1 before the first step */
    int n_tokens;
    struct sg_buffer text;
    double p_violation, label_mass;
    /* labels */
    double *spelling_mass;
    struct branch *branches; /* a stack: children before their parents' siblings */
    size_t n_branches;
    struct branch current;
    int32_t next_token;
    /* JSON */
    struct sg_json_state state;
    bool guided, fenced;
    struct sg_tokens given; /* what was written for the model */
    uint64_t *mask;
    double *value_p; /* [keys] probability of 1 at a 0/1 key, NaN elsewhere */
};

enum sg_status sg_decider_create(const struct sg_vocabulary *vocabulary, const struct sg_answers *answers,
                                 const struct sg_sampling *sampling, bool guided, struct sg_decider **decider_out,
                                 struct sg_error *err)
{
    struct sg_decider *d = *decider_out = calloc(1, sizeof *d);
    if (!d)
        return sg_fail(err, SG_ENOMEM, "out of memory for a decision");
    *d = (struct sg_decider){.vocabulary = vocabulary,
                             .answers = answers,
                             .sampling = *sampling,
                             .guided = guided,
                             .start = -1,
                             .p_violation = NAN,
                             .label_mass = NAN};
    size_t n_keys = 0;
    bool good;
    if (answers->grammar) {
        sg_policy_keys(answers->policy, &n_keys);
        sg_json_start(answers->grammar, &d->state);
        d->mask = calloc(((size_t)vocabulary->n + 63) / 64, sizeof *d->mask);
        d->value_p = calloc(n_keys + 1, sizeof *d->value_p);
        good = d->mask && d->value_p;
        for (size_t i = 0; good && i < n_keys; i++)
            d->value_p[i] = NAN;
    } else {
        d->spelling_mass = calloc(answers->n_spellings, sizeof *d->spelling_mass);
        d->branches = calloc(answers->trie.n_nodes, sizeof *d->branches);
        d->current = (struct branch){0, 0, 1.0};
        good = d->spelling_mass && d->branches;
    }
    if (!good) {
        sg_decider_destroy(d);
        *decider_out = NULL;
        return sg_fail(err, SG_ENOMEM, "out of memory for a decision");
    }
    return SG_OK;
}

void sg_decider_destroy(struct sg_decider *d)
{
    if (!d)
        return;
    sg_buffer_free(&d->text);
    sg_tokens_free(&d->given);
    free(d->spelling_mass);
    free(d->branches);
    free(d->mask);
    free(d->value_p);
    free(d);
}

/* Probability of all tokens whose bit is set. */
static double mass_of(const float *logits, int n, double log_total, const uint64_t *bits)
{
    double mass = 0;
    for (int word = 0; word < (n + 63) / 64; word++)
        for (uint64_t left = bits[word]; left; left &= left - 1)
            mass += exp((double)logits[word * 64 + __builtin_ctzll(left)] - log_total);
    return mass;
}

/* --- labels ----------------------------------------------------------------------------------------------- */

/* The label that a negligible branch counts for: the first one below it. */
static int first_label(const struct sg_label_trie *trie, int32_t node)
{
    while (trie->nodes[node].label < 0)
        node = trie->nodes[node].first_child;
    return trie->nodes[node].label;
}

/* All labels are scored: choose, and sum up. */
static void settle_label(struct sg_decider *d, int position)
{
    size_t n_labels, n = d->answers->n_spellings, best = 0;
    const struct sg_label *labels = sg_policy_labels(d->answers->policy, &n_labels);
    double total = 0, violating = 0;
    for (size_t i = 0; i < n; i++) {
        total += d->spelling_mass[i];
        violating += labels[d->answers->label_of[i]].violation ? d->spelling_mass[i] : 0;
        best = d->spelling_mass[i] > d->spelling_mass[best] ? i : best;
    }
    d->label_mass = total < 1 ? total : 1; /* bounds of negligible branches may push it over by a little */
    d->p_violation = total > 0 ? violating / total : NAN;
    if (d->sampling.temperature > 0 && total > 0) { /* draw with weights mass^(1 / temperature) */
        double weights = 0;
        for (size_t i = 0; i < n; i++)
            weights += pow(d->spelling_mass[i] / d->spelling_mass[best], 1 / d->sampling.temperature);
        double at = sg_uniform(d->sampling.seed, (uint64_t)position) * weights;
        for (size_t i = 0; i < n; i++) {
            at -= pow(d->spelling_mass[i] / d->spelling_mass[best], 1 / d->sampling.temperature);
            if (at < 0) {
                best = i;
                break;
            }
        }
    }
    sg_buffer_puts(&d->text, labels[d->answers->label_of[best]].text);
}

static void label_step(struct sg_decider *d, const float *logits, double log_total, int position,
                       struct sg_step *step_out)
{
    const struct sg_label_trie *trie = &d->answers->trie;
    const struct sg_label_node *node = &trie->nodes[d->current.node];
    if (node->label >= 0)
        d->spelling_mass[node->label] +=
            d->current.mass * mass_of(logits, d->vocabulary->n, log_total, d->vocabulary->ends);
    for (int32_t child = node->first_child; child >= 0; child = trie->nodes[child].next) {
        double mass = d->current.mass * exp((double)logits[trie->nodes[child].token] - log_total);
        if (mass < NEGLIGIBLE)
            d->spelling_mass[first_label(trie, child)] += mass;
        else
            d->branches[d->n_branches++] = (struct branch){child, d->current.depth + 1, mass};
    }
    if (!d->n_branches) {
        settle_label(d, position);
        step_out->end = true;
        return;
    }
    d->current = d->branches[--d->n_branches];
    d->next_token = trie->nodes[d->current.node].token;
    step_out->rewind_to = d->start + d->current.depth - 1;
    step_out->tokens = &d->next_token;
    step_out->n_tokens = 1;
}

/* --- JSON ------------------------------------------------------------------------------------------------- */

/* At the start of a 0/1 value: the probability of 1 among permitted tokens that say which. */
static double value_probability(const struct sg_decider *d, const float *logits, double log_total)
{
    double zero = 0, one = 0;
    for (int word = 0; word < (d->vocabulary->n + 63) / 64; word++)
        for (uint64_t left = d->mask[word]; left; left &= left - 1) {
            int32_t id = word * 64 + __builtin_ctzll(left);
            struct sg_slice bytes = sg_token_bytes(d->vocabulary->tokenizer, id);
            size_t i = 0;
            while (i < bytes.len && memchr(" \t\r\n", bytes.ptr[i], 4))
                i++;
            double mass = exp((double)logits[id] - log_total);
            if (i < bytes.len)
                *(bytes.ptr[i] == '1' ? &one : &zero) += mass;
        }
    return one + zero > 0 ? one / (one + zero) : NAN;
}

static bool decides(enum sg_key_role role)
{
    return role == SG_KEY_VIOLATION || role == SG_KEY_FLAG;
}

/* True once the value of every deciding key was written. */
static bool decided(const struct sg_decider *d)
{
    size_t n;
    const struct sg_output_key *keys = sg_policy_keys(d->answers->policy, &n);
    for (size_t i = 0; i < n; i++)
        if (decides(keys[i].role) && isnan(d->value_p[i]))
            return false;
    return true;
}

/* Any flag of several: 1 - product of the complements, each conditional on what was written before it. */
static void settle_values(struct sg_decider *d)
{
    size_t n;
    const struct sg_output_key *keys = sg_policy_keys(d->answers->policy, &n);
    double none = 1;
    for (size_t i = 0; i < n; i++)
        if (decides(keys[i].role))
            none *= 1 - d->value_p[i];
    d->p_violation = 1 - none;
}

/* Write all bytes that cannot be otherwise; false when there is a choice right away. */
static bool guide(struct sg_decider *d, struct sg_step *step_out)
{
    const struct sg_json_grammar *grammar = d->answers->grammar;
    size_t before = d->text.len;
    int byte;
    while (!sg_json_done(grammar, &d->state) && (byte = sg_json_forced(grammar, &d->state)) >= 0 &&
           sg_json_step(grammar, &d->state, (unsigned char)byte))
        sg_buffer_putc(&d->text, (char)byte);
    if (d->text.len == before)
        return false;
    d->given.n = 0;
    sg_tokenize(d->vocabulary->tokenizer, (struct sg_slice){d->text.data + before, d->text.len - before}, &d->given);
    step_out->tokens = d->given.ids;
    step_out->n_tokens = (int)d->given.n;
    step_out->end = sg_json_done(grammar, &d->state);
    return true;
}

static enum sg_status json_step(struct sg_decider *d, const float *logits, double log_total, int position,
                                struct sg_step *step_out, struct sg_error *err)
{
    const struct sg_vocabulary *vocabulary = d->vocabulary;
    const struct sg_tokens *fence = &vocabulary->fence;
    const struct sg_json_grammar *grammar = d->answers->grammar;
    size_t n_keys;
    const struct sg_output_key *keys = sg_policy_keys(d->answers->policy, &n_keys);
    if (d->guided && guide(d, step_out))
        return sg_tokens_status(&d->given, err);
    bool may_fence = d->text.len == 0 && fence->n > 0;
    sg_json_mask(grammar, &d->state, vocabulary->trie, vocabulary->n, d->mask);
    if (!decided(d)) {
        double permitted = mass_of(logits, vocabulary->n, log_total, d->mask);
        if (may_fence)
            permitted += exp((double)logits[fence->ids[0]] - log_total);
        d->label_mass = isnan(d->label_mass) ? permitted : d->label_mass * permitted;
    }
    int field = sg_json_value_next(grammar, &d->state);
    if (field >= 0 && decides(keys[field].role)) { /* again after white space: the last one counts */
        d->value_p[field] = value_probability(d, logits, log_total);
        if (decided(d))
            settle_values(d);
    }
    int32_t token;
    enum sg_status status = sg_sample(&d->sampling, logits, vocabulary->n, d->mask, position, &token, err);
    if (status != SG_OK)
        return status;
    if (may_fence && logits[fence->ids[0]] > logits[token]) {
        d->fenced = true;
        sg_buffer_puts(&d->text, "```json\n");
        d->n_tokens += (int)fence->n;
        step_out->tokens = fence->ids;
        step_out->n_tokens = (int)fence->n;
        return SG_OK;
    }
    struct sg_slice bytes = sg_token_bytes(vocabulary->tokenizer, token);
    sg_buffer_append(&d->text, bytes.ptr, bytes.len);
    for (size_t i = 0; i < bytes.len; i++)
        if (!sg_json_step(grammar, &d->state, (unsigned char)bytes.ptr[i]))
            return sg_fail(err, SG_EINTERNAL, "token %d passed the mask but not the grammar", token);
    if (sg_json_done(grammar, &d->state)) {
        if (d->fenced)
            sg_buffer_puts(&d->text, "\n```");
        step_out->end = true;
        return SG_OK;
    }
    d->n_tokens++;
    d->next_token = token;
    step_out->tokens = &d->next_token;
    step_out->n_tokens = 1;
    return SG_OK;
}

enum sg_status sg_decider_step(struct sg_decider *d, const float *logits, int position, struct sg_step *step_out,
                               struct sg_error *err)
{
    double log_total = sg_log_sum_exp(logits, d->vocabulary->n);
    if (!isfinite(log_total))
        return sg_fail(err, SG_EFORMAT, "the model's logits are not finite at position %d", position);
    if (d->start < 0)
        d->start = position;
    if (d->answers->grammar)
        return json_step(d, logits, log_total, position, step_out, err);
    label_step(d, logits, log_total, position, step_out);
    return SG_OK;
}

struct sg_slice sg_decider_text(const struct sg_decider *d)
{
    return (struct sg_slice){sg_buffer_text(&d->text), d->text.len};
}

double sg_decider_p_violation(const struct sg_decider *d)
{
    return d->p_violation;
}

double sg_decider_label_mass(const struct sg_decider *d)
{
    return d->label_mass;
}

double sg_decider_flag(const struct sg_decider *d, size_t i)
{
    return d->value_p ? d->value_p[i] : NAN;
}

int sg_decider_tokens(const struct sg_decider *d)
{
    return d->n_tokens;
}
