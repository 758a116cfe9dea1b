#include "reasoner_helpers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/forward.h"
#include "model/sequence.h"
#include "reasoner/answers.h"

const struct sg_check_options plain = {.top_p = 1};

struct sg_model *open_tiny(void)
{
    const char *path = shared_path("golden/tiny-a/tiny-a-bf16.gguf");
    return path ? open_model(path, SG_FAST, true, 2) : NULL;
}

struct sg_reasoner *create_reasoner(struct sg_model *model, int context)
{
    struct sg_reasoner *reasoner;
    struct sg_error err;
    if (sg_reasoner_native(model, context, &reasoner, &err) != SG_OK)
        fail_msg("%s", err.text);
    return reasoner;
}

struct sg_policy *read_policy(const char *text)
{
    struct sg_policy *policy;
    struct sg_error err;
    if (sg_policy_parse("test", text, strlen(text), &policy, &err) != SG_OK)
        fail_msg("%s", err.text);
    return policy;
}

void judge(struct sg_reasoner *reasoner, const struct sg_policy *policy, const char *text,
           const struct sg_check_options *options, sg_stream_fn stream, void *context, struct sg_verdict *verdict)
{
    struct sg_content *content;
    struct sg_error err;
    sg_verdict_init(verdict);
    if (sg_content_from_text(text, strlen(text), &content, &err) != SG_OK ||
        sg_reasoner_check(reasoner, policy, content, options, stream, context, verdict, &err) != SG_OK)
        fail_msg("%s", err.text);
    sg_content_destroy(content);
}

void append_text(const struct sg_model *model, const char *text, struct sg_tokens *tokens)
{
    sg_tokenize_special(model->tokenizer, sg_slice_of(text), tokens);
    assert_false(tokens->failed);
}

struct sg_tokens prompt_of(const struct sg_model *model, const struct sg_policy *policy, const char *effort,
                           const char *content)
{
    struct sg_tokens tokens = {0};
    struct sg_buffer text = {0};
    size_t len;
    sg_buffer_printf(&text,
                     "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\n"
                     "Knowledge cutoff: 2024-06\n\nReasoning: %s\n\n# Valid channels: analysis, commentary, final. "
                     "Channel must be included for every message.<|end|>"
                     "<|start|>developer<|message|># Instructions\n\n%s<|end|><|start|>user<|message|>",
                     effort, sg_policy_prompt(policy, &len));
    append_text(model, sg_buffer_text(&text), &tokens);
    sg_tokenize(model->tokenizer, sg_slice_of(content), &tokens); /* never special */
    append_text(model, "<|end|><|start|>assistant", &tokens);
    sg_buffer_free(&text);
    return tokens;
}

/* free() it */
static double *softmax(const float *logits, int n)
{
    double *p = calloc((size_t)n, sizeof *p), total = 0;
    assert_non_null(p);
    for (int i = 0; i < n; i++)
        total += p[i] = exp((double)logits[i]);
    for (int i = 0; i < n; i++)
        p[i] /= total;
    return p;
}

double *probabilities(const struct sg_model *model, const struct sg_tokens *tokens)
{
    bool *want = calloc(tokens->n, sizeof *want);
    assert_true(want && tokens->n > 0);
    want[tokens->n - 1] = true;
    float *logits = run_model(model, tokens->ids, (int)tokens->n, SG_MAX_ROWS, want);
    double *p = softmax(logits, model->config.vocabulary);
    free(want);
    free(logits);
    return p;
}

/* --- labels ------------------------------------------------------------------------------------------------ */

struct walk {
    const struct sg_model *model;
    struct sg_tokens sequence; /* what stands before, and the tokens of the branch */
    size_t n_before, n_labels;
    struct sg_tokens labels[SG_POLICY_MAX_LABELS];
    double mass[SG_POLICY_MAX_LABELS], true_mass[SG_POLICY_MAX_LABELS];
    size_t n_cut;
};

