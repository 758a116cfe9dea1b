/* The reasoner on a chat server: policy and content → request → reply → verdict.
 *
 * What a server does in silence is looked for here. It may cut a long prompt and lose the policy: the count of tokens
 * that it reports must not be below what the text must have, and must grow when the text grows. It may end an answer
 * at a limit, filter it, or write its reasoning into the answer. None of that becomes a verdict. */
#include "reasoner/remote_ask.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "reasoner/chat_text.h"
#include "reasoner/windows.h"

/* Prompts of up to so many tokens are not tested for a ceiling: no server in use has so small a context, and a single
 * check of short content stays a single request. The lower bound holds for them too. */
#define SMALL_PROMPT 1024
#define ANSWER_ROOM 1024 /* tokens for the answer, behind a reasoning budget */
#define MIN_WINDOW 2048  /* bytes; a server that refuses so little has no room for the policy */
#define MAX_HALVINGS 8
#define VOTE_TEMPERATURE 1.0 /* the model's own distribution: the share of answers estimates its probability */

struct remote {
    struct sg_reasoner base; /* first, so that a pointer to one is a pointer to the other */
    struct sg_server server;
};

/* One check. */
struct judging {
    struct sg_call call;
    const struct sg_policy *policy;
    const struct sg_check_options *options;
    int64_t least_tokens; /* of policy and content */
    bool uncounted;       /* the server says nothing of the prompt's tokens */
    size_t n_markers;     /* of chat formats, broken up in the content */
    bool ended;           /* the verdict is final though undecided: no votes */
    bool too_long;        /* it ended because the server does not take so long a prompt */
};

/* --- was the prompt cut? ---------------------------------------------------------------------------------- */

static void raise_to(atomic_llong *value, long long to)
{
    long long old = atomic_load(value);
    while (old < to && !atomic_compare_exchange_weak(value, &old, to))
        ;
}

/* A server that cuts a prompt reports what it has left: a count that does not grow any more. So the same prompt is
 * counted again with `n` short words behind it. If they are counted, the first was whole, and with it every prompt of
 * a smaller count: a batch needs this as often as its longest prompt doubles, about. */
static enum sg_status test_ceiling(struct judging *j, int64_t n_prompt, char reason[SG_REASON_MAX],
                                   struct sg_error *err)
{
    int64_t n = n_prompt / 4;
    struct sg_buffer more = {0};
    struct sg_reply reply;
    sg_buffer_puts(&more, "\n\n");
    for (int64_t i = 0; i < n; i++)
        sg_buffer_puts(&more, " a");
    enum sg_status status = sg_buffer_status(&more, err);
    sg_reply_init(&reply);
    struct sg_ask ask = {.top_p = 1, .more = {more.data, more.len}, .count_only = true};
    if (status == SG_OK)
        status = sg_ask(&j->call, &ask, &reply, reason, err);
    if (status == SG_OK && strncmp(reason, SG_REASON_TOO_LONG, strlen(SG_REASON_TOO_LONG)) == 0) {
        reason[0] = '\0'; /* it refuses what it would have to cut */
        raise_to(&j->call.server->proven, n_prompt);
    } else if (status == SG_OK && !*reason && reply.n_prompt >= n_prompt + n) {
        raise_to(&j->call.server->proven, reply.n_prompt - 1);
    } else if (status == SG_OK && !*reason && reply.n_prompt >= 0) {
        snprintf(reason, SG_REASON_MAX,
                 "prompt: the server counts %" PRId64 " tokens, and %" PRId64 " with %" PRId64
                 " words more: it cuts prompts in silence",
                 n_prompt, reply.n_prompt, n);
    }
    j->uncounted = j->uncounted || (status == SG_OK && !*reason && reply.n_prompt < 0);
    sg_reply_deinit(&reply);
    sg_buffer_free(&more);
    return status;
}

