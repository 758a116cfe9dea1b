#include "cli/render.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DIM "\033[2m"
#define BOLD "\033[1m"
#define RED "\033[1;31m"
#define GREEN "\033[1;32m"
#define YELLOW "\033[1;33m"
#define OFF "\033[0m"
#define CLEAR_LINE "\r\033[K"

double sg_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void sg_put_safe(FILE *out, const char *text, size_t len)
{
    while (len > 0) {
        int32_t code;
        size_t n = sg_utf8_decode((struct sg_slice){text, len}, &code);
        if (code < 0)
            fputs("\xef\xbf\xbd", out);
        else if (sg_utf8_deceives(code))
            fprintf(out, "<U+%04" PRIX32 ">", (uint32_t)code);
        else
            fwrite(text, 1, n, out);
        text += n;
        len -= n;
    }
}

static void put_text(FILE *out, const char *text)
{
    sg_put_safe(out, text, strlen(text));
}

const char *sg_show_count(int64_t n, char *text, size_t size)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, n);
    size_t at = 0;
    for (int i = 0; i < len && at + 2 < size; i++) {
        if (i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-')
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

const char *sg_show_time(double seconds, char *text, size_t size)
{
    if (!(seconds >= 0) || seconds > 1e8)
        snprintf(text, size, "-:--");
    else if (seconds < 10)
        snprintf(text, size, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(text, size, "%d:%02d", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(text, size, "%d:%02d:%02d", (int)seconds / 3600, (int)seconds / 60 % 60, (int)seconds % 60);
    return text;
}

void sg_render_init(struct sg_render *render, bool quiet)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    bool dumb = !term || strcmp(term, "dumb") == 0;
    *render = (struct sg_render){.out = stdout, .reasoning = !quiet};
    render->colour = isatty(STDOUT_FILENO) && !(no_colour && *no_colour) && !dumb;
    render->progress = !quiet && isatty(STDERR_FILENO) && !dumb ? stderr : NULL;
}

void sg_render_begin(struct sg_render *render)
{
    render->started = sg_now();
    render->shown = 0;
}

static void close_progress(struct sg_render *render)
{
    if (render->progress_open) {
        fputs(CLEAR_LINE, render->progress);
        fflush(render->progress);
    }
    render->progress_open = false;
}

static void show_reading(struct sg_render *render, int64_t done, int64_t total)
{
    double now = sg_now(), spent = now - render->started;
    if (!render->progress || (now - render->shown < 0.1 && done < total) || total <= 0)
        return;
    render->shown = now;
    double rate = spent > 0.2 ? (double)done / spent : 0;
    char a[32], b[32], eta[32];
    fprintf(render->progress, CLEAR_LINE "reading policy and content: %s of %s tokens (%d %%)",
            sg_show_count(done, a, sizeof a), sg_show_count(total, b, sizeof b), (int)(100 * done / total));
    if (rate > 0)
        fprintf(render->progress, ", %.0f tokens/s, %s left", rate,
                sg_show_time((double)(total - done) / rate, eta, sizeof eta));
    fflush(render->progress);
    render->progress_open = true;
}

void sg_render_stream(void *context, const struct sg_stream_event *event)
{
    struct sg_render *render = context;
    if (event->kind == SG_STREAM_PROMPT) {
        show_reading(render, event->done, event->total);
        return;
    }
    close_progress(render);
    if (event->kind != SG_STREAM_REASONING || !render->reasoning || event->len == 0)
        return;
    if (!render->reasoning_open && render->colour)
        fputs(DIM, render->out);
    render->reasoning_open = true;
    sg_put_safe(render->out, event->text, event->len);
    render->line_open = event->text[event->len - 1] != '\n';
    fflush(render->out);
}

void sg_render_end(struct sg_render *render)
{
    close_progress(render);
    if (render->reasoning_open && render->colour)
        fputs(OFF, render->out);
    if (render->line_open)
        fputc('\n', render->out);
    if (render->reasoning_open)
        fputc('\n', render->out);
    render->reasoning_open = render->line_open = false;
    fflush(render->out);
}

static void put_list(FILE *out, const char *name, char *const *values, size_t n, const char *note)
{
    if (n == 0)
        return;
    fprintf(out, "  %-12s", name);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            fputs(", ", out);
        put_text(out, values[i]);
    }
    fprintf(out, "%s\n", note);
}

static void put_field(FILE *out, const char *name, const char *value)
{
    if (value && *value) {
        char *copy = strdup(value);
        put_list(out, name, &copy, copy ? 1 : 0, "");
        free(copy);
    }
}

static void put_confidence(FILE *out, const struct sg_verdict *verdict)
{
    const char *between = "";
    if (isnan(verdict->p_violation) && isnan(verdict->label_mass) && !verdict->stated_confidence)
        return;
    fprintf(out, "  %-12s", "confidence");
    if (!isnan(verdict->p_violation)) {
        fprintf(out, "p(violation) %.3f", verdict->p_violation);
        between = ", ";
    }
    if (!isnan(verdict->label_mass)) {
        fprintf(out, "%slabel mass %.3f", between, verdict->label_mass);
        between = ", ";
    }
    if (verdict->stated_confidence) {
        fprintf(out, "%sthe model says ", between);
        put_text(out, verdict->stated_confidence);
    }
    fputc('\n', out);
}

static void put_flags(FILE *out, const struct sg_verdict *verdict)
{
    if (verdict->n_flags == 0)
        return;
    fprintf(out, "  %-12s", "flags");
    for (size_t i = 0; i < verdict->n_flags; i++) {
        const struct sg_flag *flag = &verdict->flags[i];
        fputs(i ? ", " : "", out);
        put_text(out, flag->name);
        fprintf(out, flag->value < 0 ? " ?" : " %d", flag->value);
    }
    fputc('\n', out);
}

static void put_windows(FILE *out, const struct sg_verdict *verdict)
{
    for (size_t i = 0; i < verdict->n_windows; i++) {
        const struct sg_window *window = &verdict->windows[i];
        fprintf(out, "  %-12s%zu of %zu: bytes %zu to %zu, %s\n", i ? "" : "windows", i + 1, verdict->n_windows,
                window->first_byte, window->first_byte + window->n_bytes, sg_decision_name(window->decision));
    }
}

/* What the stages before the reasoner saw. */
static void put_cascade(FILE *out, const struct sg_verdict *verdict)
{
    if (verdict->why) {
        fprintf(out, "  %-12s", verdict->stage ? verdict->stage : "nobody yet");
        put_text(out, verdict->why);
        fputc('\n', out);
    }
    for (size_t i = 0; i < verdict->n_rule_matches; i++) {
        const struct sg_rule_match *match = &verdict->rule_matches[i];
        fprintf(out, "  %-12s%s: ", i ? "" : "matches", match->action);
        put_text(out, match->rule);
        fprintf(out, " (bytes %zu to %zu, %s)\n", match->first_byte, match->first_byte + match->n_bytes,
                match->reading);
    }
    put_list(out, "signals", verdict->signals, verdict->n_signals, "");
    if (verdict->screen.scored) {
        fprintf(out, "  %-12smargin %.3f", "screen", verdict->screen.margin);
        if (!isnan(verdict->screen.score))
            fprintf(out, ", p(violation) %.3f", verdict->screen.score);
        fputc('\n', out);
        put_list(out, "features", verdict->screen.features, verdict->screen.n_features, "");
    }
}

/* Tokens and times, as far as they are known. */
static void put_times(const struct sg_render *render, const struct sg_verdict *verdict)
{
    FILE *out = render->out;
    char count[32], cached[32], time[32];
    if (verdict->n_prompt_tokens < 0 || verdict->n_output_tokens < 0)
        return;
    fprintf(out, "%s  %s tokens read", render->colour ? DIM : "",
            sg_show_count(verdict->n_prompt_tokens, count, sizeof count));
    if (verdict->n_cached_tokens > 0)
        fprintf(out, " (%s of them from the cache)", sg_show_count(verdict->n_cached_tokens, cached, sizeof cached));
    fprintf(out, " in %s, %s written", sg_show_time(verdict->prefill_ms / 1000, time, sizeof time),
            sg_show_count(verdict->n_output_tokens, count, sizeof count));
    fprintf(out, " in %s", sg_show_time(verdict->decode_ms / 1000, time, sizeof time));
    if (verdict->decode_ms > 0)
        fprintf(out, ", %.1f tokens/s", 1000 * (double)verdict->n_output_tokens / verdict->decode_ms);
    fprintf(out, "%s\n", render->colour ? OFF : "");
}

void sg_render_verdict(struct sg_render *render, const struct sg_policy *policy, const struct sg_verdict *verdict)
{
    FILE *out = render->out;
    static const char *const words[] = {
        [SG_UNDECIDED] = "UNDECIDED", [SG_DOES_NOT_VIOLATE] = "DOES NOT VIOLATE", [SG_VIOLATES] = "VIOLATES"};
    static const char *const colours[] = {
        [SG_UNDECIDED] = YELLOW, [SG_DOES_NOT_VIOLATE] = GREEN, [SG_VIOLATES] = RED};
    const char *title = sg_policy_title(policy);
    fprintf(out, "%s%s%s%s  ", render->colour ? colours[verdict->decision] : "", words[verdict->decision],
            verdict->needs_review ? ", NEEDS REVIEW" : "", render->colour ? OFF : "");
    put_text(out, title && *title ? title : sg_policy_id(policy));
    fputc('\n', out);
    put_field(out, "why", verdict->reason);
    put_cascade(out, verdict);
    put_list(out, "labels", verdict->labels, verdict->n_labels, "");
    put_field(out, "category", verdict->category);
    put_list(out, "rules", verdict->rule_ids, verdict->n_rule_ids, "");
    put_list(out, "not a rule", verdict->unknown_rule_ids, verdict->n_unknown_rule_ids,
             " (cited, but not in the policy)");
    put_flags(out, verdict);
    put_confidence(out, verdict);
    put_field(out, "rationale", verdict->rationale);
    if (verdict->decision == SG_UNDECIDED)
        put_field(out, "answer", verdict->output);
    if (verdict->forced)
        put_field(out, "forced", "the model gave no answer of its own and was asked for one");
    put_windows(out, verdict);
    put_list(out, "not judged", verdict->not_judged, verdict->n_not_judged, "");
    put_times(render, verdict);
    fflush(out);
}