/* A message ends with <|end|>, <|return|>, <|endoftext|>, or goes on with a line break, which decides it as well. */
static bool is_end(const struct sg_tokenizer *tokenizer, int32_t id)
{
    struct sg_slice bytes = sg_token_bytes(tokenizer, id);
    if (sg_tokenizer_is_special(tokenizer, id))
        return sg_slice_equal(bytes, sg_slice_of("<|end|>")) || sg_slice_equal(bytes, sg_slice_of("<|return|>")) ||
               sg_slice_equal(bytes, sg_slice_of("<|endoftext|>"));
    bool line_break = false, blank = true;
    for (size_t i = 0; i < bytes.len; i++) {
        line_break = line_break || bytes.ptr[i] == '\n';
        blank =
            blank && (bytes.ptr[i] == ' ' || bytes.ptr[i] == '\t' || bytes.ptr[i] == '\r' || bytes.ptr[i] == '\n');
    }
    return line_break && blank;
}

static bool begins(const struct walk *walk, size_t label, size_t n)
{
    const struct sg_tokens *ids = &walk->labels[label];
    return ids->n >= n && memcmp(ids->ids, walk->sequence.ids + walk->n_before, n * sizeof *ids->ids) == 0;
}

/* All labels that begin with the first `depth` tokens of the branch, which have these masses. */
static void walk_branch(struct walk *walk, size_t depth, double mass, double true_mass)
{
    double *p = probabilities(walk->model, &walk->sequence);
    bool seen[4096] = {false};
    for (size_t i = 0; i < walk->n_labels; i++) {
        if (!begins(walk, i, depth))
            continue;
        if (walk->labels[i].n == depth) {
            for (int32_t id = 0; id < sg_tokenizer_count(walk->model->tokenizer); id++)
                if (is_end(walk->model->tokenizer, id)) {
                    walk->mass[i] += mass * p[id];
                    walk->true_mass[i] += true_mass * p[id];
                }
            continue;
        }
        int32_t token = walk->labels[i].ids[depth];
        if (seen[token])
            continue;
        seen[token] = true;
        double next = mass * p[token];
        if (mass > 0 && next < 1e-4) { /* the labels come in order, so this is the branch's first one */
            walk->mass[i] += next;
            walk->n_cut++;
            next = 0;
        }
        sg_tokens_push(&walk->sequence, token);
        walk_branch(walk, depth + 1, next, true_mass * p[token]);
        walk->sequence.n--;
    }
    free(p);
}

struct numbers expect_label(const struct sg_model *model, const struct sg_policy *policy,
                            const struct sg_tokens *before)
{
    struct walk walk = {.model = model, .n_before = before->n};
    const struct sg_label *labels = sg_policy_labels(policy, &walk.n_labels);
    sg_tokens_append(&walk.sequence, before->ids, before->n);
    for (size_t i = 0; i < walk.n_labels; i++)
        sg_tokenize(model->tokenizer, sg_slice_of(labels[i].text), &walk.labels[i]);
    walk_branch(&walk, 0, 1, 1);
    struct numbers result = {.n_cut = walk.n_cut};
    double violating = 0;
    size_t best = 0;
    for (size_t i = 0; i < walk.n_labels; i++) {
        result.label_mass += walk.mass[i];
        result.true_mass += walk.true_mass[i];
        violating += labels[i].violation ? walk.mass[i] : 0;
        best = walk.mass[i] > walk.mass[best] ? i : best;
        sg_tokens_free(&walk.labels[i]);
    }
    result.p_violation = violating / result.label_mass;
    snprintf(result.answer, sizeof result.answer, "%s", labels[best].text);
    sg_tokens_free(&walk.sequence);
    return result;
}

/* --- JSON -------------------------------------------------------------------------------------------------- */

static bool decides(enum sg_key_role role)
{
    return role == SG_KEY_VIOLATION || role == SG_KEY_FLAG;
}