static enum sg_status test_prompt(struct judging *j, const struct sg_reply *reply, char reason[SG_REASON_MAX],
                                  struct sg_error *err)
{
    j->uncounted = j->uncounted || reply->n_prompt < 0;
    if (reply->n_prompt < 0)
        return SG_OK;
    if (reply->n_prompt < j->least_tokens) {
        snprintf(reason, SG_REASON_MAX,
                 "prompt: the server counts %" PRId64 " tokens, policy and content have at least %" PRId64
                 ": it has cut the prompt",
                 reply->n_prompt, j->least_tokens);
        return SG_OK;
    }
    if (reply->n_prompt <= SMALL_PROMPT || reply->n_prompt <= atomic_load(&j->call.server->proven))
        return SG_OK;
    return test_ceiling(j, reply->n_prompt, reason, err);
}

/* --- reply → verdict -------------------------------------------------------------------------------------- */

static enum sg_status undecided(struct sg_verdict *verdict, const char *reason, struct sg_error *err)
{
    verdict->decision = SG_UNDECIDED;
    verdict->needs_review = false;
    verdict->p_violation = NAN;
    free(verdict->p_source);
    verdict->p_source = NULL;
    return sg_verdict_set(&verdict->reason, reason, err);
}

/* Whatever else a server calls its end ("abort", …) may have cut the answer. */
static bool ended_by_itself(const char *finish)
{
    static const char *const ends[] = {"", "stop", "eos", "eos_token"}; /* "": it closed the stream in order */
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(finish, ends[i]) == 0)
            return true;
    return false;
}

static enum sg_status read_answer(const struct judging *j, const struct sg_reply *reply, enum sg_channels channels,
                                  struct sg_slice answer, struct sg_verdict *verdict, struct sg_error *err)
{
    enum sg_status status = sg_verdict_parse(j->policy, answer.ptr, answer.len, verdict, err);
    if (status != SG_OK)
        return status;
    if (strcmp(reply->finish, "length") == 0)
        return undecided(verdict, "length: the server ended the answer at its limit of tokens", err);
    if (strcmp(reply->finish, "content_filter") == 0)
        return undecided(verdict, "filter: the server's own filter ended the answer", err);
    if (!ended_by_itself(reply->finish)) {
        char text[96];
        snprintf(text, sizeof text, "finish: the server ended the answer by \"%s\"", reply->finish);
        return undecided(verdict, text, err);
    }
    if (channels == SG_CHANNELS_UNCLEAR)
        return undecided(verdict, "channels: the reply says more than once where its answer begins", err);
    if (channels == SG_CHANNELS_SPLIT && answer.len == 0)
        return undecided(verdict, "channels: the reply holds reasoning and no answer", err);
    sg_logprobs_judge(&reply->logprobs, j->policy, answer, verdict);
    if (!isnan(verdict->p_violation))
        status = sg_verdict_set(&verdict->p_source, "label tokens", err);
    if (status != SG_OK || !(verdict->label_mass < SG_LABEL_MASS_MIN))
        return status;
    char text[160];
    snprintf(text, sizeof text,
             "label mass: the model gave %.3g of its probability to all permitted answers together, below %.2g",
             verdict->label_mass, SG_LABEL_MASS_MIN);
    return undecided(verdict, text, err);
}

static void count_up(struct sg_verdict *verdict, const struct sg_reply *reply)
{
    verdict->n_prompt_tokens = reply->n_prompt;
    verdict->n_cached_tokens = reply->n_cached;
    verdict->n_output_tokens = reply->n_output;
}

static void emit(const struct judging *j, enum sg_stream_kind kind, const struct sg_buffer *text)
{
    struct sg_stream_event event = {kind, sg_buffer_text(text), text->len, 0, 0};
    if (j->call.stream && text->len)
        j->call.stream(j->call.stream_context, &event);
}

