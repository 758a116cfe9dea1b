#include "reasoner/windows.h"

#include <math.h>
#include <stdlib.h>

/* Worse is larger: a part that could not be judged weighs more than one that is safe, whatever a person should see.
 */
static int rank(const struct sg_verdict *verdict)
{
    int decision = verdict->decision == SG_VIOLATES ? 2 : verdict->decision == SG_UNDECIDED ? 1 : 0;
    return 2 * decision + verdict->needs_review;
}

static enum sg_status list_window(struct sg_verdict *verdict, size_t first_byte, size_t n_bytes,
                                  const struct sg_verdict *window, struct sg_error *err)
{
    struct sg_window *windows = realloc(verdict->windows, (verdict->n_windows + 1) * sizeof *windows);
    if (!windows)
        return sg_fail(err, SG_ENOMEM, "out of memory for a window");
    verdict->windows = windows;
    struct sg_window *entry = &windows[verdict->n_windows];
    *entry = (struct sg_window){first_byte, n_bytes, window->decision, window->p_violation, NULL};
    verdict->n_windows++;
    return window->reason ? sg_verdict_set(&entry->reason, window->reason, err) : SG_OK;
}

static double sum_ms(double a, double b)
{
    return isnan(a) ? b : isnan(b) ? a : a + b;
}

enum sg_status sg_windows_add(struct sg_verdict *verdict, size_t first_byte, size_t n_bytes,
                              struct sg_verdict *window, struct sg_error *err)
{
    enum sg_status status = list_window(verdict, first_byte, n_bytes, window, err);
    if (status != SG_OK)
        return status;
    bool first = verdict->n_windows == 1;
    struct sg_verdict worse = *verdict, other = *window;
    if (first || rank(window) > rank(verdict)) {
        worse = *window;
        other = *verdict;
        worse.id = verdict->id; /* the caller's own, and the list */
        worse.windows = verdict->windows;
        worse.n_windows = verdict->n_windows;
        other.id = window->id;
        other.windows = window->windows;
        other.n_windows = window->n_windows;
    }
    if (isnan(worse.p_violation) || other.p_violation > worse.p_violation) { /* the highest, whoever decides */
        char *source = worse.p_source;
        worse.p_violation = other.p_violation;
        worse.p_source = other.p_source;
        other.p_source = source;
    }
    worse.needs_review = verdict->needs_review || window->needs_review;
    worse.n_prompt_tokens = sg_count_sum(verdict->n_prompt_tokens, window->n_prompt_tokens);
    worse.n_cached_tokens = sg_count_sum(verdict->n_cached_tokens, window->n_cached_tokens);
    worse.n_output_tokens = sg_count_sum(verdict->n_output_tokens, window->n_output_tokens);
    worse.prefill_ms = sum_ms(verdict->prefill_ms, window->prefill_ms);
    worse.decode_ms = sum_ms(verdict->decode_ms, window->decode_ms);
    *verdict = worse;
    *window = other;
    return SG_OK;
}

size_t sg_window_cut(struct sg_slice text, size_t at)
{
    while (at > 0 && at < text.len && ((unsigned char)text.ptr[at] & 0xC0) == 0x80)
        at--;
    return at;
}