struct numbers expect_json(const struct sg_model *model, const struct sg_policy *policy,
                           const struct sg_tokens *before, double *flags)
{
    struct sg_answers answers;
    struct sg_error err;
    size_t n_keys, n_left = 0;
    const struct sg_output_key *keys = sg_policy_keys(policy, &n_keys);
    assert_int_equal(sg_answers_init(&answers, policy, model->tokenizer, "", &err), SG_OK);
    for (size_t i = 0; i < n_keys; i++) {
        flags[i] = NAN;
        n_left += decides(keys[i].role);
    }
    struct numbers result = {.label_mass = 1};
    struct sg_tokens fence = {0}, next = {0}; /* what is appended to the sequence before the next step */
    struct sg_buffer text = {0};
    bool fenced = false;
    float *logits = malloc((before->n + sizeof result.answer) * (size_t)model->config.vocabulary * sizeof *logits);
    struct sg_sequence sequence;
    assert_non_null(logits);
    assert_int_equal(sg_sequence_init(&sequence, model, (int)(before->n + sizeof result.answer), 64, &err), SG_OK);
    sg_tokens_append(&next, before->ids, before->n);
    append_text(model, "```json\n", &fence);
    struct sg_json_state state;
    for (sg_json_start(answers.grammar, &state); !sg_json_done(answers.grammar, &state);) {
        assert_int_equal(sg_sequence_append(&sequence, next.ids, (int)next.n, NULL, logits, &err), SG_OK);
        double *p = softmax(logits + (next.n - 1) * (size_t)model->config.vocabulary, model->config.vocabulary);
        double permitted = 0, zero = 0, one = 0;
        next.n = 0;
        int32_t best = -1;
        for (int32_t id = 0; id < sg_tokenizer_count(model->tokenizer); id++) {
            struct sg_slice bytes = sg_token_bytes(model->tokenizer, id);
            if (sg_tokenizer_is_special(model->tokenizer, id) || bytes.len == 0 ||
                !sg_json_accepts(answers.grammar, &state, bytes))
                continue;
            permitted += p[id];
            best = best < 0 || p[id] > p[best] ? id : best;
            size_t blank = 0;
            while (blank < bytes.len && strchr(" \t\r\n", bytes.ptr[blank]))
                blank++;
            one += blank < bytes.len && bytes.ptr[blank] == '1' ? p[id] : 0;
            zero += blank < bytes.len && bytes.ptr[blank] == '0' ? p[id] : 0;
        }
        assert_true(best >= 0);
        bool may_fence = text.len == 0;
        if (n_left > 0)
            result.label_mass *= permitted + (may_fence ? p[fence.ids[0]] : 0);
        int key = sg_json_value_next(answers.grammar, &state);
        if (key >= 0 && decides(keys[key].role)) {
            n_left -= isnan(flags[key]);
            flags[key] = one / (one + zero);
        }
        if (may_fence && p[fence.ids[0]] > p[best]) {
            fenced = true;
            sg_buffer_puts(&text, "```json\n");
            sg_tokens_append(&next, fence.ids, fence.n);
        } else {
            struct sg_slice bytes = sg_token_bytes(model->tokenizer, best);
            for (size_t i = 0; i < bytes.len; i++)
                assert_true(sg_json_step(answers.grammar, &state, (unsigned char)bytes.ptr[i]));
            sg_buffer_append(&text, bytes.ptr, bytes.len);
            sg_tokens_push(&next, best);
        }
        free(p);
    }
    double none = 1;
    for (size_t i = 0; i < n_keys; i++)
        none *= decides(keys[i].role) ? 1 - flags[i] : 1;
    result.p_violation = 1 - none;
    assert_true(text.len + 5 < sizeof result.answer);
    snprintf(result.answer, sizeof result.answer, "%s%s", text.data, fenced ? "\n```" : "");
    sg_buffer_free(&text);
    free(logits);
    sg_sequence_deinit(&sequence);
    sg_tokens_free(&next);
    sg_tokens_free(&fence);
    sg_answers_deinit(&answers);
    return result;
}

/* --- teaching ---------------------------------------------------------------------------------------------- */

enum { MAX_LESSONS = 128 }; /* as many as the hidden state has dimensions */

struct lessons {
    struct sg_model *model;
    const struct sg_tensor *own; /* the model's own output matrix */
    struct sg_tensor tensor;
    float *weights;             /* [vocabulary, hidden] */
    double *basis[MAX_LESSONS]; /* orthonormal: spans the states that were taught */
    size_t n;
};

struct lessons *start_lessons(struct sg_model *model)
{
    struct lessons *lessons = calloc(1, sizeof *lessons);
    assert_non_null(lessons);
    int rows = model->config.vocabulary, columns = model->config.hidden;
    size_t bytes = (size_t)rows * (size_t)columns * sizeof *lessons->weights;
    *lessons = (struct lessons){.model = model, .own = model->output.tensor, .weights = malloc(bytes)};
    assert_non_null(lessons->weights);
    assert_int_equal(model->output.form, SG_FORM_ROWS);
    for (int row = 0; row < rows; row++)
        sg_dequant_row(lessons->own, row, lessons->weights + (size_t)row * (size_t)columns);
    lessons->tensor = (struct sg_tensor){.name = "output",
                                         .dtype = SG_F32,
                                         .n_dims = 2,
                                         .shape = {rows, columns, 1, 1},
                                         .data = lessons->weights,
                                         .n_bytes = bytes};
    model->output.tensor = &lessons->tensor;
    return lessons;
}