static enum sg_status fill_verdict(struct judging *j, const struct sg_reply *reply, struct sg_verdict *verdict,
                                   struct sg_error *err)
{
    struct sg_buffer reasoning = {0}, answer = {0};
    struct sg_slice content = {sg_buffer_text(&reply->content), reply->content.len};
    sg_buffer_append(&reasoning, reply->reasoning.data, reply->reasoning.len);
    enum sg_channels channels = sg_split_channels(content, &reasoning, &answer);
    if (reply->reasoning.len == 0)
        emit(j, SG_STREAM_REASONING, &reasoning); /* what the stream could not tell apart */
    if (sg_may_hold_channels(content))
        emit(j, SG_STREAM_OUTPUT, &answer);
    enum sg_status status = sg_buffer_status(&reasoning, err);
    if (status == SG_OK)
        status = sg_buffer_status(&answer, err);
    if (status == SG_OK && reasoning.len)
        status = sg_verdict_set_repaired(&verdict->reasoning, (struct sg_slice){reasoning.data, reasoning.len}, err);
    if (status == SG_OK)
        status =
            read_answer(j, reply, channels, (struct sg_slice){sg_buffer_text(&answer), answer.len}, verdict, err);
    if (status == SG_OK)
        status = sg_verdict_set(&verdict->model_name, *reply->model ? reply->model : j->call.server->model, err);
    count_up(verdict, reply);
    sg_buffer_free(&reasoning);
    sg_buffer_free(&answer);
    return status;
}

/* Ask once and make a verdict of it. */
static enum sg_status judge_once(struct judging *j, const struct sg_ask *ask, struct sg_verdict *verdict,
                                 struct sg_error *err)
{
    char reason[SG_REASON_MAX];
    struct sg_reply reply;
    sg_reply_init(&reply);
    enum sg_status status = sg_ask(&j->call, ask, &reply, reason, err);
    if (status == SG_OK && !*reason) {
        if (!reply.has_logprobs)
            atomic_store(&j->call.server->no_logprobs, true);
        status = fill_verdict(j, &reply, verdict, err);
        if (status == SG_OK)
            status = test_prompt(j, &reply, reason, err);
    } else if (status == SG_OK) {
        status = sg_verdict_set(&verdict->model_name, j->call.server->model, err);
    }
    if (status == SG_OK && *reason) {
        j->ended = true;
        j->too_long = strncmp(reason, SG_REASON_TOO_LONG, strlen(SG_REASON_TOO_LONG)) == 0;
        status = undecided(verdict, reason, err);
    }
    sg_reply_deinit(&reply);
    return status;
}

/* --- votes ------------------------------------------------------------------------------------------------ */

struct tally {
    int n, n_by[3];
    bool has[3];
    struct sg_verdict first[3]; /* of each decision */
    int64_t n_prompt, n_cached, n_output;
};

static void cast(struct tally *tally, struct sg_verdict *vote)
{
    enum sg_decision decision = vote->decision;
    tally->n++;
    tally->n_by[decision]++;
    tally->n_prompt = sg_count_sum(tally->n_prompt, vote->n_prompt_tokens);
    tally->n_cached = sg_count_sum(tally->n_cached, vote->n_cached_tokens);
    tally->n_output = sg_count_sum(tally->n_output, vote->n_output_tokens);
    if (!tally->has[decision]) {
        tally->has[decision] = true;
        tally->first[decision] = *vote;
        sg_verdict_init(vote);
    }
}

