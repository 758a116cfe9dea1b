/* The reasoner on our own engine: prompt → reasoning (think.c) → decision (decide.c) → verdict.
 *
 * Content that does not fit the context next to the policy and room for an answer is judged in overlapping windows;
 * the worst verdict wins and every window is listed. */
#include "reasoner/reasoner_internal.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/utf8.h"
#include "reasoner/decide.h"
#include "reasoner/think.h"
#include "reasoner/windows.h"

#define DEFAULT_CONTEXT 8192
#define MIN_WINDOW_TOKENS 32 /* a policy that leaves less room for content does not fit */

struct native {
    struct sg_reasoner base; /* first, so that a pointer to one is a pointer to the other */
    struct sg_model *model;
    struct sg_engine *engine;
    struct sg_format format;
    struct sg_vocabulary vocabulary;
    atomic_bool cancel;
    const int32_t *script;
    size_t n_script;
    pthread_t hasher; /* the model's hash is computed while the first prompt is read */
    bool hashing;
    char sha256[65];
    enum sg_status hash_status;
    struct sg_error hash_error;
};

/* One content, or one window of it, on its way. The engine's callbacks fill it; the caller waits for `ended`. */
struct session {
    struct native *native;
    const struct sg_answers *answers;
    const struct sg_check_options *options;
    struct sg_sampling sampling;
    sg_stream_fn stream;
    void *stream_context;
    struct sg_thought *thought;
    struct sg_decider *decider;
    bool deciding;
    struct sg_usage usage;
    enum sg_status status;
    struct sg_error err;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool ended;
};

/* --- callbacks of the engine ------------------------------------------------------------------------------ */

static void emit(struct session *s, enum sg_stream_kind kind, const char *text, size_t len, int64_t done,
                 int64_t total)
{
    struct sg_stream_event event = {kind, text, len, done, total};
    if (s->stream)
        s->stream(s->stream_context, &event);
}

static void on_progress(void *context, int64_t done, int64_t total)
{
    emit(context, SG_STREAM_PROMPT, "", 0, done, total);
}

static void on_reasoning(void *context, const char *text, size_t len)
{
    emit(context, SG_STREAM_REASONING, text, len, 0, 0);
}

static enum sg_status on_step(void *context, const float *logits, int position, struct sg_step *step_out,
                              struct sg_error *err)
{
    struct session *s = context;
    if (!s->deciding)
        return sg_thought_step(s->thought, logits, position, step_out, &s->deciding, err);
    size_t before = sg_decider_text(s->decider).len;
    enum sg_status status = sg_decider_step(s->decider, logits, position, step_out, err);
    struct sg_slice text = sg_decider_text(s->decider);
    if (status == SG_OK && text.len > before)
        emit(s, SG_STREAM_OUTPUT, text.ptr + before, text.len - before, 0, 0);
    return status;
}