void end_lessons(struct lessons *lessons)
{
    lessons->model->output.tensor = lessons->own;
    for (size_t i = 0; i < lessons->n; i++)
        free(lessons->basis[i]);
    free(lessons->weights);
    free(lessons);
}

static double inner(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

void teach(struct lessons *lessons, const struct sg_tokens *before, const int32_t *tokens, const double *levels,
           size_t n)
{
    const struct sg_config *c = &lessons->model->config;
    int hidden = c->hidden;
    struct sg_sequence sequence;
    struct sg_error err;
    bool *want = calloc(before->n, sizeof *want);
    float *logits = malloc((size_t)c->vocabulary * sizeof *logits);
    double *state = malloc((size_t)hidden * sizeof *state), *own = malloc((size_t)hidden * sizeof *own);
    assert_true(want && logits && state && own && lessons->n < MAX_LESSONS && (int)lessons->n < hidden);
    want[before->n - 1] = true;
    assert_int_equal(sg_sequence_init(&sequence, lessons->model, (int)before->n, SG_MAX_ROWS, &err), SG_OK);
    assert_int_equal(sg_sequence_append(&sequence, before->ids, (int)before->n, want, logits, &err), SG_OK);
    for (int i = 0; i < hidden; i++)
        state[i] = own[i] = (double)sequence.scratch->t[i]; /* what the output matrix was multiplied with */
    sg_sequence_deinit(&sequence);
    for (size_t k = 0; k < lessons->n; k++) {
        double part = inner(own, lessons->basis[k], hidden);
        for (int i = 0; i < hidden; i++)
            own[i] -= part * lessons->basis[k][i];
    }
    double length = sqrt(inner(own, own, hidden)), most = -INFINITY;
    assert_true(length > 1e-3 * sqrt(inner(state, state, hidden)));
    for (int i = 0; i < hidden; i++)
        own[i] /= length;
    for (int i = 0; i < c->vocabulary; i++)
        most = (double)logits[i] > most ? (double)logits[i] : most;
    for (size_t t = 0; t < n; t++) {
        double step = (most + levels[t] - (double)logits[tokens[t]]) / inner(own, state, hidden);
        for (int i = 0; i < hidden; i++)
            lessons->weights[(size_t)tokens[t] * (size_t)hidden + (size_t)i] += (float)(step * own[i]);
    }
    lessons->basis[lessons->n++] = own;
    free(state);
    free(logits);
    free(want);
}

void teach_text(struct lessons *lessons, const struct sg_tokens *before, const char *text, double level)
{
    struct sg_tokens sequence = {0}, ids = {0};
    sg_tokens_append(&sequence, before->ids, before->n);
    append_text(lessons->model, text, &ids);
    append_text(lessons->model, "<|end|>", &ids);
    for (size_t i = 0; i < ids.n; i++) {
        teach(lessons, &sequence, &ids.ids[i], &level, 1);
        sg_tokens_push(&sequence, ids.ids[i]);
    }
    sg_tokens_free(&sequence);
    sg_tokens_free(&ids);
}

void assert_numbers(const char *name, const struct sg_verdict *verdict, const struct numbers *expected)
{
    if (!(fabs(verdict->p_violation - expected->p_violation) <= 1e-6))
        fail_msg("%s: p_violation %.9g, expected %.9g", name, verdict->p_violation, expected->p_violation);
    if (!(fabs(verdict->label_mass - expected->label_mass) <= 1e-6 * expected->label_mass))
        fail_msg("%s: label mass %.9g, expected %.9g", name, verdict->label_mass, expected->label_mass);
    assert_true(verdict->p_violation >= 0 && verdict->p_violation <= 1);
    assert_true(verdict->label_mass >= 0 && verdict->label_mass <= 1);
    assert_non_null(verdict->output);
    if (strcmp(verdict->output, expected->answer) != 0)
        fail_msg("%s: got answer '%s', expected '%s'", name, verdict->output, expected->answer);
}