/* The majority of the votes that could be read, with the first answer that gave it. */
static enum sg_status elect(struct tally *tally, struct sg_verdict *verdict, struct sg_error *err)
{
    int bad = tally->n_by[SG_VIOLATES], good = tally->n_by[SG_DOES_NOT_VIOLATE], n = bad + good;
    enum sg_decision winner = bad > good ? SG_VIOLATES : good > bad ? SG_DOES_NOT_VIOLATE : SG_UNDECIDED;
    enum sg_decision shown = winner != SG_UNDECIDED ? winner : n > 0 ? SG_VIOLATES : SG_UNDECIDED;
    char text[96];
    struct sg_verdict old = *verdict;
    *verdict = tally->first[shown];
    tally->first[shown] = old; /* freed with the tally */
    verdict->n_prompt_tokens = tally->n_prompt;
    verdict->n_cached_tokens = tally->n_cached;
    verdict->n_output_tokens = tally->n_output;
    verdict->label_mass = NAN;
    enum sg_status status = SG_OK;
    if (2 * n <= tally->n) {
        snprintf(text, sizeof text, "votes: only %d of %d answers could be read", n, tally->n);
        return undecided(verdict, text, err);
    }
    if (winner == SG_UNDECIDED) {
        snprintf(text, sizeof text, "votes: %d say that it violates, %d that it does not", bad, good);
        status = undecided(verdict, text, err);
    }
    verdict->p_violation = (double)bad / n; /* also of a tie */
    snprintf(text, sizeof text, "votes of %d", n);
    return status == SG_OK ? sg_verdict_set(&verdict->p_source, text, err) : status;
}

/* Ask until there are `n` answers. `verdict` holds the first one already when `begun`. */
static enum sg_status take_votes(struct judging *j, struct sg_ask ask, int n, bool begun, struct sg_verdict *verdict,
                                 struct sg_error *err)
{
    struct tally tally = {.n_prompt = -1, .n_cached = -1, .n_output = -1};
    enum sg_status status = SG_OK;
    uint64_t seed = ask.seed;
    for (int i = 0; i < 3; i++)
        sg_verdict_init(&tally.first[i]);
    if (begun)
        cast(&tally, verdict);
    for (sg_stream_fn stream = j->call.stream; status == SG_OK && tally.n < n && !j->ended; j->call.stream = stream) {
        struct sg_verdict vote;
        sg_verdict_init(&vote);
        ask.seed = seed + (uint64_t)tally.n;
        if (tally.n > 0)
            j->call.stream = NULL; /* one reasoning is enough to watch */
        status = judge_once(j, &ask, &vote, err);
        if (status == SG_OK && !j->ended) {
            cast(&tally, &vote);
        } else if (status == SG_OK) { /* cancelled, deadline, a prompt that was cut: whatever the others say */
            struct sg_verdict old = *verdict;
            *verdict = vote;
            vote = old;
        }
        sg_verdict_deinit(&vote);
    }
    if (status == SG_OK && !j->ended)
        status = elect(&tally, verdict, err);
    for (int i = 0; i < 3; i++)
        sg_verdict_deinit(&tally.first[i]);
    return status;
}

/* --- one content, or a window of it ------------------------------------------------------------------------ */

static enum sg_status judge(struct judging *j, struct sg_verdict *verdict, struct sg_error *err)
{
    struct sg_server *s = j->call.server;
    const struct sg_check_options *options = j->options;
    int votes = s->options.votes > 1 ? s->options.votes : 0;
    struct sg_ask ask = {.temperature = options->temperature, .top_p = options->top_p, .seed = options->seed};
    bool begun = !votes || !(atomic_load(&s->no_logprobs) || sg_call_without_logprobs(&j->call));
    enum sg_status status = SG_OK;
    if (begun)
        status = judge_once(j, &ask, verdict, err);
    if (status != SG_OK || !votes || j->ended || !isnan(verdict->p_violation))
        return status;
    bool counts = begun && options->temperature > 0; /* a greedy answer is no vote */
    ask.sample = options->temperature == 0;
    ask.temperature = options->temperature > 0 ? options->temperature : VOTE_TEMPERATURE;
    status = take_votes(j, ask, votes, counts, verdict, err);
    verdict->temperature = ask.temperature;
    return status;
}

/* --- windows ---------------------------------------------------------------------------------------------- */

/* The whole content, of which the first `fixed` bytes stand in front of every window. */
struct whole {
    struct sg_slice text;
    size_t fixed;
};