static void on_end(void *context, enum sg_status status, const struct sg_error *err, const struct sg_usage *usage)
{
    struct session *s = context;
    pthread_mutex_lock(&s->mutex);
    s->status = status;
    s->err = *err;
    s->usage = *usage;
    s->ended = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

/* --- one window ------------------------------------------------------------------------------------------- */

/* A check that ended without an answer is undecided for these reasons; anything else is an error. */
static const char *undecided_reason(enum sg_status status)
{
    switch (status) {
    case SG_ECANCELLED:
        return "cancelled";
    case SG_EDEADLINE:
        return "deadline: no decision before it passed";
    case SG_ELIMIT:
        return "context: it was full before a decision";
    case SG_EINVALID: /* from the sampler, under a mask: not every vocabulary can spell every text */
        return "answer: no token of the model's vocabulary continues it as the policy permits";
    default:
        return NULL;
    }
}

static enum sg_status fill_verdict(struct session *s, struct sg_verdict *verdict, struct sg_error *err)
{
    const char *reason = undecided_reason(s->status);
    if (s->status != SG_OK && !reason) {
        if (err)
            *err = s->err;
        return s->status;
    }
    struct sg_slice thought = sg_thought_text(s->thought), answer = sg_decider_text(s->decider);
    enum sg_status status = thought.len ? sg_verdict_set_repaired(&verdict->reasoning, thought, err) : SG_OK;
    verdict->forced = sg_thought_forced(s->thought);
    verdict->n_prompt_tokens = s->usage.n_prompt;
    verdict->n_cached_tokens = s->usage.n_cached;
    verdict->n_output_tokens = sg_thought_tokens(s->thought) + sg_decider_tokens(s->decider);
    verdict->prefill_ms = s->usage.prompt_ms;
    verdict->decode_ms = s->usage.step_ms;
    if (status != SG_OK)
        return status;
    if (reason) {
        verdict->decision = SG_UNDECIDED;
        if (answer.len)
            status = sg_verdict_set_repaired(&verdict->output, answer, err);
        return status == SG_OK ? sg_verdict_set(&verdict->reason, reason, err) : status;
    }
    status = sg_verdict_parse(s->answers->policy, answer.ptr, answer.len, verdict, err);
    if (status != SG_OK)
        return status;
    verdict->p_violation = sg_decider_p_violation(s->decider);
    verdict->label_mass = sg_decider_label_mass(s->decider);
    size_t n_keys;
    const struct sg_output_key *keys = sg_policy_keys(s->answers->policy, &n_keys);
    for (size_t i = 0; i < verdict->n_flags; i++)
        for (size_t k = 0; k < n_keys; k++)
            if (strcmp(keys[k].name, verdict->flags[i].name) == 0)
                verdict->flags[i].p = sg_decider_flag(s->decider, k);
    if (verdict->decision == SG_UNDECIDED || verdict->label_mass >= SG_LABEL_MASS_MIN)
        return SG_OK;
    char text[160];
    snprintf(text, sizeof text,
             "label mass: the model gave %.3g of its probability to all permitted answers together, "
             "below %.2g",
             verdict->label_mass, SG_LABEL_MASS_MIN);
    verdict->decision = SG_UNDECIDED;
    verdict->needs_review = false;
    return sg_verdict_set(&verdict->reason, text, err);
}

/* Judge one prompt. */
static enum sg_status run_session(struct session *s, const struct sg_tokens *prompt, size_t n_shared,
                                  struct sg_verdict *verdict, struct sg_error *err)
{
    struct native *native = s->native;
    enum sg_status status = sg_thought_create(&native->format, s->answers->policy, native->vocabulary.n, &s->sampling,
                                              s->options->reasoning_budget, on_reasoning, s, &s->thought, err);
    if (status == SG_OK)
        status = sg_decider_create(&native->vocabulary, s->answers, &s->sampling, !native->format.harmony_format,
                                   &s->decider, err);
    if (status == SG_OK) {
        sg_thought_script(s->thought, native->script, native->n_script);
        struct sg_request request = {.tokens = prompt->ids,
                                     .n_tokens = (int)prompt->n,
                                     .n_shared = (int)n_shared,
                                     .deadline_ms = s->options->deadline_ms,
                                     .cancel = &native->cancel,
                                     .context = s,
                                     .progress = on_progress,
                                     .step = on_step,
                                     .end = on_end};
        status = sg_engine_submit(native->engine, &request, err);
    }
    if (status == SG_OK) {
        pthread_mutex_lock(&s->mutex);
        while (!s->ended)
            pthread_cond_wait(&s->changed, &s->mutex);
        pthread_mutex_unlock(&s->mutex);
        status = fill_verdict(s, verdict, err);
    }
    sg_thought_destroy(s->thought);
    sg_decider_destroy(s->decider);
    return status;
}

static enum sg_status judge_window(struct native *native, const struct sg_answers *answers,
                                   const struct sg_check_options *options, const struct sg_tokens *prefix,
                                   struct sg_slice text, sg_stream_fn stream, void *stream_context,
                                   struct sg_verdict *verdict, struct sg_error *err)
{
    struct sg_tokens prompt = {0};
    sg_tokens_append(&prompt, prefix->ids, prefix->n);
    sg_prompt_content(&native->format, text, &prompt);
    struct session s = {.native = native,
                        .answers = answers,
                        .options = options,
                        .sampling = {options->temperature, options->top_p, options->seed},
                        .stream = stream,
                        .stream_context = stream_context};
    pthread_mutex_init(&s.mutex, NULL);
    pthread_cond_init(&s.changed, NULL);
    enum sg_status status = sg_tokens_status(&prompt, err);
    if (status == SG_OK)
        status = run_session(&s, &prompt, prefix->n, verdict, err);
    pthread_cond_destroy(&s.changed);
    pthread_mutex_destroy(&s.mutex);
    sg_tokens_free(&prompt);
    return status;
}

/* --- windows ---------------------------------------------------------------------------------------------- */

/* Positions that are kept free for reasoning and answer when content is cut into windows. */
static int answer_room(const struct native *native, const struct sg_check_options *options)
{
    int context = sg_engine_context(native->engine), room = context / 4;
    int wanted = options->reasoning_budget ? options->reasoning_budget + SG_BUDGET_GRACE + 256 : 2048;
    return wanted < room ? wanted : room;
}

static size_t count_tokens(const struct native *native, struct sg_slice text, struct sg_error *err,
                           enum sg_status *status)
{
    struct sg_tokens tokens = {0};
    sg_tokenize(native->model->tokenizer, text, &tokens);
    *status = sg_tokens_status(&tokens, err);
    size_t n = tokens.n;
    sg_tokens_free(&tokens);
    return n;
}

/* The longest piece of `text` from `start` on, cut between characters, that has at most `room` tokens. */
static size_t window_length(const struct native *native, struct sg_slice text, size_t start, size_t room)
{
    struct sg_slice rest = {text.ptr + start, text.len - start};
    size_t most = room * 16; /* bytes of a first try: far more than a token usually has */
    struct sg_slice piece = {rest.ptr, rest.len < most ? rest.len : most};
    struct sg_tokens tokens = {0};
    sg_tokenize(native->model->tokenizer, piece, &tokens);
    size_t bytes = 0;
    if (!tokens.failed && tokens.n <= room && piece.len == rest.len) {
        bytes = piece.len;
    } else {
        for (size_t i = 0; i < tokens.n && i < room - room / 16; i++) /* a cut piece may need a few tokens more */
            bytes += sg_token_bytes(native->model->tokenizer, tokens.ids[i]).len;
        while (bytes > 0 && bytes < rest.len && ((unsigned char)rest.ptr[bytes] & 0xC0) == 0x80)
            bytes--;
    }
    sg_tokens_free(&tokens);
    return bytes;
}

static double now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

static enum sg_status judge_windows(struct native *native, const struct sg_answers *answers,
                                    const struct sg_check_options *options, const struct sg_tokens *prefix,
                                    struct sg_slice text, size_t fixed_len, size_t room, sg_stream_fn stream,
                                    void *stream_context, struct sg_verdict *verdict, struct sg_error *err)
{
    enum sg_status status;
    struct sg_slice fixed = {text.ptr, fixed_len};
    size_t n_fixed = count_tokens(native, fixed, err, &status);
    if (status == SG_OK && n_fixed + MIN_WINDOW_TOKENS > room)
        status = sg_fail(err, SG_ELIMIT, "context: the content's fixed part has %zu tokens, expected at most %zu",
                         n_fixed, room - MIN_WINDOW_TOKENS);
    struct sg_check_options left = *options;
    double began = now_ms(); /* the deadline is the whole check's */
    size_t start = fixed_len;
    while (status == SG_OK && start < text.len) {
        if (options->deadline_ms > 0)
            left.deadline_ms = fmax(options->deadline_ms - (now_ms() - began), 1e-3);
        size_t len = window_length(native, text, start, room - n_fixed);
        if (len == 0)
            return sg_fail(err, SG_ENOMEM, "out of memory for a window of the content");
        struct sg_buffer piece = {0};
        sg_buffer_append(&piece, fixed.ptr, fixed.len);
        sg_buffer_append(&piece, text.ptr + start, len);
        struct sg_verdict window;
        sg_verdict_init(&window);
        status = sg_buffer_status(&piece, err);
        if (status == SG_OK)
            status = judge_window(native, answers, &left, prefix, (struct sg_slice){piece.data, piece.len}, stream,
                                  stream_context, &window, err);
        if (status == SG_OK)
            status = sg_windows_add(verdict, start, len, &window, err);
        sg_verdict_deinit(&window);
        sg_buffer_free(&piece);
        if (atomic_load(&native->cancel) || start + len >= text.len)
            break;
        start = sg_window_cut(text, start + len - len / SG_WINDOW_OVERLAP);
    }
    return status;
}

/* --- the check -------------------------------------------------------------------------------------------- */

static void *compute_hash(void *argument)
{
    struct native *native = argument;
    native->hash_status = sg_model_sha256(native->model, native->sha256, &native->hash_error);
    return NULL;
}

static enum sg_status wait_for_hash(struct native *native, struct sg_error *err)
{
    if (native->hashing)
        pthread_join(native->hasher, NULL);
    native->hashing = false;
    if (native->hash_status != SG_OK && err)
        *err = native->hash_error;
    return native->hash_status;
}

/* The model's part of the verdict. */
static enum sg_status describe(struct native *native, struct sg_verdict *verdict, struct sg_error *err)
{
    enum sg_status status = wait_for_hash(native, err);
    const struct {
        char **slot;
        const char *text;
    } fields[] = {
        {&verdict->model_name, sg_model_name(native->model)},
        {&verdict->model_sha256, native->sha256},
        {&verdict->precision, native->model->options.precision == SG_EXACT ? "exact" : "fast"},
        {&verdict->cpu, sg_model_cpu(native->model)},
    };
    for (size_t i = 0; status == SG_OK && i < sizeof fields / sizeof fields[0]; i++)
        status = sg_verdict_set(fields[i].slot, fields[i].text, err);
    if (status == SG_OK && !isnan(verdict->p_violation))
        status = sg_verdict_set(&verdict->p_source, "label tokens", err);
    return status;
}

/* A chat model without a reasoning channel rambles: it gets a budget by effort when none is given. */
static int default_budget(const struct native *native, const char *effort)
{
    if (native->format.harmony_format)
        return 0;
    return strcmp(effort, "low") == 0 ? 48 : strcmp(effort, "high") == 0 ? 256 : 112;
}

static enum sg_status check(struct sg_reasoner *reasoner, const struct sg_policy *policy,
                            const struct sg_content *content, const struct sg_check_options *given,
                            sg_stream_fn stream, void *stream_context, struct sg_verdict *verdict,
                            struct sg_error *err)
{
    struct native *native = (struct native *)reasoner;
    double began = now_ms();
    const char *effort = sg_check_effort(policy, given);
    struct sg_check_options options = *given;
    if (!options.reasoning_budget)
        options.reasoning_budget = default_budget(native, effort);
    char date[11];
    struct sg_tokens prefix = {0}, whole = {0};
    struct sg_answers answers;
    enum sg_status status =
        sg_answers_init(&answers, policy, native->model->tokenizer, sg_prompt_lead(&native->format), err);
    if (status != SG_OK)
        return sg_fail_in(err, status, "policy %s", sg_policy_id(policy));
    sg_prompt_policy(&native->format, policy, effort, sg_check_date(policy, date), &prefix);
    struct sg_slice text;
    text.ptr = sg_content_text(content, &text.len);
    sg_prompt_content(&native->format, (struct sg_slice){"", 0}, &whole); /* what stands around any content */
    size_t around = whole.n, context = (size_t)sg_engine_context(native->engine);
    size_t used = prefix.n + around + (size_t)answer_room(native, &options);
    status = sg_tokens_status(&prefix, err);
    if (status == SG_OK && used + MIN_WINDOW_TOKENS > context)
        status = sg_fail(err, SG_ELIMIT,
                         "policy %s: got %zu tokens, with room for content and answer %zu, expected at "
                         "most the context of %zu",
                         sg_policy_id(policy), prefix.n, used + MIN_WINDOW_TOKENS, context);
    size_t n_content = status == SG_OK ? count_tokens(native, text, err, &status) : 0;
    if (status == SG_OK && used + n_content <= context)
        status = judge_window(native, &answers, &options, &prefix, text, stream, stream_context, verdict, err);
    else if (status == SG_OK)
        status = judge_windows(native, &answers, &options, &prefix, text, sg_content_fixed_len(content),
                               context - used, stream, stream_context, verdict, err);
    if (status == SG_OK)
        status = describe(native, verdict, err);
    if (status == SG_OK)
        status = sg_verdict_describe(verdict, policy, content, given, err);
    sg_tokens_free(&prefix);
    sg_tokens_free(&whole);
    sg_answers_deinit(&answers);
    verdict->total_ms = now_ms() - began;
    atomic_store(&native->cancel, false); /* it was this check that was cancelled */
    return status;
}

static void cancel(struct sg_reasoner *reasoner)
{
    atomic_store(&((struct native *)reasoner)->cancel, true);
}

static enum sg_status count(struct sg_reasoner *reasoner, const char *text, size_t len, int64_t *tokens_out,
                            struct sg_error *err)
{
    enum sg_status status;
    *tokens_out = (int64_t)count_tokens((struct native *)reasoner, (struct sg_slice){text, len}, err, &status);
    return status;
}

static void destroy(struct sg_reasoner *reasoner)
{
    struct native *native = (struct native *)reasoner;
    sg_engine_destroy(native->engine);
    enum sg_status ignored = wait_for_hash(native, NULL);
    (void)ignored; /* nobody asks for the hash any more */
    sg_vocabulary_deinit(&native->vocabulary);
    free(native);
}

void sg_reasoner_script(struct sg_reasoner *reasoner, const int32_t *tokens, size_t n)
{
    ((struct native *)reasoner)->script = tokens;
    ((struct native *)reasoner)->n_script = n;
}

static int in_flight(const struct sg_reasoner *reasoner)
{
    (void)reasoner;
    return 1;
}

static const struct sg_reasoner_class native_class = {destroy, check, cancel, count, in_flight};

enum sg_status sg_reasoner_native(struct sg_model *model, int context, struct sg_reasoner **reasoner_out,
                                  struct sg_error *err)
{
    *reasoner_out = NULL;
    if (!model->tokenizer)
        return sg_fail(err, SG_ENOTFOUND, "%s: the model brings no tokenizer, so it cannot read a policy",
                       model->path);
    struct native *native = calloc(1, sizeof *native);
    if (!native)
        return sg_fail(err, SG_ENOMEM, "out of memory for a reasoner");
    native->base.class = &native_class;
    native->model = model;
    if (context == 0)
        context = model->config.context < DEFAULT_CONTEXT ? model->config.context : DEFAULT_CONTEXT;
    enum sg_status status = sg_format_init(&native->format, model->tokenizer, err);
    if (status == SG_OK) {
        const struct sg_harmony *harmony = &native->format.harmony;
        int32_t ends[5] = {sg_tokenizer_special(model->tokenizer, "<|endoftext|>"), native->format.chatml.im_end};
        size_t n_ends = 2;
        if (native->format.harmony_format) {
            ends[1] = harmony->end;
            ends[n_ends++] = harmony->return_;
        }
        status =
            sg_vocabulary_init(&native->vocabulary, model->tokenizer, model->config.vocabulary, ends, n_ends, err);
    }
    if (status == SG_OK)
        status = sg_engine_create(model, context, &native->engine, err);
    if (status != SG_OK) {
        destroy(&native->base);
        return status;
    }
    native->hashing = pthread_create(&native->hasher, NULL, compute_hash, native) == 0;
    if (!native->hashing)
        compute_hash(native);
    *reasoner_out = &native->base;
    return SG_OK;
}