/* Judge the fixed part and the bytes from `start` on. */
static enum sg_status judge_part(struct judging *j, const struct whole *whole, size_t start, size_t len,
                                 struct sg_verdict *verdict, struct sg_error *err)
{
    struct sg_buffer sent = {0};
    bool o200k = j->call.server->o200k;
    j->n_markers += sg_break_markers((struct sg_slice){whole->text.ptr, whole->fixed}, &sent);
    j->n_markers += sg_break_markers((struct sg_slice){whole->text.ptr + start, len}, &sent);
    j->call.content = (struct sg_slice){sg_buffer_text(&sent), sent.len};
    j->least_tokens = sg_least_tokens(j->call.policy, o200k) + sg_least_tokens(j->call.content, o200k);
    j->ended = j->too_long = false;
    enum sg_status status = sg_buffer_status(&sent, err);
    if (status == SG_OK)
        status = judge(j, verdict, err);
    sg_buffer_free(&sent);
    return status;
}

static enum sg_status judge_half(struct judging *j, const struct whole *whole, size_t start, size_t len, int depth,
                                 struct sg_verdict *verdict, struct sg_error *err);

/* The server does not take [start, start + len): its two halves, which overlap. How much it takes is not known here.
 */
static enum sg_status judge_halves(struct judging *j, const struct whole *whole, size_t start, size_t len, int depth,
                                   struct sg_verdict *verdict, struct sg_error *err)
{
    size_t overlap = len / 2 / SG_WINDOW_OVERLAP, end = start + len;
    size_t first_end = sg_window_cut(whole->text, start + len / 2 + overlap);
    size_t second = sg_window_cut(whole->text, start + len / 2);
    enum sg_status status = judge_half(j, whole, start, first_end - start, depth, verdict, err);
    if (status == SG_OK && (!j->ended || j->too_long)) /* not after a cancel, a deadline, a filter */
        status = judge_half(j, whole, second, end - second, depth, verdict, err);
    return status;
}

static enum sg_status judge_half(struct judging *j, const struct whole *whole, size_t start, size_t len, int depth,
                                 struct sg_verdict *verdict, struct sg_error *err)
{
    struct sg_verdict window;
    sg_verdict_init(&window);
    enum sg_status status = judge_part(j, whole, start, len, &window, err);
    if (status == SG_OK && j->too_long && len > MIN_WINDOW && depth < MAX_HALVINGS)
        status = judge_halves(j, whole, start, len, depth + 1, verdict, err);
    else if (status == SG_OK)
        status = sg_windows_add(verdict, start, len, &window, err);
    sg_verdict_deinit(&window);
    return status;
}

static enum sg_status judge_whole(struct judging *j, const struct whole *whole, struct sg_verdict *verdict,
                                  struct sg_error *err)
{
    size_t len = whole->text.len - whole->fixed;
    struct sg_verdict once;
    sg_verdict_init(&once);
    enum sg_status status = judge_part(j, whole, whole->fixed, len, &once, err);
    if (status == SG_OK && j->too_long && len > MIN_WINDOW) {
        status = judge_halves(j, whole, whole->fixed, len, 1, verdict, err);
    } else if (status == SG_OK) {
        once.id = verdict->id; /* the caller's own */
        verdict->id = NULL;
        struct sg_verdict old = *verdict;
        *verdict = once;
        once = old;
    }
    sg_verdict_deinit(&once);
    return status;
}

/* --- the check -------------------------------------------------------------------------------------------- */

static enum sg_status add_signal(struct sg_verdict *verdict, const char *signal, struct sg_error *err)
{
    char **signals = realloc(verdict->signals, (verdict->n_signals + 1) * sizeof *signals);
    if (!signals)
        return sg_fail(err, SG_ENOMEM, "out of memory for a verdict");
    verdict->signals = signals;
    signals[verdict->n_signals] = NULL;
    return sg_verdict_set(&signals[verdict->n_signals++], signal, err);
}

static void write_policy(struct judging *j, struct sg_buffer *out)
{
    char date[11];
    const char *today = sg_check_date(j->policy, date);
    struct sg_slice text;
    text.ptr = sg_policy_prompt(j->policy, &text.len);
    sg_break_markers(text, out);
    if (today)
        sg_buffer_printf(out, "\n\nCurrent date: %s", today);
    j->call.policy = (struct sg_slice){sg_buffer_text(out), out->len};
}

static enum sg_status check(struct sg_reasoner *reasoner, const struct sg_policy *policy,
                            const struct sg_content *content, const struct sg_check_options *options,
                            sg_stream_fn stream, void *stream_context, struct sg_verdict *verdict,
                            struct sg_error *err)
{
    double began = sg_exchange_now();
    struct sg_buffer policy_text = {0};
    struct judging j = {
        .call = {.server = &((struct remote *)reasoner)->server,
                 .effort = sg_check_effort(policy, options),
                 .output_limit = options->reasoning_budget ? options->reasoning_budget + ANSWER_ROOM : 0,
                 .deadline_at = options->deadline_ms > 0 ? began + options->deadline_ms : 0,
                 .stream = stream,
                 .stream_context = stream_context},
        .policy = policy,
        .options = options};
    struct whole whole = {.fixed = sg_content_fixed_len(content)};
    const char *reason = NULL;
    whole.text.ptr = sg_content_text(content, &whole.text.len);
    write_policy(&j, &policy_text);
    verdict->temperature = NAN; /* set by votes */
    enum sg_status status = sg_buffer_status(&policy_text, err);
    if (status == SG_OK)
        status = sg_call_begin(&j.call, &reason, err);
    if (status == SG_OK) {
        status = reason ? undecided(verdict, reason, err) : judge_whole(&j, &whole, verdict, err);
        sg_call_end(&j.call);
    }
    double temperature = verdict->temperature;
    if (status == SG_OK)
        status = sg_verdict_describe(verdict, policy, content, options, err);
    verdict->temperature = isnan(temperature) ? verdict->temperature : temperature;
    if (status == SG_OK && j.n_markers)
        status = add_signal(verdict, "chat_markers", err);
    if (status == SG_OK && j.uncounted)
        status = add_signal(verdict, "prompt_not_counted", err);
    verdict->total_ms = sg_exchange_now() - began;
    sg_buffer_free(&policy_text);
    return status;
}

static void cancel(struct sg_reasoner *reasoner)
{
    atomic_fetch_add(&((struct remote *)reasoner)->server.cancels, 1);
}

static enum sg_status count(struct sg_reasoner *reasoner, const char *text, size_t len, int64_t *tokens_out,
                            struct sg_error *err)
{
    (void)text;
    (void)len;
    *tokens_out = -1;
    return sg_fail(err, SG_ENOTFOUND, "%s: the server's tokenizer is not known here",
                   ((struct remote *)reasoner)->server.shown);
}

static int in_flight(const struct sg_reasoner *reasoner)
{
    return ((const struct remote *)reasoner)->server.options.in_flight;
}

static void destroy(struct sg_reasoner *reasoner)
{
    struct remote *remote = (struct remote *)reasoner;
    sg_server_deinit(&remote->server);
    free(remote);
}

static const struct sg_reasoner_class remote_class = {destroy, check, cancel, count, in_flight};

enum sg_status sg_reasoner_remote(const struct sg_remote_options *options, struct sg_reasoner **reasoner_out,
                                  struct sg_error *err)
{
    struct remote *remote = calloc(1, sizeof *remote);
    *reasoner_out = NULL;
    if (!remote)
        return sg_fail(err, SG_ENOMEM, "out of memory for a reasoner");
    remote->base.class = &remote_class;
    enum sg_status status = sg_server_init(&remote->server, options, err);
    if (status != SG_OK) {
        free(remote);
        return status;
    }
    *reasoner_out = &remote->base;
    return SG_OK;
}
